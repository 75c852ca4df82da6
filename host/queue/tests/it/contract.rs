//! What every dialect promises.

use crate::arq_fixture::OnArq;
use crate::fixture::{Dialect, InMemory, OnRedis, eventually, monitors, result, room, take, task};
use crate::on_cluster;
use crate::streams_fixture::OnStreams;
use lapwing_queue::{Enqueued, QueueError, TaskState};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

macro_rules! contract {
    ($( $name:ident )*) => {
        mod arq {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name::<super::OnArq>().await; } )*
        }
        mod asynq {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name::<super::OnRedis>().await; } )*
        }
        mod asynq_cluster {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name::<super::on_cluster::OnAsynq>().await; } )*
        }
        mod memory {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name::<super::InMemory>().await; } )*
        }
        mod streams {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name::<super::OnStreams>().await; } )*
        }
        mod streams_cluster {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name::<super::on_cluster::OnStreams>().await; } )*
        }
    };
}

contract! {
    a_task_comes_out_as_it_went_in
    an_idle_queue_answers_with_nothing_after_a_while
    tasks_come_in_order_and_never_more_than_there_is_room_for
    a_monitor_has_one_task_at_a_time
    an_acked_task_is_gone
    a_requeued_task_is_the_next_one
    an_archived_task_is_a_dead_letter_and_does_not_silence_its_monitor
    a_dropped_lease_brings_its_task_back
    a_lease_lasts_as_long_as_it_is_held
    a_result_is_published_once_and_its_task_is_done
    a_reservation_given_up_halfway_loses_nothing
    two_thousand_tasks_come_out_once_each_whoever_takes_them
    a_scheduled_task_comes_when_it_is_due
    a_retried_task_comes_again_one_attempt_further
    a_paused_queue_hands_out_nothing_until_it_is_resumed
    a_task_can_be_followed_from_end_to_end
    a_waiting_task_that_is_cancelled_never_runs
    a_running_task_that_is_cancelled_is_told_so
    dead_letters_can_be_listed_revived_and_discarded
    a_queue_that_is_not_served_is_named_in_the_error
}

async fn a_task_comes_out_as_it_went_in<D: Dialect>() {
    let dialect = D::start().await;
    assert_eq!(
        dialect.queue().enqueue(&task("a")).await.unwrap(),
        Enqueued::Added
    );
    let leases = take(&*dialect.source(), 1).await;
    assert_eq!(**leases[0].task(), task("a"));
}

async fn an_idle_queue_answers_with_nothing_after_a_while<D: Dialect>() {
    let dialect = D::start().await;
    let (source, start) = (dialect.source(), Instant::now());
    assert!(source.reserve(room(5)).await.unwrap().is_empty());
    let waited = start.elapsed();
    assert!(
        waited > Duration::from_millis(100) && waited < Duration::from_secs(3),
        "{waited:?}"
    );
}

async fn tasks_come_in_order_and_never_more_than_there_is_room_for<D: Dialect>() {
    let dialect = D::start().await;
    for monitor in ["a", "b", "c"] {
        dialect.queue().enqueue(&task(monitor)).await.unwrap();
    }
    let first = dialect.source().reserve(room(2)).await.unwrap();
    assert_eq!(monitors(&first), ["a", "b"]);
    assert_eq!(monitors(&take(&*dialect.source(), 1).await), ["c"]);
}

async fn a_monitor_has_one_task_at_a_time<D: Dialect>() {
    let dialect = D::start().await;
    let queue = dialect.queue();
    let mut later = task("a");
    later.scheduled_at = Some("2026-04-11T08:15:40Z".parse().unwrap());
    assert_eq!(queue.enqueue(&task("a")).await.unwrap(), Enqueued::Added);
    assert_eq!(
        queue.enqueue(&later).await.unwrap(),
        Enqueued::Duplicate,
        "one is pending"
    );
    let lease = take(&*dialect.source(), 1).await.remove(0);
    assert_eq!(
        queue.enqueue(&later).await.unwrap(),
        Enqueued::Duplicate,
        "one is in work"
    );
    lease.ack().await.unwrap();
    assert_eq!(queue.enqueue(&later).await.unwrap(), Enqueued::Added);
}

async fn an_acked_task_is_gone<D: Dialect>() {
    let mut dialect = D::start().await;
    dialect.queue().enqueue(&task("a")).await.unwrap();
    let lease = take(&*dialect.source(), 1).await.remove(0);
    assert_eq!(dialect.depth().await, (0, 1));
    lease.ack().await.unwrap();
    assert_eq!(dialect.depth().await, (0, 0));
    assert!(dialect.dead().await.is_empty());
}

