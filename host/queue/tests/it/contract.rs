//! What every dialect promises.

use crate::fixture::{Dialect, InMemory, OnRedis, eventually, monitors, result, room, take, task};
use lapwing_queue::Enqueued;
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

macro_rules! contract {
    ($( $name:ident )*) => {
        mod asynq {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name::<super::OnRedis>().await; } )*
        }
        mod memory {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name::<super::InMemory>().await; } )*
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
