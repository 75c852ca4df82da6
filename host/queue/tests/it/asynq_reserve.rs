//! Which tasks come, and in which order.

use crate::fixture::{Redis, check, eventually, monitors, quick, room, take};
use lapwing_queue::{Inspect, Source, asynq::message::TaskMessage};
use std::time::Duration;

#[tokio::test]
async fn queues_are_served_by_strict_priority_in_one_batch() {
    let mut redis = Redis::start().await;
    let mut options = quick();
    options.queues.reverse();
    let asynq = redis.asynq(options).await;
    for queue in ["low", "default", "healthcheck", "critical"] {
        for number in 0..2 {
            redis.push(&check(queue, &format!("{queue}{number}")), &[]).await;
        }
    }
    let first = asynq.reserve(room(5)).await.unwrap();
    assert_eq!(
        monitors(&first),
        [
            "critical0",
            "critical1",
            "healthcheck0",
            "healthcheck1",
            "default0"
        ]
    );
    redis.push(&check("critical", "late"), &[]).await;
    let second = asynq.reserve(room(5)).await.unwrap();
    assert_eq!(monitors(&second), ["late", "default1", "low0", "low1"]);
}

#[tokio::test]
async fn a_paused_queue_is_left_alone_until_it_goes_on() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    redis.push(&check("critical", "paused"), &[]).await;
    redis.push(&check("low", "open"), &[]).await;
    let () = redis.run("SET asynq:{critical}:paused 1").await;
    assert_eq!(monitors(&asynq.reserve(room(5)).await.unwrap()), ["open"]);
    assert!(asynq.reserve(room(5)).await.unwrap().is_empty());
    let () = redis.run("DEL asynq:{critical}:paused").await;
    assert_eq!(monitors(&take(&*asynq, 1).await), ["paused"]);
}

#[tokio::test]
async fn a_task_in_work_is_as_a_stock_worker_has_it() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    redis.push(&check("default", "a"), &[]).await;
    let leases = take(&*asynq, 1).await;
    assert_eq!(leases[0].id(), "healthcheck:a");
    assert_eq!(redis.list("default", "active").await, ["healthcheck:a"]);
    let (id, end) = redis.zset("default", "lease").await.remove(0);
    assert_eq!(id, "healthcheck:a");
    let left = end - redis.now().await as f64;
    assert!(left > 4.0 && left < 8.0, "{left}");
    let hash = redis.hash("default", "healthcheck:a").await;
    assert_eq!(hash["state"], b"active");
    assert!(!hash.contains_key("pending_since"));
}

#[tokio::test]
async fn ids_without_a_task_are_dropped_and_hold_nobody_up() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    for number in 0..2500 {
        let () = redis
            .run(&format!("LPUSH asynq:{{healthcheck}}:pending ghost{number}"))
            .await;
    }
    let () = redis.run("HSET asynq:{healthcheck}:t:ghost0 state active").await;
    redis.push(&check("healthcheck", "real"), &[]).await;
    assert_eq!(monitors(&take(&*asynq, 1).await), ["real"]);
    assert_eq!(redis.list("healthcheck", "active").await, ["healthcheck:real"]);
    assert_eq!(redis.zset("healthcheck", "lease").await.len(), 1);
    assert!(redis.hash("healthcheck", "ghost0").await.is_empty());
}

#[tokio::test]
async fn an_id_listed_twice_runs_once() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    redis.push(&check("healthcheck", "a"), &[]).await;
    let () = redis.run("LPUSH asynq:{healthcheck}:pending healthcheck:a").await;
    let lease = take(&*asynq, 1).await.remove(0);
    assert!(asynq.reserve(room(5)).await.unwrap().is_empty());
    assert_eq!(redis.list("healthcheck", "active").await, ["healthcheck:a"]);
    lease.ack().await.unwrap();
    assert!(redis.list("healthcheck", "pending").await.is_empty());
}

#[tokio::test]
async fn a_cancelled_task_learns_of_it_and_keeps_its_lease() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    redis.push(&check("healthcheck", "a"), &[]).await;
    redis.push(&check("healthcheck", "b"), &[]).await;
    let leases = take(&*asynq, 2).await;
    eventually(Duration::from_secs(5), "somebody listens", async || {
        redis.run::<i64>("PUBLISH asynq:cancel healthcheck:a").await > 0
    })
    .await;
    leases[0].cancelled().await;
    let other = tokio::time::timeout(Duration::from_millis(200), leases[1].cancelled()).await;
    assert!(other.is_err(), "the other task goes on");
    for lease in leases {
        lease.ack().await.unwrap();
    }
    assert!(redis.list("healthcheck", "active").await.is_empty());
}

#[tokio::test]
async fn what_is_no_check_is_archived_with_peekapings_words() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    redis
        .push(
            &TaskMessage {
                kind: "email:send".into(),
                retry: 3,
                ..check("default", "foreign")
            },
            &[],
        )
        .await;
    redis
        .push(
            &TaskMessage {
                payload: b"hello".to_vec(),
                ..check("healthcheck", "garbled")
            },
            &[],
        )
        .await;
    let () = redis
        .run("HSET asynq:{low}:t:broken msg \u{1} state pending")
        .await;
    let () = redis.run("LPUSH asynq:{low}:pending broken").await;
    redis.push(&check("low", "good"), &[]).await;
    assert_eq!(monitors(&take(&*asynq, 1).await), ["good"]);

    let foreign = redis.message("default", "healthcheck:foreign").await;
    assert_eq!(foreign.error_msg, "handler not found for task \"email:send\"");
    assert!((foreign.last_failed_at - redis.now().await).abs() < 5);
    let garbled = redis.message("healthcheck", "healthcheck:garbled").await;
    assert!(
        garbled.error_msg.starts_with("failed to unmarshal payload: "),
        "{}",
        garbled.error_msg
    );
    assert_eq!(garbled.payload, b"hello");
    let broken = redis.message("low", "broken").await;
    assert!(
        broken.error_msg.starts_with("failed to decode message: "),
        "{}",
        broken.error_msg
    );
    assert_eq!(
        (broken.id.as_str(), broken.queue.as_str(), &*broken.payload),
        ("broken", "low", &b"\x01"[..])
    );
    assert_eq!(asynq.counts().archived, 3);
    for (queue, id) in [
        ("default", "healthcheck:foreign"),
        ("healthcheck", "healthcheck:garbled"),
        ("low", "broken"),
    ] {
        assert_eq!(redis.state(queue, id).await.unwrap(), "archived");
        assert_eq!(redis.zset(queue, "archived").await.len(), 1);
    }
}