async fn a_requeued_task_is_the_next_one<D: Dialect>() {
    let dialect = D::start().await;
    for monitor in ["a", "b"] {
        dialect.queue().enqueue(&task(monitor)).await.unwrap();
    }
    take(&*dialect.source(), 1)
        .await
        .remove(0)
        .requeue()
        .await
        .unwrap();
    assert_eq!(monitors(&take(&*dialect.source(), 2).await), ["a", "b"]);
}

async fn an_archived_task_is_a_dead_letter_and_does_not_silence_its_monitor<D: Dialect>() {
    let mut dialect = D::start().await;
    dialect.queue().enqueue(&task("a")).await.unwrap();
    take(&*dialect.source(), 1)
        .await
        .remove(0)
        .archive("no good")
        .await
        .unwrap();
    assert_eq!(dialect.depth().await, (0, 0));
    assert_eq!(dialect.dead().await, ["no good"]);
    assert_eq!(
        dialect.queue().enqueue(&task("a")).await.unwrap(),
        Enqueued::Added
    );
    assert_eq!(monitors(&take(&*dialect.source(), 1).await), ["a"]);
}

async fn a_dropped_lease_brings_its_task_back<D: Dialect>() {
    let mut dialect = D::start().await;
    for monitor in ["a", "b"] {
        dialect.queue().enqueue(&task(monitor)).await.unwrap();
    }
    drop(take(&*dialect.source(), 1).await);
    eventually(Duration::from_secs(20), "the task is pending again", async || {
        dialect.depth().await == (2, 0)
    })
    .await;
    assert_eq!(
        monitors(&take(&*dialect.source(), 2).await),
        ["a", "b"],
        "it is the next one"
    );
}

async fn a_lease_lasts_as_long_as_it_is_held<D: Dialect>() {
    let mut dialect = D::start().await;
    dialect.queue().enqueue(&task("a")).await.unwrap();
    let lease = take(&*dialect.source(), 1).await.remove(0);
    // Longer than a lease of `quick` timing lasts unextended.
    tokio::select! { () = lease.lost() => panic!("lost"), () = sleep(Duration::from_secs(8)) => {} }
    assert_eq!(dialect.depth().await, (0, 1));
    lease.ack().await.unwrap();
    assert_eq!(dialect.depth().await, (0, 0));
}

async fn a_result_is_published_once_and_its_task_is_done<D: Dialect>() {
    let mut dialect = D::start().await;
    dialect.queue().enqueue(&task("a")).await.unwrap();
    let lease = take(&*dialect.source(), 1).await.remove(0);
    let (sink, task) = (dialect.sink(), lease.task().clone());
    sink.publish(&task, &result(&task)).await.unwrap();
    lease.publish_and_ack(&*sink, &result(&task)).await.unwrap();
    assert_eq!(dialect.published().await, ["a"]);
    assert_eq!(dialect.depth().await, (0, 0));
}

async fn a_reservation_given_up_halfway_loses_nothing<D: Dialect>() {
    let mut dialect = D::start().await;
    for number in 0..200 {
        dialect.queue().enqueue(&task(&number.to_string())).await.unwrap();
    }
    let (source, mut seen) = (dialect.source(), BTreeSet::new());
    let end = Instant::now() + Duration::from_secs(30);
    let waits = (0..40_u64).map(|step| Duration::from_micros(step * 50)).cycle();
    for wait in waits.take_while(|_| end > Instant::now()) {
        if seen.len() == 200 {
            break;
        }
        let Ok(Ok(leases)) = timeout(wait, source.reserve(room(3))).await else {
            continue;
        };
        for lease in leases {
            assert!(
                seen.insert(lease.task().monitor.id.clone()),
                "{lease:?} came twice"
            );
            lease.ack().await.unwrap();
        }
    }
    assert_eq!(seen.len(), 200);
    assert_eq!(dialect.depth().await, (0, 0));
}

