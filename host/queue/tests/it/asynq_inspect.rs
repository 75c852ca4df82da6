//! Looking into queues, with what stock clients and workers put there.

use crate::fixture::{Redis, check, eventually, quick, room, take, task};
use futures_util::StreamExt;
use lapwing_queue::{
    Inspect, Queue, QueueStats, Source, TaskState,
    asynq::message::{ServerInfo, TaskMessage, Time},
};
use prost::Message;
use redis::AsyncCommands;
use std::time::Duration;

#[tokio::test]
async fn every_place_of_a_queue_is_counted() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    assert_eq!(asynq.queues(), ["critical", "healthcheck", "default", "low"]);
    let nothing = QueueStats {
        processed: Some(0),
        failed: Some(0),
        ..QueueStats::default()
    };
    assert_eq!(asynq.stats("low").await.unwrap(), nothing);
    for monitor in ["a", "b"] {
        redis.push(&check("low", monitor), &[]).await;
    }
    let since = redis.now().await - 7;
    let () = redis
        .run(&format!(
            "HSET asynq:{{low}}:t:healthcheck:a pending_since {since}000000000"
        ))
        .await;
    let () = redis.run("LPUSH asynq:{low}:active x y").await;
    for (place, count) in [("scheduled", 1), ("retry", 2), ("archived", 3), ("completed", 4)] {
        for number in 0..count {
            let () = redis.run(&format!("ZADD asynq:{{low}}:{place} 1 {number}")).await;
        }
    }
    let () = redis
        .run("MSET asynq:{low}:processed 41 asynq:{low}:failed 7")
        .await;
    let mut stats = asynq.stats("low").await.unwrap();
    let oldest = stats.oldest_ms.take().unwrap();
    assert!((7000..12_000).contains(&oldest), "{oldest}");
    let expected = QueueStats {
        pending: 2,
        active: 2,
        scheduled: 1,
        retry: 2,
        archived: 3,
        completed: 4,
        processed: Some(41),
        failed: Some(7),
        lag: 2,
        oldest_ms: None,
        paused: false,
    };
    assert_eq!(stats, expected);
    asynq.set_paused("low", true).await.unwrap();
    let paused: i64 = redis.run("GET asynq:{low}:paused").await;
    assert!(
        (paused - redis.now().await).abs() < 5,
        "since when, as stock tools write it"
    );
}

#[tokio::test]
async fn tasks_of_other_types_are_shown_by_their_type() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let foreign = TaskMessage {
        kind: "email:send".into(),
        retried: 2,
        error_msg: "no route".into(),
        ..check("low", "f")
    };
    redis.push(&foreign, &[]).await;
    let id = foreign.id.as_str();
    let status = asynq.status("low", id).await.unwrap().unwrap();
    assert_eq!(
        (status.state, status.kind.as_deref()),
        (TaskState::Pending, Some("email:send"))
    );
    assert_eq!((status.attempts, status.why.as_deref()), (2, Some("no route")));

    let task = format!("asynq:{{low}}:t:{id}");
    let () = redis.run("DEL asynq:{low}:pending").await;
    let () = redis.run(&format!("HSET {task} state retry")).await;
    let () = redis
        .run(&format!("ZADD asynq:{{low}}:retry 2000000000 {id}"))
        .await;
    let status = asynq.status("low", id).await.unwrap().unwrap();
    assert_eq!(status.state, TaskState::Retry);
    assert_eq!(status.due.unwrap().as_second(), 2_000_000_000);

    let () = redis
        .run(&format!("HSET {task} state completed result plain"))
        .await;
    let kept = asynq.result("low", id).await.unwrap().unwrap();
    assert_eq!(
        (kept.ok, kept.value),
        (true, "plain".into()),
        "what a stock handler wrote"
    );
    let () = redis.run(&format!("HSET {task} state archived")).await;
    let kept = asynq.result("low", id).await.unwrap().unwrap();
    assert_eq!((kept.ok, kept.value), (false, "no route".into()));
}

