//! Lapwing's own entries as others write them, and what is kept beside the stream.

use crate::{
    fixture::{Redis, eventually, result, room, take, task},
    streams_fixture::{add, brisk, depth, lapwing, open},
};
use lapwing_queue::{
    Enqueued, Inspect, Queue, QueueError, Source, TaskState,
    streams::{Options, Streams},
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const TASKS: &str = "lapwing:tasks";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_come_as_json_as_messagepack_and_as_flat_fields() {
    let mut redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    let json = br#"{"kind":"tcp","id":"a","config":{"port":1}}"#;
    let message = lapwing_model::wire::TaskMessage::from_json(json).unwrap();
    let packed = rmp_serde::to_vec_named(&message).unwrap();
    add(&mut redis, TASKS, &[("task", json)]).await;
    add(&mut redis, TASKS, &[("task", &packed)]).await;
    let flat = add(
        &mut redis,
        TASKS,
        &[("kind", b"tcp"), ("config", br#"{"port":1}"#)],
    )
    .await;
    let leases = take(&*streams, 3).await;
    assert_eq!(leases[0].task().monitor, leases[1].task().monitor);
    assert_eq!(leases[2].id(), flat);
    assert_eq!(leases[2].task().monitor.config, leases[0].task().monitor.config);
    let status = streams.status(TASKS, &flat).await.unwrap().unwrap();
    assert_eq!(status.state, TaskState::Active);
    // Its time is that of Redis, whatever the hosts' clocks say.
    let due = leases[2].task().scheduled_at.unwrap();
    assert_eq!(due.as_millisecond().to_string(), flat.split('-').next().unwrap());
    assert_eq!(status.due, Some(due));
    for lease in leases {
        lease.ack().await.unwrap();
    }
    assert_eq!(depth(&mut redis, TASKS, "lapwing").await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_task_are_a_dead_letter_that_can_be_revived_as_it_was() {
    let mut redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    add(
        &mut redis,
        TASKS,
        &[("task", b"\x93\x00\xff\xfe"), ("more", b"x")],
    )
    .await;
    eventually(Duration::from_secs(3), "it is a dead letter", async || {
        assert!(streams.reserve(room(1)).await.unwrap().is_empty());
        streams.counts().archived == 1
    })
    .await;
    let letter = streams.dead(TASKS, 0, 1).await.unwrap().remove(0);
    assert!(letter.why.contains("MessagePack"), "{letter:?}");
    assert_eq!((letter.bytes, letter.kind), (5, None));
    assert!(streams.revive(TASKS, &letter.id).await.unwrap());
    eventually(Duration::from_secs(3), "it is one again", async || {
        assert!(streams.reserve(room(1)).await.unwrap().is_empty());
        streams.counts().archived == 2
    })
    .await;
    let again = streams.dead(TASKS, 0, 1).await.unwrap().remove(0);
    assert_eq!((&again.why, again.bytes), (&letter.why, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_says_so_and_drops_nothing() {
    let mut redis = Redis::start().await;
    let options = Options {
        max_length: 3,
        ..Options::lapwing()
    };
    let streams = open(&redis, options).await;
    for monitor in ["a", "b"] {
        streams.enqueue(&task(monitor)).await.unwrap();
    }
    let hour = Duration::from_secs(3600);
    assert_eq!(streams.schedule(&task("c"), hour).await.unwrap(), Enqueued::Added);
    let lease = take(&*streams, 1).await.remove(0);
    let full = streams.enqueue(&task("d")).await.unwrap_err();
    assert!(matches!(full, QueueError::Full(3)), "{full}");
    assert_eq!(streams.enqueue(&task("b")).await.unwrap(), Enqueued::Duplicate);
    lease.ack().await.unwrap();
    assert_eq!(streams.enqueue(&task("d")).await.unwrap(), Enqueued::Added);
    assert_eq!(depth(&mut redis, TASKS, "lapwing").await, (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_waits_for_its_second_try_tells_so() {
    let redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    streams.enqueue(&task("a")).await.unwrap();
    take(&*streams, 1).await.remove(0).retry("trouble").await.unwrap();
    let told = streams.status(TASKS, "a").await.unwrap().unwrap();
    assert_eq!(
        (told.state, told.attempts, told.kind.as_deref()),
        (TaskState::Retry, 2, Some("tcp"))
    );
    let stats = streams.stats(TASKS).await.unwrap();
    assert_eq!((stats.retry, stats.scheduled, stats.failed), (1, 0, Some(1)));
    assert!(streams.cancel(TASKS, "a").await.unwrap());
    assert_eq!(streams.status(TASKS, "a").await.unwrap(), None);
    assert_eq!(streams.stats(TASKS).await.unwrap().retry, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_stay_right_after_a_waiting_task_was_cancelled() {
    let redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    for monitor in ["a", "b", "c", "d"] {
        streams.enqueue(&task(monitor)).await.unwrap();
    }
    let lease = take(&*streams, 1).await.remove(0);
    // Redis itself loses count when an unread entry is deleted.
    assert!(streams.cancel(TASKS, "c").await.unwrap());
    let stats = streams.stats(TASKS).await.unwrap();
    assert_eq!((stats.pending, stats.lag, stats.active), (2, 2, 1));
    assert!(stats.oldest_ms.is_some());
    lease.requeue().await.unwrap();
    let stats = streams.stats(TASKS).await.unwrap();
    assert_eq!((stats.pending, stats.lag, stats.active), (3, 2, 0));
    for lease in take(&*streams, 3).await {
        lease.ack().await.unwrap();
    }
    let stats = streams.stats(TASKS).await.unwrap();
    assert_eq!((stats.pending, stats.active, stats.oldest_ms), (0, 0, None));
    assert_eq!(stats.processed, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_result_runs_out() {
    let mut redis = Redis::start().await;
    let options = Options {
        keep_result: Duration::from_secs(60),
        ..Options::lapwing()
    };
    let streams = open(&redis, options).await;
    streams.enqueue(&task("a")).await.unwrap();
    let lease = take(&*streams, 1).await.remove(0);
    let result = result(lease.task());
    lease.publish_and_ack(&*streams, &result).await.unwrap();
    assert!(streams.result(TASKS, "a").await.unwrap().is_some());
    let left: i64 = redis.run("PTTL {lapwing:tasks}:result:a").await;
    assert!((1..=60_000).contains(&left), "{left} ms");
    let () = redis.run("DEL {lapwing:tasks}:result:a").await;
    assert_eq!(streams.result(TASKS, "a").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_starts_as_soon_as_it_is_enqueued() {
    let redis = Redis::start().await;
    let mut options = brisk(Options::lapwing());
    options.block = Duration::from_secs(5);
    options.timing.wait = Duration::from_secs(5);
    let streams = Streams::connect(&redis.server(), options).await.unwrap();
    let worker = tokio::spawn({
        let streams = streams.clone();
        async move { streams.reserve(room(1)).await.unwrap().len() }
    });
    sleep(Duration::from_millis(500)).await;
    let start = Instant::now();
    streams.enqueue(&task("a")).await.unwrap();
    assert_eq!(worker.await.unwrap(), 1);
    // A poll would have to wait for its next turn.
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_are_shown_with_their_host_and_what_they_have() {
    let redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    streams.enqueue(&task("a")).await.unwrap();
    let _lease = take(&*streams, 1).await;
    let workers = streams.workers().await.unwrap();
    assert_eq!(workers.len(), 1);
    assert_eq!(
        (workers[0].host.as_deref(), workers[0].pid, workers[0].active),
        (Some("testhost"), Some(4711), 1)
    );
    streams.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_paused_under_a_blocked_reader_hands_out_nothing() {
    let mut redis = Redis::start().await;
    let mut options = brisk(Options::lapwing());
    options.block = Duration::from_secs(5);
    options.timing.wait = Duration::from_secs(10);
    options.max_deliveries = 1;
    let streams = Streams::connect(&redis.server(), options).await.unwrap();
    let mut worker = tokio::spawn({
        let streams = streams.clone();
        async move { streams.reserve(room(1)).await.unwrap() }
    });
    sleep(Duration::from_millis(300)).await;
    streams.set_paused(TASKS, true).await.unwrap();
    streams.enqueue(&task("a")).await.unwrap();
    tokio::select! {
        leases = &mut worker => panic!("{leases:?}"),
        () = sleep(Duration::from_secs(1)) => {}
    }
    assert_eq!(depth(&mut redis, TASKS, "lapwing").await, (1, 0));
    let status = streams.status(TASKS, "a").await.unwrap().unwrap();
    assert_eq!(status.state, TaskState::Pending);
    streams.set_paused(TASKS, false).await.unwrap();
    // Handed out twice by now, but tried for the first time.
    assert_eq!(worker.await.unwrap().len(), 1);
}
