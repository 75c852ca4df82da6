//! The example plugins, built by `just build-plugins`, against a real Redis and the two HTTP APIs they read.

use super::run;
use crate::support::{plugins, targets};
use axum::{Router, extract::Query, http::StatusCode, response::IntoResponse, routing::get};
use lapwing_queue::testing::RedisServer;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, net::SocketAddr};
use tokio::net::TcpListener;

/// A status page with trouble in one part, and a Prometheus that knows three queries.
async fn apis() -> SocketAddr {
    let status =
        async || axum::Json(json!({"status": {"indicator": "minor", "description": "Minor trouble"}}));
    let components = async || {
        axum::Json(json!({"components": [
            {"name": "API", "status": "operational"},
            {"name": "Git", "status": "major_outage"},
        ]}))
    };
    let query = async |Query(asked): Query<BTreeMap<String, String>>| {
        let vector = |values: &[&str]| {
            let series = values
                .iter()
                .map(|value| json!({"metric": {"__name__": "load1"}, "value": [1.5, value]}));
            json!({"status": "success", "data": {"resultType": "vector", "result": series.collect::<Vec<_>>()}})
        };
        match asked["query"].as_str() {
            r#"load1{job="node"}"# => axum::Json(vector(&["0.5", "7.25"])).into_response(),
            "absent" => axum::Json(vector(&[])).into_response(),
            wrong => {
                let error = json!({"status": "error", "errorType": "bad_data", "error": format!("parse error in {wrong}")});
                (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
            }
        }
    };
    let app = Router::new()
        .route("/api/v2/status.json", get(status))
        .route("/api/v2/components.json", get(components))
        .route("/api/v1/query", get(query));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Status and reason of each monitor, checked once.
fn check(monitors: &Value) -> BTreeMap<String, (String, String, String)> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("monitors.yaml"),
        json!({ "monitors": monitors }).to_string(),
    )
    .unwrap();
    let script = format!(
        "lapwing run --config monitors.yaml --once --json --listen 127.0.0.1:0 --plugins {} || true",
        plugins().join("examples").canonicalize().unwrap().display()
    );
    let said = run(&script, folder.path());
    let out = String::from_utf8_lossy(&said.stdout);
    let results = out
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let seen: BTreeMap<_, _> = results
        .map(|result| {
            let verdict = (
                text(&result["status"]),
                text(&result["reason"]),
                text(&result["message"]),
            );
            (text(&result["monitor_name"]), verdict)
        })
        .collect();
    let asked = monitors.as_array().unwrap().len();
    assert_eq!(
        seen.len(),
        asked,
        "{out}\n{}",
        String::from_utf8_lossy(&said.stderr)
    );
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_tell_what_their_targets_do() {
    let (apis, closed, silent) = (apis().await, targets::closed().await, targets::http().await);
    let (open, guarded) = (
        RedisServer::start(),
        RedisServer::start_with(&["--requirepass", "s3cret \"word\" ü"]),
    );
    let url = format!("http://{apis}");
    let monitor = |name: &str, kind: &str, config: Value| json!({"name": name, "kind": kind, "interval": "60s", "timeout": "20s", "config": config});
    let redis = |port: u16, more: Value| {
        let mut config = json!({"host": "127.0.0.1", "port": port});
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        config
    };
    let prometheus = |query: &str, more: Value| {
        let mut config = json!({"url": url, "query": query});
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        config
    };
    let page = |name: &str, config: Value| monitor(name, "statuspage", config);
    let node = r#"load1{job="node"}"#;
    let cases = [
        (
            page("page", json!({"url": url})),
            "degraded",
            "statuspage_trouble",
        ),
        (page("API", json!({"url": url, "component": "API"})), "up", ""),
        (
            page("Git", json!({"url": url, "component": "Git"})),
            "down",
            "statuspage_outage",
        ),
        (
            page("no part", json!({"url": url, "component": "Gti"})),
            "unknown",
            "invalid_config",
        ),
        (
            page("no page", json!({"url": format!("http://{closed}")})),
            "down",
            "connection_refused",
        ),
        (
            page("other page", json!({"url": format!("http://{silent}")})),
            "down",
            "http_status",
        ),
        (
            monitor(
                "calm",
                "prometheus-query",
                prometheus(node, json!({"warning": 8, "critical": 9})),
            ),
            "up",
            "",
        ),
        (
            monitor(
                "warm",
                "prometheus-query",
                prometheus(node, json!({"warning": 4, "critical": 9})),
            ),
            "degraded",
            "prometheus_threshold",
        ),
        (
            monitor(
                "hot",
                "prometheus-query",
                prometheus(node, json!({"warning": 4, "critical": 7})),
            ),
            "down",
            "prometheus_threshold",
        ),
        (
            monitor(
                "nothing",
                "prometheus-query",
                prometheus("absent", json!({"critical": 1})),
            ),
            "down",
            "prometheus_no_data",
        ),
        (
            monitor(
                "no query",
                "prometheus-query",
                prometheus("((", json!({"critical": 1})),
            ),
            "unknown",
            "invalid_config",
        ),
        (
            monitor("no threshold", "prometheus-query", prometheus("x", json!({}))),
            "unknown",
            "invalid_config",
        ),
        (
            monitor(
                "redis",
                "redis-ping",
                redis(open.port(), json!({"role": "master"})),
            ),
            "up",
            "",
        ),
        (
            monitor(
                "replica",
                "redis-ping",
                redis(open.port(), json!({"role": "slave"})),
            ),
            "down",
            "redis_role",
        ),
        (
            monitor("locked", "redis-ping", redis(guarded.port(), json!({}))),
            "down",
            "auth_failed",
        ),
        (
            monitor(
                "wrong key",
                "redis-ping",
                redis(guarded.port(), json!({"password": "x"})),
            ),
            "down",
            "auth_failed",
        ),
        (
            monitor(
                "right key",
                "redis-ping",
                redis(guarded.port(), json!({"password": "s3cret \"word\" ü"})),
            ),
            "up",
            "",
        ),
        (
            monitor(
                "named",
                "redis-ping",
                redis(
                    guarded.port(),
                    json!({"username": "default", "password": "s3cret \"word\" ü"}),
                ),
            ),
            "up",
            "",
        ),
        (
            monitor("no redis", "redis-ping", redis(closed.port(), json!({}))),
            "down",
            "connection_refused",
        ),
        (
            monitor("web server", "redis-ping", redis(silent.port(), json!({}))),
            "down",
            "protocol_error",
        ),
    ];
    let monitors: Vec<_> = cases.iter().map(|(monitor, ..)| monitor.clone()).collect();
    let seen = check(&json!(monitors));
    for (monitor, status, reason) in cases {
        let (said, why, message) = &seen[monitor["name"].as_str().unwrap()];
        assert_eq!(
            (said.as_str(), why.as_str()),
            (status, reason),
            "{}: {message}",
            monitor["name"]
        );
        assert!(!message.contains("s3cret"), "{message}");
    }
    assert_eq!(seen["hot"].2, "load1 = 7.25 (> 7)");
    assert_eq!(seen["redis"].2, "PONG from a master");
}
