//! `lapwing worker` as a drop-in: stock messages in, stock messages out.

use crate::support::{
    asynq::{self, TaskMessage, enqueue_check, ingested, ingested_count, leftovers, payload},
    eventually, plugins,
    process::{Daemon, lapwing},
    targets,
};
use lapwing_queue::testing::RedisServer;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use std::{collections::HashMap, process::Command, time::Duration};

/// A worker on `redis`, with the variables of Peekaping's worker.
pub(crate) fn worker(redis: &RedisServer) -> Daemon {
    Daemon::start(worker_command(redis))
}

pub(crate) fn worker_command(redis: &RedisServer) -> Command {
    let mut command = lapwing();
    command.arg("worker").arg("--plugins").arg(plugins()).envs([
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &redis.port().to_string()),
        ("QUEUE_CONCURRENCY", "128"),
        ("LOG_LEVEL", "info"),
        ("MODE", "dev"),
        ("TZ", "UTC"),
    ]);
    command
}

pub(crate) async fn connect(redis: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    // The machine may be busy with other tests: the client's own half second is for servers that are idle.
    let patient = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(20)))
        .set_response_timeout(Some(Duration::from_secs(20)));
    let connection = client
        .get_multiplexed_async_connection_with_config(&patient)
        .await;
    connection.unwrap()
}

/// Waits until `count` results are there.
pub(crate) async fn results(
    redis: &mut MultiplexedConnection,
    count: usize,
    limit: Duration,
) -> Vec<(TaskMessage, Value)> {
    eventually(&format!("{count} results"), limit, async || {
        ingested_count(redis).await >= count
    })
    .await;
    ingested(redis).await
}

