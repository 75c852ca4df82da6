//! What is due later: scheduled, to be tried again, kept until then.

use crate::fixture::{Redis, check, eventually, quick, take, task};
use lapwing_queue::{
    Enqueued, Queue, Source,
    asynq::message::{Headers, TaskMessage},
};
use prost::Message;
use redis::AsyncCommands;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

fn headers() -> Headers {
    Headers {
        headers: [("trace".to_owned(), "abc".to_owned())].into(),
    }
}

/// Puts a task where a stock client or worker puts one that is due later.
async fn put_off(redis: &mut Redis, message: &TaskMessage, state: &str, due: i64) {
    let key = format!("asynq:{{{}}}:t:{}", message.queue, message.id);
    let fields = [("msg", message.encode_to_vec()), ("state", state.into())];
    let () = redis.connection.hset_multiple(key, &fields).await.unwrap();
    let later = format!("asynq:{{{}}}:{state}", message.queue);
    let () = redis.connection.zadd(later, &message.id, due).await.unwrap();
}

#[tokio::test]
async fn a_scheduled_check_lies_where_the_stock_client_puts_it() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let delay = Duration::from_secs(100);
    assert_eq!(asynq.schedule(&task("a"), delay).await.unwrap(), Enqueued::Added);
    let now = redis.now().await;
    let (id, due) = redis.zset("healthcheck", "scheduled").await.remove(0);
    assert_eq!((id.as_str(), due.fract()), ("healthcheck:a", 0.0));
    assert!((99.0..=101.0).contains(&(due - now as f64)), "{due}");
    let hash = redis.hash("healthcheck", "healthcheck:a").await;
    let mut fields: Vec<_> = hash.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["msg", "state", "unique_key"]);
    assert_eq!(hash["state"], b"scheduled");
    let lock = redis.message("healthcheck", "healthcheck:a").await.unique_key;
    let ttl: i64 = redis.run(&format!("TTL {lock}")).await;
    assert!((139..=140).contains(&ttl), "from the due time on: {ttl}");
}

#[tokio::test]
async fn a_failed_try_waits_as_asynq_has_it_wait_and_loses_no_field() {
    let mut redis = Redis::start().await;
    let mut options = quick();
    options.timing.retry = 1.0;
    let asynq = redis.asynq(options).await;
    let message = TaskMessage {
        retry: 5,
        retried: 1,
        unique_key: "asynq:{healthcheck}:unique:x".into(),
        ..check("healthcheck", "a")
    };
    let () = redis.run("SET asynq:{healthcheck}:unique:x healthcheck:a").await;
    redis.push(&message, &headers().encode_to_vec()).await;
    let lease = take(&*asynq, 1).await.remove(0);
    assert_eq!(lease.task().attempt, 2);
    lease.retry("plugin host is away").await.unwrap();

    let now = redis.now().await;
    let (_, due) = redis.zset("healthcheck", "retry").await.remove(0);
    assert!(
        (15.0..=75.0).contains(&(due - now as f64)),
        "1 + 15 + 0..29 * 2: {due}"
    );
    let hash = redis.hash("healthcheck", "healthcheck:a").await;
    let mut fields: Vec<_> = hash.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["msg", "state"], "nothing of ours stays");
    assert_eq!(hash["state"], b"retry");
    assert_eq!(Headers::decode(&*hash["msg"]).unwrap(), headers());
    let failed = TaskMessage::decode(&*hash["msg"]).unwrap();
    assert!((failed.last_failed_at - now).abs() < 5);
    let expected = TaskMessage {
        retried: 2,
        error_msg: "plugin host is away".into(),
        last_failed_at: failed.last_failed_at,
        ..message
    };
    assert_eq!(failed, expected);
    for counter in ["processed", "failed"] {
        let count: i64 = redis.run(&format!("GET asynq:{{healthcheck}}:{counter}")).await;
        assert_eq!(count, 1);
    }
    let lock: i64 = redis.run("EXISTS asynq:{healthcheck}:unique:x").await;
    assert_eq!(lock, 1, "the lock is kept");
}

#[tokio::test]
async fn whatever_became_due_is_pending_again_the_earliest_first() {
    let mut redis = Redis::start().await;
    let now = redis.now().await;
    put_off(&mut redis, &check("low", "second"), "scheduled", now - 5).await;
    put_off(&mut redis, &check("low", "first"), "scheduled", now - 50).await;
    put_off(&mut redis, &check("default", "again"), "retry", now - 5).await;
    put_off(&mut redis, &check("low", "later"), "scheduled", now + 600).await;
    // An id whose task is gone.
    let () = redis.run("ZADD asynq:{low}:retry 1 ghost").await;
    let asynq = redis.asynq(quick()).await;
    let leases = take(&*asynq, 3).await;
    let mut order: Vec<_> = leases
        .iter()
        .map(|lease| lease.task().monitor.id.as_str())
        .collect();
    order.retain(|monitor| *monitor != "again");
    assert_eq!(order, ["first", "second"]);
    assert_eq!(redis.zset("low", "scheduled").await.len(), 1);
    for queue in ["low", "default"] {
        assert!(redis.zset(queue, "retry").await.is_empty());
    }
    assert!(redis.hash("low", "ghost").await.is_empty());
}

