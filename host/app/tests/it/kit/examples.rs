//! The example plugins, built by `just build-plugins`, against a real Redis and the two HTTP APIs they read.

use super::{repository, run};
use crate::support::{plugins, process::say, targets};
use axum::{
    Json, Router,
    extract::Query,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::get,
};
use lapwing_queue::testing::RedisServer;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, future::IntoFuture, net::SocketAddr};
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
    let results = serde_json::from_str::<Vec<Value>>(&out)
        .unwrap_or_default()
        .into_iter();
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

/// A monitor, and the status and reason it must come to.
struct Case(Value, &'static str, &'static str);

fn case(kind: &str, name: &str, config: &Value, verdict: (&'static str, &'static str)) -> Case {
    let monitor = json!({"name": name, "kind": kind, "interval": "60s", "timeout": "20s", "config": config});
    Case(monitor, verdict.0, verdict.1)
}

fn pages(apis: SocketAddr, other: SocketAddr, closed: SocketAddr) -> [Case; 6] {
    let page = |name: &str, url: SocketAddr, component: Option<&str>, verdict| {
        let mut config = json!({"url": format!("http://{url}")});
        if let Some(component) = component {
            config["component"] = component.into();
        }
        case("statuspage", name, &config, verdict)
    };
    [
        page("page", apis, None, ("degraded", "statuspage_trouble")),
        page("API", apis, Some("API"), ("up", "")),
        page("Git", apis, Some("Git"), ("down", "statuspage_outage")),
        page("no part", apis, Some("Gti"), ("unknown", "invalid_config")),
        page("no page", closed, None, ("down", "connection_refused")),
        page("other page", other, None, ("down", "http_status")),
    ]
}

fn queries(apis: SocketAddr) -> [Case; 5] {
    let query = |name: &str, query: &str, warning: Option<i32>, critical: Option<i32>, verdict| {
        let mut config = json!({"url": format!("http://{apis}"), "query": query});
        for (key, threshold) in [("warning", warning), ("critical", critical)] {
            if let Some(threshold) = threshold {
                config[key] = threshold.into();
            }
        }
        case("prometheus-query", name, &config, verdict)
    };
    let node = r#"load1{job="node"}"#;
    let past = "prometheus_threshold";
    [
        query("calm", node, Some(8), Some(9), ("up", "")),
        query("warm", node, Some(4), Some(9), ("degraded", past)),
        query("hot", node, Some(4), Some(7), ("down", past)),
        query("nothing", "absent", None, Some(1), ("down", "prometheus_no_data")),
        query("no query", "((", None, Some(1), ("unknown", "invalid_config")),
    ]
}

const PASSWORD: &str = "s3cret \"word\" ü";

fn servers(open: u16, guarded: u16, closed: u16, other: u16) -> [Case; 8] {
    let server = |name: &str, port: u16, more: &[(&str, &str)], verdict| {
        let mut config = json!({"host": "127.0.0.1", "port": port});
        for (key, value) in more {
            config[key] = (*value).into();
        }
        case("redis-ping", name, &config, verdict)
    };
    let named = [("username", "default"), ("password", PASSWORD)];
    [
        server("redis", open, &[("role", "master")], ("up", "")),
        server("replica", open, &[("role", "slave")], ("down", "redis_role")),
        server("locked", guarded, &[], ("down", "auth_failed")),
        server(
            "wrong key",
            guarded,
            &[("password", "x")],
            ("down", "auth_failed"),
        ),
        server("right key", guarded, &[("password", PASSWORD)], ("up", "")),
        server("named", guarded, &named, ("up", "")),
        server("no redis", closed, &[], ("down", "connection_refused")),
        server("web server", other, &[], ("down", "protocol_error")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_tell_what_their_targets_do() {
    let (apis, closed, other) = (apis().await, targets::closed().await, targets::http().await);
    let open = RedisServer::start();
    let guarded = RedisServer::start_with(&["--requirepass", PASSWORD]);
    let mut cases = Vec::from(pages(apis, other, closed));
    cases.extend(queries(apis));
    cases.extend(servers(open.port(), guarded.port(), closed.port(), other.port()));
    let monitors: Vec<_> = cases.iter().map(|case| case.0.clone()).collect();
    let seen = check(&json!(monitors));
    for Case(monitor, status, reason) in cases {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_names_the_secret_that_it_sends() {
    let answer = |headers: HeaderMap| async move {
        let known = headers
            .get("authorization")
            .is_some_and(|value| value == "Bearer of-team-a");
        let value = if known { "1" } else { "2" };
        Json(json!({ "status": "success", "data": { "resultType": "scalar", "result": [0, value] } }))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    let url = format!("http://{place}/");
    let server = axum::serve(listener, Router::new().fallback(answer));
    tokio::spawn(server.into_future());
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("lapwing.toml");
    fs::write(
        &settings,
        format!(
            "[secrets.team-a]\nvalue = \"Bearer of-team-a\"\nplain = true\nhosts = [\"{place}\"]\n\
             [secrets.team-b]\nvalue = \"Bearer of-team-b\"\nplain = true\nhosts = [\"{place}\"]\n\
             [plugins.grants.prometheus-query]\nsecrets = [\"team-a\"]\n"
        ),
    )
    .unwrap();
    let file = repository().join("plugins/dist/examples/prometheus-query.wasm");
    let seen = |token: &str| {
        let config = json!({ "url": url, "query": "up", "critical": 1, "token": token }).to_string();
        let settings = settings.to_str().unwrap();
        let said = say(&[
            "plugin",
            "test",
            file.to_str().unwrap(),
            "--json",
            "--settings",
            settings,
            "--config",
            &config,
        ]);
        let trial: Value = said.json();
        trial["result"].clone()
    };
    // Without the secret the server gives 2.
    let result = seen("team-a");
    assert_eq!(result["status"], "up", "{result:#}");
    let result = seen("team-b");
    assert_eq!(result["reason"], "denied_by_policy", "{result:#}");
    assert!(
        result["message"]
            .as_str()
            .unwrap()
            .contains("secrets = [\"team-b\"]"),
        "{result:#}"
    );
}

#[test]
fn the_example_in_c_stands_whatever_its_target_sends() {
    let file = repository().join("plugins/dist/examples/redis-ping.wasm");
    let said = say(&["plugin", "conformance", file.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
}