/// The envelope is as Peekaping's ingester expects it.
fn is_stock(envelope: &TaskMessage, result: &Value) {
    let monitor = result["monitor_id"].as_str().unwrap();
    assert_eq!(
        (envelope.r#type.as_str(), envelope.queue.as_str()),
        ("monitor:ingest", "ingester")
    );
    assert_eq!(
        (
            envelope.retry,
            envelope.timeout,
            envelope.retention,
            envelope.deadline
        ),
        (3, 120, 3600, 0)
    );
    let started: jiff::Timestamp = result["start_time"].as_str().unwrap().parse().unwrap();
    let ended: jiff::Timestamp = result["end_time"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        envelope.id,
        format!("ingest:{monitor}:{}", started.as_nanosecond())
    );
    let lock = &envelope.unique_key;
    assert!(
        lock.starts_with("asynq:{ingester}:unique:monitor:ingest:"),
        "{lock}"
    );
    assert!(started <= ended);
}

/// What the task said of its monitor is in the result.
fn echoes(sent: &Value, result: &Value) {
    for (there, here) in [
        ("monitor_name", "monitor_name"),
        ("monitor_type", "monitor_type"),
        ("monitor_interval", "interval"),
        ("monitor_timeout", "timeout"),
        ("monitor_max_retries", "max_retries"),
        ("monitor_retry_interval", "retry_interval"),
        ("monitor_resend_interval", "resend_interval"),
        ("monitor_config", "config"),
        ("is_under_maintenance", "is_under_maintenance"),
        ("check_cert_expiry", "check_cert_expiry"),
    ] {
        assert_eq!(result[there], sent[here], "{there} in {result}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_of_four_kinds_become_a_thousand_results() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let (http, smtp, closed) = (
        targets::http().await,
        targets::smtp().await,
        targets::closed().await,
    );
    let url = |path: &str| format!("http://{http}{path}");
    // Each: kind, config, status on the wire, message.
    let cases = [
        (
            "http",
            json!({"url": url("/ok"), "method": "GET", "accepted_statuscodes": ["2XX"]}),
            1,
            "200 - 200 OK",
        ),
        (
            "http",
            json!({"url": url("/broken"), "accepted_statuscodes": ["2XX"]}),
            0,
            "HTTP request failed with status: 503",
        ),
        (
            "http-json-query",
            json!({"url": url("/status"), "json_query": "load", "json_condition": ">", "expected_value": "9"}),
            0,
            "JSON query validation failed: query 'load' with condition '>' and expected value '9'",
        ),
        (
            "tcp",
            json!({"host": "127.0.0.1", "port": http.port()}),
            1,
            &format!("TCP port {} is open", http.port()),
        ),
        (
            "tcp",
            json!({"host": "127.0.0.1", "port": closed.port()}),
            0,
            "TCP connection failed: ",
        ),
        (
            "smtp",
            json!({"host": "127.0.0.1", "port": smtp.port()}),
            1,
            "220",
        ),
    ];
    let mut expected = HashMap::new();
    for index in 0..1000 {
        let (kind, config, status, message) = &cases[index % cases.len()];
        let payload = payload(&format!("monitor-{index}"), kind, config);
        enqueue_check(&mut connection, &payload).await;
        expected.insert(format!("monitor-{index}"), (payload, *status, *message));
    }
    let worker = worker(&redis);
    let results = results(&mut connection, 1000, Duration::from_secs(60)).await;
    assert_eq!(results.len(), 1000);
    for (envelope, result) in &results {
        let monitor = result["monitor_id"].as_str().unwrap();
        let (sent, status, message) = expected.remove(monitor).expect("one result for each monitor");
        is_stock(envelope, result);
        echoes(&sent, result);
        // What was seen.
        assert_eq!(result["status"], status, "{monitor}: {result}");
        assert!(result["message"].as_str().unwrap().contains(message), "{result}");
        assert!(
            result["ping_ms"].as_u64().is_some_and(|ping| ping < 16_000),
            "{result}"
        );
        assert!(result.get("tls_info").is_none(), "{result}");
    }
    assert!(expected.is_empty());
    eventually("nothing left", Duration::from_secs(5), async || {
        leftovers(&mut connection, "healthcheck").await.is_empty()
    })
    .await;
    let (code, health) = worker.get("/api/v1/health").await;
    assert_eq!((code, &health["status"]), (200, &json!("ok")));
    let metrics = reqwest::get(format!("{}/metrics", worker.admin))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let count = |line: &str| {
        metrics
            .lines()
            .find_map(|l| l.strip_prefix(line)?.trim().parse::<f64>().ok())
    };
    assert_eq!(
        count(r#"lapwing_checks_total{kind="smtp",status="up",reason=""}"#),
        Some(166.0),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_check_can_run_is_told_and_never_silences_its_monitor() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let http = targets::http().await;
    let _worker = worker(&redis);

    let mut maintained = payload(
        "maintained",
        "http",
        &json!({"url": format!("http://{http}/broken")}),
    );
    maintained["is_under_maintenance"] = json!(true);
    let mut stale = payload("stale", "tcp", &json!({"host": "127.0.0.1", "port": 1}));
    stale["scheduled_at"] = json!("2020-01-01T00:00:00Z");
    enqueue_check(&mut connection, &stale).await;
    enqueue_check(&mut connection, &maintained).await;
    enqueue_check(&mut connection, &payload("unknown", "websockets", &json!({}))).await;
    enqueue_check(
        &mut connection,
        &payload("unfit", "tcp", &json!({"host": "h", "port": 1, "foo": 2})),
    )
    .await;
    enqueue_check(
        &mut connection,
        &payload("denied", "tcp", &json!({"host": "169.254.169.254", "port": 80})),
    )
    .await;
    asynq::enqueue(
        &mut connection,
        "default",
        "monitor:healthcheck",
        "garbage",
        b"no json",
    )
    .await;
    asynq::enqueue(&mut connection, "low", "email:send", "stranger", b"{}").await;

    let results = results(&mut connection, 4, Duration::from_secs(20)).await;
    let seen = |monitor: &str| {
        let (_, result) = results
            .iter()
            .find(|(_, result)| result["monitor_id"] == monitor)
            .expect(monitor);
        (
            result["status"].as_i64().unwrap(),
            result["message"].as_str().unwrap().to_owned(),
            result.clone(),
        )
    };
    let (status, message, result) = seen("maintained");
    assert_eq!(
        (status, message.as_str(), &result["is_under_maintenance"]),
        (3, "Monitor under maintenance", &json!(true))
    );
    assert_eq!(result["ping_ms"], 0);
    let (status, message, _) = seen("unknown");
    assert_eq!(status, 0);
    assert!(message.contains("unknown monitor type `websockets`"), "{message}");
    let (status, message, _) = seen("unfit");
    assert_eq!(status, 0);
    assert!(message.contains("foo"), "{message}");
    let (status, message, _) = seen("denied");
    assert_eq!(status, 0);
    assert!(message.contains("169.254"), "{message}");

    eventually("all settled", Duration::from_secs(5), async || {
        leftovers(&mut connection, "healthcheck").await.is_empty()
    })
    .await;
    assert_eq!(
        ingested_count(&mut connection).await,
        4,
        "a stale task gives no result"
    );
    for (queue, id, text) in [
        ("default", "garbage", "failed to unmarshal payload: "),
        ("low", "stranger", "handler not found for task \"email:send\""),
    ] {
        let message: Vec<u8> = redis::cmd("HGET")
            .arg(format!("asynq:{{{queue}}}:t:{id}"))
            .arg("msg")
            .query_async(&mut connection)
            .await
            .unwrap();
        let message: TaskMessage = prost::Message::decode(message.as_slice()).unwrap();
        assert!(message.error_msg.starts_with(text), "{}", message.error_msg);
        assert_eq!(
            leftovers(&mut connection, queue).await,
            [("archived".to_owned(), 1), ("tasks".to_owned(), 1)]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_uses_its_whole_time_is_down_and_its_task_is_done() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let silent = targets::silent().await;
    let _worker = worker(&redis);
    let mut hanging = payload("hanging", "http", &json!({"url": format!("http://{silent}/")}));
    hanging["timeout"] = json!(1);
    enqueue_check(&mut connection, &hanging).await;
    let results = results(&mut connection, 1, Duration::from_secs(10)).await;
    assert_eq!(results[0].1["status"], 0, "{}", results[0].1);
    assert!(
        results[0].1["ping_ms"]
            .as_u64()
            .is_some_and(|ping| (900..=1050).contains(&ping)),
        "{}",
        results[0].1
    );
    eventually("task done, not archived", Duration::from_secs(5), async || {
        leftovers(&mut connection, "healthcheck").await.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_checks_end_and_gives_the_rest_back() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let http = targets::http().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lapwing.toml");
    std::fs::write(&file, "[worker]\ngrace = \"2s\"\n").unwrap();
    let mut command = lapwing();
    command
        .arg("worker")
        .arg("--config")
        .arg(&file)
        .env("REDIS_URL", redis.url());
    let mut worker = Daemon::start(command);
    let slow = |id: &str, ms: u32| payload(id, "http", &json!({"url": format!("http://{http}/slow/{ms}")}));
    enqueue_check(&mut connection, &slow("soon", 1_000)).await;
    enqueue_check(&mut connection, &slow("late", 14_000)).await;
    eventually("both run", Duration::from_secs(10), async || {
        redis::cmd("LLEN")
            .arg("asynq:{healthcheck}:active")
            .query_async(&mut connection)
            .await
            .unwrap_or(0)
            == 2
    })
    .await;
    worker.signal("TERM");
    assert!(worker.wait(Duration::from_secs(8)).success(), "{}", worker.log());
    let results = ingested(&mut connection).await;
    assert_eq!(
        results
            .iter()
            .map(|(_, result)| result["monitor_id"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["soon"]
    );
    let left = leftovers(&mut connection, "healthcheck").await;
    assert_eq!(
        left,
        [("pending".to_owned(), 1), ("tasks".to_owned(), 1)],
        "`late` is back on the queue"
    );
    let servers: usize = redis::cmd("ZCARD")
        .arg("asynq:servers")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(servers, 0, "the worker has left the presence list");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_started_before_redis_waits_for_it() {
    let mut redis = RedisServer::start();
    redis.stop();
    let worker = worker(&redis);
    eventually("it says what it waits for", Duration::from_secs(10), async || {
        worker.log().contains("cannot use Redis at 127.0.0.1")
    })
    .await;
    redis.restart();
    let mut connection = connect(&redis).await;
    let closed = targets::closed().await;
    let task = payload("m", "tcp", &json!({"host": "127.0.0.1", "port": closed.port()}));
    enqueue_check(&mut connection, &task).await;
    results(&mut connection, 1, Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_a_boundless_timeout_is_no_poison() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let closed = targets::closed().await;
    let worker = worker(&redis);
    let mut task = payload("m", "tcp", &json!({"host": "127.0.0.1", "port": closed.port()}));
    task["timeout"] = json!(i64::MAX);
    task["interval"] = json!(i64::MAX);
    enqueue_check(&mut connection, &task).await;
    let results = results(&mut connection, 1, Duration::from_secs(10)).await;
    assert!(
        results[0].1["message"].as_str().unwrap().contains("refused"),
        "{}",
        results[0].1
    );
    assert!(!worker.log().contains("panicked"), "{}", worker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stood_still_blames_nobody_else() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let http = targets::http().await;
    let worker = worker(&redis);
    let mut task = payload("m", "http", &json!({"url": format!("http://{http}/slow/1500")}));
    task["timeout"] = json!(2);
    enqueue_check(&mut connection, &task).await;
    eventually("it runs", Duration::from_secs(10), async || {
        redis::cmd("LLEN")
            .arg("asynq:{healthcheck}:active")
            .query_async(&mut connection)
            .await
            .unwrap_or(0)
            == 1
    })
    .await;
    worker.signal("STOP");
    // The answer comes, and the deadline passes, while nobody looks.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    worker.signal("CONT");
    let results = results(&mut connection, 1, Duration::from_secs(10)).await;
    let (status, message) = (&results[0].1["status"], &results[0].1["message"]);
    assert!(
        status == 1 || (status == 2 && message.as_str().unwrap().contains("stalled")),
        "{}",
        results[0].1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_of_the_api_does_not_keep_the_worker_from_stopping() {
    let redis = RedisServer::start();
    let mut worker = worker(&redis);
    let address = worker.admin.trim_start_matches("http://").to_owned();
    let mut clients = Vec::new();
    for head in [
        "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n",
        "POST /api/v1/checks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{",
    ] {
        let mut client = tokio::net::TcpStream::connect(&address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut client, head.as_bytes())
            .await
            .unwrap();
        clients.push(client);
    }
    worker.signal("TERM");
    assert!(worker.wait(Duration::from_secs(6)).success(), "{}", worker.log());
}
