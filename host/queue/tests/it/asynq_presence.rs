//! What Asynq's tools see of a worker.

use crate::fixture::{Redis, check, eventually, quick, room, take, task};
use lapwing_queue::{
    Queue, Source,
    asynq::{
        Options,
        message::{ServerInfo, WorkerInfo},
    },
};
use prost::Message;
use redis::AsyncCommands;
use std::{collections::HashMap, time::Duration};

async fn servers(redis: &mut Redis) -> Vec<(String, f64)> {
    redis
        .connection
        .zrange_withscores("asynq:servers", 0, -1)
        .await
        .unwrap()
}

async fn info(redis: &mut Redis) -> Option<ServerInfo> {
    let (key, _) = servers(redis).await.pop()?;
    let bytes: Option<Vec<u8>> = redis.connection.get(key).await.unwrap();
    Some(ServerInfo::decode(&*bytes?).unwrap())
}

#[tokio::test]
async fn stock_tools_list_the_worker_and_what_it_works_at() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    redis.push(&check("low", "a"), &[]).await;
    let leases = take(&*asynq, 1).await;
    eventually(Duration::from_secs(5), "the task is shown", async || {
        info(&mut redis)
            .await
            .is_some_and(|info| info.active_worker_count == 1)
    })
    .await;
    let now = redis.now().await;
    let (key, expiry) = servers(&mut redis).await.remove(0);
    let identity = key
        .strip_prefix("asynq:servers:{testhost:4711:")
        .unwrap()
        .strip_suffix('}')
        .unwrap()
        .to_owned();
    assert_eq!(identity.len(), 36, "a UUID");
    assert!(expiry.fract() == 0.0 && expiry >= now as f64, "{expiry}");
    assert!(redis.run::<i64>(&format!("PTTL {key}")).await <= 2000);
    let info = info(&mut redis).await.unwrap();
    assert_eq!(
        (info.host.as_str(), info.pid, info.concurrency),
        ("testhost", 4711, 8)
    );
    assert_eq!(
        (info.server_id.as_str(), info.status.as_str()),
        (identity.as_str(), "active")
    );
    let queues = [("critical", 6), ("default", 3), ("healthcheck", 5), ("low", 1)];
    assert_eq!(
        info.queues
            .iter()
            .map(|(name, of)| (name.as_str(), *of))
            .collect::<Vec<_>>(),
        queues
    );
    assert!(info.strict_priority);
    assert!((info.start_time.unwrap().seconds - now).abs() < 10);

    let workers = format!("asynq:workers:{{testhost:4711:{identity}}}");
    let listed: Vec<(String, f64)> = redis
        .connection
        .zrange_withscores("asynq:workers", 0, -1)
        .await
        .unwrap();
    assert_eq!(listed[0].0, workers);
    let tasks: HashMap<String, Vec<u8>> = redis.connection.hgetall(&workers).await.unwrap();
    let worker = WorkerInfo::decode(&*tasks["healthcheck:a"]).unwrap();
    assert_eq!(
        (worker.server_id, worker.task_id.as_str()),
        (identity, "healthcheck:a")
    );
    assert_eq!(
        (worker.task_type.as_str(), worker.queue.as_str()),
        ("monitor:healthcheck", "low")
    );
    assert_eq!(
        worker.deadline.unwrap().seconds - worker.start_time.unwrap().seconds,
        16
    );
    assert!(worker.task_payload.is_empty(), "credentials stay in the task");
    assert!(redis.run::<i64>(&format!("PTTL {workers}")).await <= 2000);
    drop(leases);
}

#[tokio::test]
async fn a_worker_that_stops_says_so_and_then_goodbye() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    asynq.reserve(room(1)).await.unwrap();
    eventually(Duration::from_secs(5), "it is shown", async || {
        info(&mut redis).await.is_some()
    })
    .await;
    asynq.drain().await;
    eventually(Duration::from_secs(5), "it is shown as stopped", async || {
        info(&mut redis)
            .await
            .is_some_and(|info| info.status == "stopped")
    })
    .await;
    asynq.close().await;
    assert!(redis.run::<Vec<String>>("KEYS asynq:*s*r*s*").await.is_empty());
}

#[tokio::test]
async fn a_producer_is_no_worker() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    asynq.enqueue(&task("a")).await.unwrap();
    assert!(servers(&mut redis).await.is_empty());
}

#[tokio::test]
async fn a_worker_without_work_hardly_bothers_redis() {
    const SECONDS: u64 = 8;
    let mut redis = Redis::start().await;
    // At the pace of a real one.
    let asynq = redis.asynq(Options::default()).await;
    let idle = tokio::spawn(async move {
        loop {
            asynq.reserve(room(1)).await.unwrap();
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let () = redis.run("CONFIG RESETSTAT").await;
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let stats: String = redis.run("INFO commandstats").await;
    idle.abort();
    // One of each round trip: a script, the time, and what shows the worker.
    let calls = |command: &str| -> u64 {
        let found = stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        found.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    };
    let trips = calls("evalsha") + calls("time") + calls("psetex");
    assert!(
        (1..=5 * SECONDS).contains(&trips),
        "{trips} in {SECONDS} s\n{stats}"
    );
}