#[tokio::test]
async fn cancelling_tells_stock_workers_and_frees_what_waited() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let client = redis::Client::open(redis.server.url()).unwrap();
    let mut ear = client.get_async_pubsub().await.unwrap();
    ear.subscribe("asynq:cancel").await.unwrap();
    redis.push(&check("low", "running"), &[]).await;
    let id = redis.stock_dequeue("low", 60).await;
    assert!(asynq.cancel("low", &id).await.unwrap());
    let heard = ear.on_message().next().await.unwrap();
    assert_eq!(heard.get_payload::<String>().unwrap(), id, "the bare id");

    let () = redis
        .run("HSET asynq:{low}:t:grouped msg x state aggregating group g")
        .await;
    let () = redis.run("ZADD asynq:{low}:g:g 1 grouped").await;
    assert!(asynq.cancel("low", "grouped").await.unwrap());
    assert!(redis.run::<Vec<String>>("KEYS asynq:{low}:g:*").await.is_empty());

    asynq.schedule(&task("a"), Duration::from_secs(60)).await.unwrap();
    assert!(asynq.cancel("healthcheck", "healthcheck:a").await.unwrap());
    let left: Vec<String> = redis.run("KEYS asynq:{healthcheck}*").await;
    assert!(left.is_empty(), "its lock too: {left:?}");
}

#[tokio::test]
async fn dead_letters_come_back_as_the_stock_tools_bring_them_back() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    for monitor in ["a", "b"] {
        asynq.enqueue(&task(monitor)).await.unwrap();
        take(&*asynq, 1).await.remove(0).archive("why").await.unwrap();
    }
    // Of one, only the id is left.
    let () = redis.run("ZADD asynq:{healthcheck}:archived 1 gone").await;
    let dead = asynq.dead("healthcheck", 2, 5).await.unwrap();
    assert_eq!((dead[0].id.as_str(), dead[0].bytes), ("gone", 0));
    assert!(!asynq.revive("healthcheck", "gone").await.unwrap());
    assert!(asynq.revive("healthcheck", "healthcheck:a").await.unwrap());
    assert_eq!(
        redis.state("healthcheck", "healthcheck:a").await.unwrap(),
        "pending"
    );
    assert_eq!(redis.list("healthcheck", "pending").await, ["healthcheck:a"]);
    assert!(asynq.discard("healthcheck", "healthcheck:b").await.unwrap());
    assert!(redis.hash("healthcheck", "healthcheck:b").await.is_empty());
    let locks: Vec<String> = redis.run("KEYS asynq:{healthcheck}:unique:*").await;
    assert_eq!(locks.len(), 1, "the lock of the discarded one is free");
}

#[tokio::test]
async fn live_workers_are_listed_stock_ones_too() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    assert!(asynq.workers().await.unwrap().is_empty());
    let now = redis.now().await;
    for (name, queue, end) in [
        ("stock", "low", 10),
        ("elsewhere", "mail", 10),
        ("dead", "low", -1),
    ] {
        let info = ServerInfo {
            host: name.to_owned(),
            pid: 7,
            server_id: "uuid".to_owned(),
            concurrency: 10,
            queues: [(queue.to_owned(), 1)].into(),
            status: "active".to_owned(),
            start_time: Some(Time {
                seconds: now - 60,
                nanos: 0,
            }),
            active_worker_count: 3,
            ..ServerInfo::default()
        };
        let key = format!("asynq:servers:{{{name}:7:uuid}}");
        let () = redis
            .connection
            .set_ex(&key, info.encode_to_vec(), 10)
            .await
            .unwrap();
        let () = redis
            .connection
            .zadd("asynq:servers", &key, now + end)
            .await
            .unwrap();
    }
    asynq.reserve(room(1)).await.unwrap();
    eventually(Duration::from_secs(5), "both are listed", async || {
        asynq.workers().await.unwrap().len() == 2
    })
    .await;
    let mut workers = asynq.workers().await.unwrap();
    workers.sort_by(|one, other| one.name.cmp(&other.name));
    let [stock, ours] = &workers[..] else {
        panic!("{workers:?}")
    };
    assert_eq!(
        (stock.name.as_str(), stock.host.as_deref(), stock.pid),
        ("stock:7:uuid", Some("stock"), Some(7))
    );
    assert_eq!((stock.concurrency, stock.active), (Some(10), 3));
    assert_eq!(stock.queues, ["low"]);
    assert_eq!(stock.started_at.unwrap().as_second(), now - 60);
    assert!(ours.name.starts_with("testhost:4711:"));
    assert!(ours.idle_ms.unwrap() <= 2000);
}
