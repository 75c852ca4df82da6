//! Byte for byte what stock Asynq writes and reads.

use crate::fixture::{Redis, check, quick, result, take, task};
use lapwing_model::peekaping;
use lapwing_queue::{Enqueued, Queue, Sink, asynq::Options, asynq::message::TaskMessage};
use std::{collections::BTreeSet, time::Duration};

/// Made with the real Asynq 0.25.1 client: a message as Peekaping's producer enqueues it.
const GOLDEN: &str = concat!(
    "0a136d6f6e69746f723a6865616c7468636865636b12c7027b226d6f6e69746f725f6964223a2230623763336635652d366630612d346331652d396135352d30",
    "6435623266336337613131222c226d6f6e69746f725f6e616d65223a2270726f6265222c226d6f6e69746f725f74797065223a22746370222c22696e74657276",
    "616c223a32302c2274696d656f7574223a31362c226d61785f72657472696573223a302c2272657472795f696e74657276616c223a32302c22726573656e645f",
    "696e74657276616c223a302c22636f6e666967223a227b5c22686f73745c223a5c223132372e302e302e315c222c5c22706f72745c223a363337397d222c2273",
    "63686564756c65645f6174223a22323032362d30342d31315430383a31353a32302e3132335a222c2269735f756e6465725f6d61696e74656e616e6365223a66",
    "616c73652c22636865636b5f636572745f657870697279223a66616c73657d1a306865616c7468636865636b3a30623763336635652d366630612d346331652d",
    "396135352d306435623266336337613131220b6865616c7468636865636b4010524f6173796e713a7b6865616c7468636865636b7d3a756e697175653a6d6f6e",
    "69746f723a6865616c7468636865636b3a6161336338306238376232633863373234386664333762633861356235616462",
);
const PAYLOAD: &str = r#"{"monitor_id":"0b7c3f5e-6f0a-4c1e-9a55-0d5b2f3c7a11","monitor_name":"probe","monitor_type":"tcp","interval":20,"timeout":16,"max_retries":0,"retry_interval":20,"resend_interval":0,"config":"{\"host\":\"127.0.0.1\",\"port\":6379}","scheduled_at":"2026-04-11T08:15:20.123Z","is_under_maintenance":false,"check_cert_expiry":false}"#;
const ID: &str = "healthcheck:0b7c3f5e-6f0a-4c1e-9a55-0d5b2f3c7a11";
const LOCK: &str = "asynq:{healthcheck}:unique:monitor:healthcheck:aa3c80b87b2c8c7248fd37bc8a5b5adb";

#[tokio::test]
async fn an_enqueued_check_is_byte_for_byte_what_the_stock_client_writes() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(Options::default()).await;
    let golden = peekaping::parse_task(PAYLOAD.as_bytes()).unwrap();
    assert_eq!(asynq.enqueue(&golden).await.unwrap(), Enqueued::Added);

    assert_eq!(
        redis.run::<Vec<String>>("SMEMBERS asynq:queues").await,
        ["healthcheck"]
    );
    assert_eq!(redis.list("healthcheck", "pending").await, [ID]);
    let mut hash = redis.hash("healthcheck", ID).await;
    assert_eq!(hex::encode(hash.remove("msg").unwrap()), GOLDEN);
    assert_eq!(hash.remove("state").unwrap(), b"pending");
    assert_eq!(hash.remove("unique_key").unwrap(), LOCK.as_bytes());
    assert_eq!(hash.remove("pending_since").unwrap().len(), 19, "nanoseconds");
    assert!(hash.is_empty(), "{hash:?}");
    assert_eq!(redis.run::<String>(&format!("GET {LOCK}")).await, ID);
    assert_eq!(redis.run::<i64>(&format!("TTL {LOCK}")).await, 40);
    let keys: BTreeSet<String> = redis.run("KEYS *").await;
    let task = format!("asynq:{{healthcheck}}:t:{ID}");
    assert_eq!(
        keys,
        ["asynq:queues", "asynq:{healthcheck}:pending", LOCK, &task]
            .map(str::to_owned)
            .into()
    );
}

#[tokio::test]
async fn a_conflict_leaves_no_lock_behind() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(Options::default()).await;
    let mut later = task("a");
    later.scheduled_at = Some("2026-04-11T08:15:40Z".parse().unwrap());
    asynq.enqueue(&task("a")).await.unwrap();
    assert_eq!(asynq.enqueue(&later).await.unwrap(), Enqueued::Duplicate);
    assert_eq!(redis.run::<Vec<String>>("KEYS asynq:*unique*").await.len(), 1);
}

#[tokio::test]
async fn a_lock_of_another_task_keeps_the_same_payload_out() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(Options::default()).await;
    let () = redis.run(&format!("SET {LOCK} healthcheck:other")).await;
    let golden = peekaping::parse_task(PAYLOAD.as_bytes()).unwrap();
    assert_eq!(asynq.enqueue(&golden).await.unwrap(), Enqueued::Duplicate);
    let () = redis.run(&format!("SET {LOCK} {ID}")).await;
    assert_eq!(
        asynq.enqueue(&golden).await.unwrap(),
        Enqueued::Added,
        "its own left-over lock does not"
    );
    assert_eq!(redis.run::<i64>(&format!("TTL {LOCK}")).await, 40);
}