async fn a_scheduled_task_comes_when_it_is_due<D: Dialect>() {
    let dialect = D::start().await;
    let (queue, id) = (dialect.dialect(), dialect.dialect().task_id(&task("a")));
    let (start, delay) = (Instant::now(), Duration::from_secs(2));
    assert_eq!(queue.schedule(&task("a"), delay).await.unwrap(), Enqueued::Added);
    assert_eq!(
        queue.schedule(&task("a"), delay).await.unwrap(),
        Enqueued::Duplicate,
        "one is scheduled"
    );
    let status = queue.status(D::NAME, &id).await.unwrap().unwrap();
    assert_eq!(status.state, TaskState::Scheduled);
    let counted = queue.stats(D::NAME).await.unwrap();
    assert_eq!((counted.scheduled, counted.pending), (1, 0));
    let lease = take(&*dialect.source(), 1).await.remove(0);
    let waited = start.elapsed();
    // Asynq counts whole seconds.
    assert!(
        waited >= Duration::from_millis(950) && waited < Duration::from_secs(15),
        "{waited:?}"
    );
    assert_eq!((lease.id(), lease.task().attempt), (id.as_str(), 1));
    lease.ack().await.unwrap();
}

async fn a_retried_task_comes_again_one_attempt_further<D: Dialect>() {
    let mut dialect = D::start().await;
    dialect.queue().enqueue(&task("a")).await.unwrap();
    let lease = take(&*dialect.source(), 1).await.remove(0);
    let id = lease.id().to_owned();
    lease.retry("our own trouble").await.unwrap();
    assert_eq!(dialect.depth().await.1, 0, "it is not in work");
    assert_eq!(
        dialect.queue().enqueue(&task("a")).await.unwrap(),
        Enqueued::Duplicate,
        "its monitor still has it"
    );
    let status = dialect.dialect().status(D::NAME, &id).await.unwrap().unwrap();
    assert!(
        matches!(
            status.state,
            TaskState::Retry | TaskState::Pending | TaskState::Scheduled
        ),
        "{status:?}"
    );
    let lease = take(&*dialect.source(), 1).await.remove(0);
    assert_eq!((lease.id(), lease.task().attempt), (id.as_str(), 2));
    lease.ack().await.unwrap();
    assert_eq!(dialect.depth().await, (0, 0));
}

async fn a_paused_queue_hands_out_nothing_until_it_is_resumed<D: Dialect>() {
    let dialect = D::start().await;
    let queue = dialect.dialect();
    queue.set_paused(D::NAME, true).await.unwrap();
    queue.set_paused(D::NAME, true).await.unwrap();
    queue.enqueue(&task("a")).await.unwrap();
    assert!(queue.stats(D::NAME).await.unwrap().paused);
    assert!(dialect.source().reserve(room(5)).await.unwrap().is_empty());
    queue.set_paused(D::NAME, false).await.unwrap();
    assert!(!queue.stats(D::NAME).await.unwrap().paused);
    assert_eq!(monitors(&take(&*dialect.source(), 1).await), ["a"]);
}

async fn a_task_can_be_followed_from_end_to_end<D: Dialect>() {
    let dialect = D::start().await;
    let (queue, ours) = (dialect.dialect(), task("a"));
    let id = queue.task_id(&ours);
    assert_eq!(queue.status(D::NAME, &id).await.unwrap(), None);
    queue.enqueue(&ours).await.unwrap();
    let status = queue.status(D::NAME, &id).await.unwrap().unwrap();
    assert_eq!(
        (status.state, status.kind.as_deref()),
        (TaskState::Pending, Some("tcp"))
    );
    assert!(queue.stats(D::NAME).await.unwrap().oldest_ms.is_some());
    let lease = take(&*dialect.source(), 1).await.remove(0);
    assert_eq!(lease.id(), id);
    let status = queue.status(D::NAME, &id).await.unwrap().unwrap();
    assert_eq!(status.state, TaskState::Active);
    assert_eq!(queue.result(D::NAME, &id).await.unwrap(), None);
    let result = result(&ours);
    lease.publish_and_ack(&*dialect.sink(), &result).await.unwrap();
    let kept = queue.result(D::NAME, &id).await.unwrap().unwrap();
    assert_eq!(
        (kept.ok, kept.value),
        (true, serde_json::to_value(&result).unwrap())
    );
    let status = queue.status(D::NAME, &id).await.unwrap().unwrap();
    assert_eq!(status.state, TaskState::Completed);
    assert_eq!(
        queue.enqueue(&ours).await.unwrap(),
        Enqueued::Added,
        "a kept result does not silence its monitor"
    );
}

async fn a_waiting_task_that_is_cancelled_never_runs<D: Dialect>() {
    let mut dialect = D::start().await;
    let queue = dialect.dialect();
    queue.enqueue(&task("a")).await.unwrap();
    queue.schedule(&task("b"), Duration::from_secs(1)).await.unwrap();
    for monitor in ["a", "b"] {
        let id = queue.task_id(&task(monitor));
        assert!(queue.cancel(D::NAME, &id).await.unwrap());
        assert!(!queue.cancel(D::NAME, &id).await.unwrap(), "it is gone");
    }
    queue.enqueue(&task("c")).await.unwrap();
    let lease = take(&*dialect.source(), 1).await.remove(0);
    assert_eq!(lease.task().monitor.id, "c");
    lease.ack().await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert!(dialect.source().reserve(room(5)).await.unwrap().is_empty());
    assert_eq!(dialect.depth().await.0, 0);
}