#[tokio::test]
async fn more_than_lua_can_unpack_may_fall_due_at_once() {
    let mut redis = Redis::start().await;
    let now = redis.now().await;
    let mut pipe = redis::pipe();
    for number in 0..9000 {
        let message = check("low", &number.to_string());
        let key = format!("asynq:{{low}}:t:{}", message.id);
        pipe.hset_multiple(
            key,
            &[("msg", message.encode_to_vec()), ("state", b"scheduled".to_vec())],
        )
        .ignore();
        pipe.zadd("asynq:{low}:scheduled", &message.id, now - 1).ignore();
    }
    let () = pipe.query_async(&mut redis.connection).await.unwrap();
    let () = redis.run("SET asynq:{low}:paused 1").await;
    let asynq = redis.asynq(quick()).await;
    asynq.reserve(crate::fixture::room(1)).await.unwrap();
    eventually(LIMIT, "all are pending", async || {
        redis.list("low", "pending").await.len() == 9000
    })
    .await;
    assert!(redis.zset("low", "scheduled").await.is_empty());
}

#[tokio::test]
async fn groups_are_left_to_stock_workers() {
    let mut redis = Redis::start().await;
    let now = redis.now().await;
    let grouped = TaskMessage {
        group_key: "g".into(),
        ..check("low", "grouped")
    };
    put_off(&mut redis, &grouped, "retry", now - 5).await;
    let () = redis.run("HSET asynq:{low}:t:healthcheck:grouped group g").await;
    let () = redis.run("SADD asynq:{low}:groups g").await;
    let () = redis.run("ZADD asynq:{low}:g:g 1 waiting").await;
    let () = redis
        .run("HSET asynq:{low}:t:waiting msg x state aggregating group g")
        .await;
    let () = redis.run("ZADD asynq:{low}:g:g:set 1 taken").await;
    let () = redis
        .run("ZADD asynq:{low}:aggregation_sets 1 asynq:{low}:g:g:set")
        .await;
    let asynq = redis.asynq(quick()).await;
    asynq.reserve(crate::fixture::room(1)).await.unwrap();
    eventually(LIMIT, "the task is in its group", async || {
        redis.state("low", "healthcheck:grouped").await.as_deref() == Some("aggregating")
    })
    .await;
    assert!(asynq.reserve(crate::fixture::room(1)).await.unwrap().is_empty());
    let group: Vec<String> = redis.run("ZRANGE asynq:{low}:g:g 0 -1").await;
    assert_eq!(group, ["waiting", "healthcheck:grouped"]);
    assert!(redis.zset("low", "retry").await.is_empty());
    let left: Vec<String> = redis.run("ZRANGE asynq:{low}:g:g:set 0 -1").await;
    let sets: Vec<String> = redis.run("ZRANGE asynq:{low}:aggregation_sets 0 -1").await;
    assert_eq!((left.len(), sets.len()), (1, 1));
    assert_eq!(redis.state("low", "waiting").await.unwrap(), "aggregating");
}

#[tokio::test]
async fn what_was_kept_long_enough_is_deleted() {
    let mut redis = Redis::start().await;
    let now = redis.now().await;
    for (monitor, until) in [("past", now - 1), ("kept", now + 600)] {
        put_off(&mut redis, &check("low", monitor), "completed", until).await;
    }
    // Enqueued anew by someone while it was still listed.
    redis.push(&check("low", "again"), &[]).await;
    let () = redis.run("SET asynq:{low}:paused 1").await;
    let () = redis.run("ZADD asynq:{low}:completed 1 healthcheck:again").await;
    let asynq = redis.asynq(quick()).await;
    asynq.reserve(crate::fixture::room(1)).await.unwrap();
    eventually(LIMIT, "one is left", async || {
        redis.zset("low", "completed").await.len() == 1
    })
    .await;
    assert!(redis.hash("low", "healthcheck:past").await.is_empty());
    assert_eq!(redis.state("low", "healthcheck:kept").await.unwrap(), "completed");
    assert_eq!(redis.state("low", "healthcheck:again").await.unwrap(), "pending");
}

#[tokio::test]
async fn a_completed_task_keeps_its_headers_and_is_replaced_by_the_next_one() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let message = TaskMessage {
        retention: 60,
        ..check("healthcheck", "a")
    };
    redis.push(&message, &headers().encode_to_vec()).await;
    take(&*asynq, 1).await.remove(0).ack().await.unwrap();
    let hash = redis.hash("healthcheck", "healthcheck:a").await;
    assert_eq!(Headers::decode(&*hash["msg"]).unwrap(), headers());
    assert_eq!(asynq.enqueue(&task("a")).await.unwrap(), Enqueued::Added);
    assert!(redis.zset("healthcheck", "completed").await.is_empty());
}