#[tokio::test]
async fn a_result_has_the_envelope_of_peekapings_worker() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(Options::default()).await;
    let (task, result) = (task("a"), result(&task("a")));
    asynq.publish(&task, &result).await.unwrap();
    asynq.publish(&task, &result).await.unwrap();

    let id = format!("ingest:a:{}", result.started_at.as_nanosecond());
    assert_eq!(redis.list("ingester", "pending").await, [id.as_str()]);
    let message = redis.message("ingester", &id).await;
    let payload = peekaping::encode_result(&task, &result);
    let lock = message.unique_key.clone();
    assert!(
        lock.starts_with("asynq:{ingester}:unique:monitor:ingest:"),
        "{lock}"
    );
    let expected = TaskMessage {
        kind: "monitor:ingest".to_owned(),
        payload,
        id: id.clone(),
        queue: "ingester".to_owned(),
        retry: 3,
        timeout: 120,
        unique_key: lock.clone(),
        retention: 3600,
        ..TaskMessage::default()
    };
    assert_eq!(message, expected);
    let mut fields: Vec<_> = redis.hash("ingester", &id).await.into_keys().collect();
    fields.sort();
    assert_eq!(fields, ["msg", "pending_since", "state", "unique_key"]);
    assert!(redis.run::<i64>(&format!("PTTL {lock}")).await <= 1000);
    assert!(
        redis
            .run::<Vec<String>>("SMEMBERS asynq:queues")
            .await
            .contains(&"ingester".to_owned())
    );
}

#[tokio::test]
async fn a_result_that_was_taken_in_is_not_published_again() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(Options::default()).await;
    let (task, result) = (task("a"), result(&task("a")));
    asynq.publish(&task, &result).await.unwrap();
    let id = redis.stock_dequeue("ingester", 30).await;
    let () = redis
        .run(&format!("HSET asynq:{{ingester}}:t:{id} state completed"))
        .await;
    asynq.publish(&task, &result).await.unwrap();
    assert!(redis.list("ingester", "pending").await.is_empty());
}

#[tokio::test]
async fn a_done_task_leaves_only_counters_and_its_lock_is_released() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    asynq.enqueue(&task("a")).await.unwrap();
    asynq.enqueue(&task("b")).await.unwrap();
    let () = redis
        .run("SET asynq:{healthcheck}:processed 9223372036854775807")
        .await;
    for lease in take(&*asynq, 2).await {
        lease.ack().await.unwrap();
    }
    assert_eq!(
        redis.run::<i64>("GET asynq:{healthcheck}:processed").await,
        2,
        "starts again at 1 past the end"
    );
    let mut keys: Vec<String> = redis.run("KEYS asynq:{healthcheck}*").await;
    keys.sort();
    assert_eq!(keys.len(), 2, "{keys:?}");
    let day = keys[1]
        .strip_prefix("asynq:{healthcheck}:processed:")
        .unwrap()
        .to_owned();
    let now = jiff::Timestamp::from_second(redis.now().await).unwrap();
    assert!(now.to_string().starts_with(&day), "{day} is today in UTC");
    assert_eq!(redis.run::<i64>(&format!("GET {}", keys[1])).await, 2);
    let expiry: i64 = redis.run(&format!("TTL {}", keys[1])).await;
    assert!((expiry - 90 * 86400).abs() < 10, "{expiry}");
}

#[tokio::test]
async fn a_lock_that_is_not_ours_is_not_released() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    asynq.enqueue(&task("a")).await.unwrap();
    let lock = redis.message("healthcheck", "healthcheck:a").await.unique_key;
    let lease = take(&*asynq, 1).await.remove(0);
    let () = redis.run(&format!("SET {lock} healthcheck:other")).await;
    lease.ack().await.unwrap();
    assert_eq!(
        redis.run::<String>(&format!("GET {lock}")).await,
        "healthcheck:other"
    );
}

#[tokio::test]
async fn a_task_with_retention_stays_as_completed() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let message = TaskMessage {
        retention: 60,
        ..check("low", "a")
    };
    redis.push(&message, &[]).await;
    take(&*asynq, 1).await.remove(0).ack().await.unwrap();
    let now = redis.now().await;
    let (id, expiry) = redis.zset("low", "completed").await.remove(0);
    assert!((expiry - now as f64 - 60.0).abs() < 3.0, "{expiry}");
    let mut hash = redis.hash("low", &id).await;
    assert_eq!(hash.remove("state").unwrap(), b"completed");
    assert!((redis.message("low", &id).await.completed_at - now).abs() < 3);
    assert_eq!(
        hash.into_keys().collect::<Vec<_>>(),
        ["msg"],
        "nothing of ours stays"
    );
}

#[tokio::test]
async fn a_requeued_task_is_as_after_a_stock_shutdown() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    asynq.enqueue(&task("a")).await.unwrap();
    take(&*asynq, 1).await.remove(0).requeue().await.unwrap();
    let hash = redis.hash("healthcheck", "healthcheck:a").await;
    let mut fields: Vec<_> = hash.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["msg", "state", "unique_key"]);
    assert_eq!(hash["state"], b"pending");
    assert!(
        redis
            .run::<Vec<String>>("KEYS asynq:*processed*")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn timeouts_below_a_second_do_not_become_none() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let mut short = task("a");
    short.monitor.timeout = Duration::from_millis(300);
    asynq.enqueue(&short).await.unwrap();
    assert_eq!(redis.message("healthcheck", "healthcheck:a").await.timeout, 1);
    let mut unset = task("b");
    unset.monitor.timeout = Duration::ZERO;
    asynq.enqueue(&unset).await.unwrap();
    assert_eq!(
        redis.message("healthcheck", "healthcheck:b").await.timeout,
        1800,
        "as the stock client does"
    );
}
