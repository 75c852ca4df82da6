//! Redis goes, hangs, forgets or refuses.

use crate::{
    fixture::{Redis, eventually, result, room, take, task},
    streams_fixture::{brisk, column, depth, lapwing},
};
use lapwing_queue::{
    Enqueued, Inspect, Lease, Queue, QueueError, Source,
    streams::{Options, Streams},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

const TASKS: &str = "lapwing:tasks";

async fn reserved(streams: &Streams, count: usize) -> Vec<Lease> {
    for number in 0..count {
        streams.enqueue(&task(&format!("held{number}"))).await.unwrap();
    }
    take(streams, count).await
}

fn settle_all(streams: &Arc<Streams>, leases: Vec<Lease>) -> JoinSet<Result<(), QueueError>> {
    let mut settling = JoinSet::new();
    for lease in leases {
        let sink = streams.clone();
        settling.spawn(async move {
            let result = result(lease.task());
            lease.publish_and_ack(&*sink, &result).await
        });
    }
    settling
}

/// Every result is there once, and nothing is in work.
async fn all_settled(redis: &mut Redis, count: usize) {
    let results = column(redis, "lapwing:results", "id").await;
    assert_eq!(results.len(), count);
    assert_eq!(results.into_iter().collect::<BTreeSet<_>>().len(), count);
    assert_eq!(depth(redis, TASKS, "lapwing").await, (0, 0));
    assert_eq!(redis.run::<usize>("GET {lapwing:tasks}:processed").await, count);
}

fn keep_reserving(streams: &Arc<Streams>) -> JoinHandle<()> {
    let streams = streams.clone();
    tokio::spawn(async move {
        loop {
            let _ = streams.reserve(room(8)).await;
        }
    })
}

async fn commands(redis: &mut Redis) -> i64 {
    let info: String = redis.run("INFO stats").await;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().parse().unwrap()
}

async fn rate(redis: &mut Redis, seconds: u64) -> i64 {
    let before = commands(redis).await;
    sleep(Duration::from_secs(seconds)).await;
    (commands(redis).await - before) / i64::try_from(seconds).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_seen_while_redis_was_killed_are_told_when_it_is_back() {
    let mut redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    let leases = reserved(&streams, 50).await;
    redis.server.stop();
    let settling = settle_all(&streams, leases);
    assert!(
        timeout(Duration::from_secs(3), async {
            while streams.reserve(room(1)).await.is_ok() {}
        })
        .await
        .is_ok()
    );
    // Longer than an entry may be left alone.
    sleep(Duration::from_millis(2500)).await;
    redis.server.restart();
    let back = Instant::now();
    for outcome in timeout(Duration::from_secs(10), settling.join_all())
        .await
        .unwrap()
    {
        outcome.unwrap();
    }
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    redis.reconnect().await;
    all_settled(&mut redis, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_seen_while_redis_hung_are_told_once_when_it_goes_on() {
    let mut redis = Redis::start().await;
    let (streams, other) = (lapwing(&redis).await, lapwing(&redis).await);
    let leases = reserved(&streams, 50).await;
    let thief = keep_reserving(&other);
    redis.server.pause();
    let settling = settle_all(&streams, leases);
    sleep(Duration::from_secs(2)).await;
    redis.server.resume();
    for outcome in timeout(Duration::from_secs(10), settling.join_all())
        .await
        .unwrap()
    {
        outcome.unwrap();
    }
    thief.abort();
    all_settled(&mut redis, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_takes_tasks_within_two_seconds_of_redis_return() {
    let mut redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    assert!(streams.reserve(room(1)).await.unwrap().is_empty());
    redis.server.stop();
    let worker = tokio::spawn({
        let streams = streams.clone();
        async move { take(&*streams, 1).await }
    });
    sleep(Duration::from_secs(3)).await;
    redis.server.restart();
    let back = Instant::now();
    while streams.enqueue(&task("a")).await.is_err() {
        assert!(back.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(worker.await.unwrap().len(), 1);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_vanishes_under_a_blocked_reader_is_made_anew_without_a_storm() {
    let mut redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    for vanish in [
        "XGROUP DESTROY lapwing:tasks lapwing",
        "DEL lapwing:tasks",
        "FLUSHALL",
    ] {
        let worker = keep_reserving(&streams);
        sleep(Duration::from_millis(400)).await;
        let _: redis::Value = redis.run(vanish).await;
        let rate = rate(&mut redis, 1).await;
        assert!(rate < 50, "{vanish}: {rate} commands/s");
        worker.abort();
        assert_eq!(streams.enqueue(&task(vanish)).await.unwrap(), Enqueued::Added);
        let start = Instant::now();
        let lease = take(&*streams, 1).await.remove(0);
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{vanish}: {:?}",
            start.elapsed()
        );
        lease.ack().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_is_not_silent_after_its_stream_was_deleted() {
    let mut redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    let lease = reserved(&streams, 1).await.remove(0);
    streams
        .schedule(&task("later"), Duration::from_secs(60))
        .await
        .unwrap();
    let _: i64 = redis.run("DEL lapwing:tasks {lapwing:tasks}:scheduled").await;
    timeout(Duration::from_secs(3), lease.lost()).await.unwrap();
    assert!(matches!(lease.ack().await, Err(QueueError::LeaseLost(_))));
    assert_eq!(
        streams.status(TASKS, "held0").await.unwrap(),
        None,
        "its lock tells of nothing"
    );
    for monitor in ["held0", "later"] {
        assert_eq!(streams.enqueue(&task(monitor)).await.unwrap(), Enqueued::Added);
    }
}

/// Refusals of writes that Redis can be made to give.
const REFUSALS: [(&str, &str); 3] = [
    (
        "CONFIG SET min-replicas-to-write 1",
        "CONFIG SET min-replicas-to-write 0",
    ),
    ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
];

async fn refused(refuse: &str, allow: &str) {
    let mut redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    let leases = reserved(&streams, 100).await;
    let () = redis.run(refuse).await;
    let settling = settle_all(&streams, leases);
    let worker = keep_reserving(&streams);
    sleep(Duration::from_millis(500)).await;
    let rate = rate(&mut redis, 3).await;
    assert!(rate < 50, "{rate} commands/s");
    assert!(!settling.is_empty());
    worker.abort();
    let () = redis.run(allow).await;
    let back = Instant::now();
    for outcome in settling.join_all().await {
        outcome.unwrap();
    }
    streams.enqueue(&task("a")).await.unwrap();
    take(&*streams, 1).await.remove(0).ack().await.unwrap();
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    assert_eq!(column(&mut redis, "lapwing:results", "id").await.len(), 100);
    assert_eq!(redis.run::<usize>("GET {lapwing:tasks}:processed").await, 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_ended_while_replicas_were_missing_are_settled_once_and_without_a_storm() {
    let [(refuse, allow), ..] = REFUSALS;
    refused(refuse, allow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_ended_while_memory_was_full_are_settled_once_and_without_a_storm() {
    let [_, (refuse, allow), _] = REFUSALS;
    refused(refuse, allow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_ended_while_redis_was_a_replica_are_settled_once_and_without_a_storm() {
    let [.., (refuse, allow)] = REFUSALS;
    refused(refuse, allow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_end_though_memory_is_full() {
    let mut redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    let mut leases = reserved(&streams, 2).await;
    let () = redis.run("CONFIG SET maxmemory 1").await;
    // Ending a task frees memory, so Redis lets us; a dead letter needs some.
    leases.remove(0).ack().await.unwrap();
    let archiving = tokio::spawn(leases.remove(0).archive("no good"));
    sleep(Duration::from_millis(500)).await;
    assert!(!archiving.is_finished());
    let () = redis.run("CONFIG SET maxmemory 0").await;
    archiving.await.unwrap().unwrap();
    assert_eq!(
        column(&mut redis, "lapwing:tasks:dead", "reason").await,
        ["no good"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_asks_little() {
    let mut redis = Redis::start().await;
    let options = Options::lapwing();
    let streams = Streams::connect(&redis.server(), options).await.unwrap();
    let worker = keep_reserving(&streams);
    sleep(Duration::from_secs(1)).await;
    let calls = async |redis: &mut Redis| -> u64 {
        let info: String = redis.run("INFO commandstats").await;
        let ours = ["evalsha", "xreadgroup", "exists", "xgroup", "time"];
        let of = |name: &str| -> u64 {
            let prefix = format!("cmdstat_{name}:calls=");
            let line = info.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
            line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
        };
        // Scripts look at the pause and at the clock too.
        ours.into_iter().map(of).sum()
    };
    let before = calls(&mut redis).await;
    sleep(Duration::from_secs(4)).await;
    let rate = (calls(&mut redis).await - before) / 4;
    worker.abort();
    assert!(rate <= 8, "{rate} commands/s");
    eventually(Duration::from_secs(1), "it is shown", async || {
        streams.workers().await.unwrap().len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_taken_away_for_a_while_costs_no_lease() {
    let mut redis = Redis::start().await;
    let () = redis.run("ACL SETUSER lap on >secret ~* &* +@all").await;
    let url = format!("redis://lap:secret@127.0.0.1:{}/0", redis.server.port());
    let server = lapwing_queue::Server::open(&url).unwrap();
    let streams = Streams::connect(&server, brisk(Options::lapwing()))
        .await
        .unwrap();
    for command in ["xpending", "xack", "evalsha"] {
        let lease = reserved(&streams, 1).await.remove(0);
        let () = redis.run(&format!("ACL SETUSER lap -{command}")).await;
        let settling = settle_all(&streams, vec![lease]);
        // Longer than an entry may be left alone.
        sleep(Duration::from_millis(2500)).await;
        let () = redis.run(&format!("ACL SETUSER lap +{command}")).await;
        let back = Instant::now();
        settling.join_all().await.remove(0).unwrap();
        assert!(
            back.elapsed() < Duration::from_secs(2),
            "{command}: {:?}",
            back.elapsed()
        );
    }
    assert_eq!(redis.run::<usize>("GET {lapwing:tasks}:processed").await, 3);
}
