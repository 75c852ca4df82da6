//! Asynq as a stock client sees it: its own protobuf, its own keys, written here a second time on purpose, so that the
//! worker is not held against itself.

use prost::Message;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

/// `asynq.TaskMessage`, as Asynq 0.25.1 has it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TaskMessage {
    #[prost(string, tag = "1")]
    pub r#type: String,
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(string, tag = "4")]
    pub queue: String,
    #[prost(int32, tag = "5")]
    pub retry: i32,
    #[prost(int32, tag = "6")]
    pub retried: i32,
    #[prost(string, tag = "7")]
    pub error_msg: String,
    #[prost(int64, tag = "8")]
    pub timeout: i64,
    #[prost(int64, tag = "9")]
    pub deadline: i64,
    #[prost(string, tag = "10")]
    pub unique_key: String,
    #[prost(int64, tag = "11")]
    pub last_failed_at: i64,
    #[prost(int64, tag = "12")]
    pub retention: i64,
    #[prost(int64, tag = "13")]
    pub completed_at: i64,
}

/// A `monitor:healthcheck` payload as Peekaping's producer writes it.
pub(crate) fn payload(id: &str, kind: &str, config: &Value) -> Value {
    json!({
        "monitor_id": id, "monitor_name": format!("name of {id}"), "monitor_type": kind,
        "interval": 600, "timeout": 16, "max_retries": 3, "retry_interval": 60, "resend_interval": 10,
        "config": config.to_string(), "scheduled_at": now(), "is_under_maintenance": false, "check_cert_expiry": false,
    })
}

/// The present, as the producer spells it.
pub(crate) fn now() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    jiff::Timestamp::from_millisecond(i64::try_from(now.as_millis()).expect("fits"))
        .expect("in range")
        .to_string()
}

/// Puts a task on `queue`, with the writes of Asynq's enqueue script.
pub(crate) async fn enqueue(
    redis: &mut MultiplexedConnection,
    queue: &str,
    r#type: &str,
    id: &str,
    payload: &[u8],
) {
    let message = TaskMessage {
        r#type: r#type.into(),
        payload: payload.into(),
        id: id.into(),
        queue: queue.into(),
        timeout: 16,
        ..TaskMessage::default()
    };
    let since = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_nanos()
        .to_string();
    let fields: [(&str, &[u8]); 3] = [
        ("msg", &message.encode_to_vec()),
        ("state", b"pending"),
        ("pending_since", since.as_bytes()),
    ];
    redis::pipe()
        .atomic()
        .sadd("asynq:queues", queue)
        .hset_multiple(format!("asynq:{{{queue}}}:t:{id}"), &fields)
        .lpush(format!("asynq:{{{queue}}}:pending"), id)
        .exec_async(redis)
        .await
        .expect("Redis takes the task");
}

/// A check task of a monitor.
pub(crate) async fn enqueue_check(redis: &mut MultiplexedConnection, payload: &Value) {
    let id = format!("healthcheck:{}", payload["monitor_id"].as_str().expect("an id"));
    enqueue(
        redis,
        "healthcheck",
        "monitor:healthcheck",
        &id,
        payload.to_string().as_bytes(),
    )
    .await;
}

/// Every message on the ingester's queue, as (envelope, payload).
pub(crate) async fn ingested(redis: &mut MultiplexedConnection) -> Vec<(TaskMessage, Value)> {
    let ids: Vec<String> = redis::cmd("LRANGE")
        .arg(&["asynq:{ingester}:pending", "0", "-1"])
        .query_async(redis)
        .await
        .expect("a list");
    let mut pipe = redis::pipe();
    for id in &ids {
        pipe.hget(format!("asynq:{{ingester}}:t:{id}"), "msg");
    }
    let messages: Vec<Vec<u8>> = if ids.is_empty() {
        vec![]
    } else {
        pipe.query_async(redis).await.expect("messages")
    };
    let decode = |bytes: Vec<u8>| {
        let message = TaskMessage::decode(bytes.as_slice()).expect("a TaskMessage");
        let payload = serde_json::from_slice(&message.payload).expect("JSON");
        (message, payload)
    };
    messages.into_iter().map(decode).collect()
}

/// How many results there are.
pub(crate) async fn ingested_count(redis: &mut MultiplexedConnection) -> usize {
    redis::cmd("LLEN")
        .arg("asynq:{ingester}:pending")
        .query_async(redis)
        .await
        .expect("a length")
}

/// Keys of `queue` that hold a task in any state, as (key, entries).
pub(crate) async fn leftovers(redis: &mut MultiplexedConnection, queue: &str) -> Vec<(String, usize)> {
    let mut left = Vec::new();
    for (name, length) in [
        ("pending", "LLEN"),
        ("active", "LLEN"),
        ("lease", "ZCARD"),
        ("archived", "ZCARD"),
        ("retry", "ZCARD"),
    ] {
        let count: usize = redis::cmd(length)
            .arg(format!("asynq:{{{queue}}}:{name}"))
            .query_async(redis)
            .await
            .expect("a length");
        if count > 0 {
            left.push((name.to_owned(), count));
        }
    }
    let hashes: Vec<String> = redis::cmd("KEYS")
        .arg(format!("asynq:{{{queue}}}:t:*"))
        .query_async(redis)
        .await
        .expect("keys");
    if !hashes.is_empty() {
        left.push(("tasks".to_owned(), hashes.len()));
    }
    left
}