async fn a_running_task_that_is_cancelled_is_told_so<D: Dialect>() {
    let mut dialect = D::start().await;
    let queue = dialect.dialect();
    queue.enqueue(&task("a")).await.unwrap();
    let lease = take(&*dialect.source(), 1).await.remove(0);
    let asked = async {
        // The worker's ear may not be open yet.
        loop {
            queue.cancel(D::NAME, lease.id()).await.unwrap();
            sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = lease.cancelled() => {}
        () = asked => {}
        () = sleep(Duration::from_secs(15)) => panic!("not told"),
    }
    lease.abort().await.unwrap();
    assert_eq!(dialect.depth().await, (0, 0));
    assert_eq!(queue.enqueue(&task("a")).await.unwrap(), Enqueued::Added);
}

async fn dead_letters_can_be_listed_revived_and_discarded<D: Dialect>() {
    let dialect = D::start().await;
    let queue = dialect.dialect();
    let mut ids = Vec::new();
    for monitor in ["a", "b", "c"] {
        queue.enqueue(&task(monitor)).await.unwrap();
        let lease = take(&*dialect.source(), 1).await.remove(0);
        lease.archive(&format!("{monitor} is no good")).await.unwrap();
        let newest = queue.dead(D::NAME, 0, 10).await.unwrap();
        ids.push(
            newest
                .into_iter()
                .find(|letter| letter.why.starts_with(monitor))
                .unwrap()
                .id,
        );
    }
    assert_eq!(queue.stats(D::NAME).await.unwrap().archived, 3);
    let dead = queue.dead(D::NAME, 0, 10).await.unwrap();
    assert_eq!(dead.len(), 3);
    for letter in &dead {
        assert_eq!(letter.kind.as_deref(), Some("tcp"));
        assert!(letter.at.is_some() && letter.bytes > 0, "{letter:?}");
    }
    assert_eq!(queue.dead(D::NAME, 2, 10).await.unwrap(), dead[2..]);
    assert!(queue.revive(D::NAME, &ids[0]).await.unwrap());
    assert!(!queue.revive(D::NAME, &ids[0]).await.unwrap(), "it is revived");
    assert_eq!(monitors(&take(&*dialect.source(), 1).await), ["a"]);
    assert!(queue.discard(D::NAME, &ids[1]).await.unwrap());
    assert!(!queue.discard(D::NAME, &ids[1]).await.unwrap(), "it is gone");
    let left = queue.dead(D::NAME, 0, 10).await.unwrap();
    assert_eq!((left.len(), left[0].id.as_str()), (1, ids[2].as_str()));
}

async fn a_queue_that_is_not_served_is_named_in_the_error<D: Dialect>() {
    let dialect = D::start().await;
    let queue = dialect.dialect();
    assert_eq!(queue.queues()[0], D::NAME);
    let error = queue.stats("nonesuch").await.unwrap_err();
    assert!(
        matches!(&error, QueueError::Unfit(why) if why.contains("`nonesuch`")),
        "{error}"
    );
}

async fn two_thousand_tasks_come_out_once_each_whoever_takes_them<D: Dialect>() {
    let mut dialect = D::start().await;
    let mut workers = JoinSet::new();
    for _ in 0..4 {
        let (source, sink) = (dialect.source(), dialect.sink());
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let leases = source.reserve(room(64)).await.unwrap();
                if leases.is_empty() && !done.is_empty() {
                    return done;
                }
                for lease in leases {
                    let task = lease.task().clone();
                    lease.publish_and_ack(&*sink, &result(&task)).await.unwrap();
                    done.push(task.monitor.id.clone());
                }
            }
        });
    }
    for number in 0..2000 {
        assert_eq!(
            dialect.queue().enqueue(&task(&number.to_string())).await.unwrap(),
            Enqueued::Added
        );
    }
    let done = workers.join_all().await.concat();
    assert_eq!(done.len(), 2000);
    assert_eq!(done.into_iter().collect::<BTreeSet<_>>().len(), 2000);
    assert_eq!(dialect.published().await.len(), 2000);
    assert_eq!(dialect.depth().await, (0, 0));
}
