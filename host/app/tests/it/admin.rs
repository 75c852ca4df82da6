//! The admin API, over the wire.

use crate::support::{
    eventually, plugins,
    process::{Daemon, lapwing},
    targets,
};
use lapwing_queue::testing::RedisServer;
use serde_json::{Value, json};
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

/// `lapwing run` watching one port, with the plugins of `folder`.
pub(crate) async fn run(folder: &Path, token: Option<&str>) -> (tempfile::TempDir, Daemon) {
    let silent = targets::silent().await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("monitors.toml");
    let monitor = format!(
        "[[monitors]]\nname = \"one\"\nkind = \"tcp\"\ninterval = \"1s\"\n[monitors.config]\nhost = \"127.0.0.1\"\nport = {}\n",
        silent.port()
    );
    fs::write(&file, monitor).unwrap();
    let mut command = lapwing();
    command
        .arg("run")
        .arg("--config")
        .arg(&file)
        .arg("--plugins")
        .arg(folder);
    if let Some(token) = token {
        command.env("LAPWING_ADMIN_TOKEN", token);
    }
    (files, Daemon::start(command))
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_plugins_and_checks_are_served() {
    let (_files, daemon) = run(&plugins(), None).await;
    let (code, health) = daemon.get("/api/v1/health").await;
    assert_eq!((code, &health["status"]), (200, &json!("ok")));

    let (code, executors) = daemon.get("/api/v1/executors").await;
    assert_eq!(code, 200);
    let smtp = executors["executors"]
        .as_array()
        .unwrap()
        .iter()
        .find(|info| info["kind"] == "smtp")
        .unwrap();
    assert_eq!(
        (
            &smtp["origin"],
            smtp["schema"]["properties"]["host"]["type"].as_str()
        ),
        (&json!("plugin"), Some("string"))
    );

    let (_, listed) = daemon.get("/api/v1/plugins").await;
    let plugins = listed["plugins"].as_array().unwrap();
    assert!(
        plugins.iter().any(|plugin| plugin["kinds"] == json!(["smtp"])),
        "{listed}"
    );

    let server = targets::smtp().await;
    let request =
        json!({"kind": "smtp", "config": {"host": "127.0.0.1", "port": server.port()}, "timeout": "5s"});
    let (code, result) = daemon.post("/api/v1/checks", &request).await;
    assert_eq!((code, &result["status"]), (200, &json!("up")), "{result}");

    let metrics = reqwest::get(format!("{}/metrics", daemon.admin))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for name in [
        "lapwing_build_info",
        "lapwing_checks_total",
        "lapwing_check_duration_seconds_bucket",
        "lapwing_tasks_stale_total",
    ] {
        assert!(metrics.contains(name), "{name} in:\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_the_one_envelope() {
    let (_files, daemon) = run(Path::new("."), None).await;
    for (request, status, code) in [
        (json!({"kind": "htpt"}), 404, "unknown_kind"),
        (
            json!({"kind": "tcp", "config": {"host": "h", "port": 1, "foo": 1}}),
            422,
            "invalid_config",
        ),
        (json!({"kind": "tcp", "timeout": "1h"}), 422, "invalid_request"),
        (json!({"kind": "tcp", "extra": 1}), 422, "invalid_request"),
        (json!([1]), 422, "invalid_request"),
    ] {
        let (got, body) = daemon.post("/api/v1/checks", &request).await;
        assert_eq!(
            (got, body["error"]["code"].as_str()),
            (status, Some(code)),
            "{request}: {body}"
        );
        assert!(
            body["error"]["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{body}"
        );
    }
    let (code, body) = daemon.get("/api/v1/nothing").await;
    assert_eq!((code, &body["error"]["code"]), (404, &json!("not_found")));
    let (code, body) = daemon.get("/api/v1/checks").await;
    assert_eq!(
        (code, &body["error"]["code"]),
        (405, &json!("method_not_allowed"))
    );
    let large = json!({"kind": "tcp", "config": {"host": "x".repeat(2 << 20)}});
    let (code, body) = daemon.post("/api/v1/checks", &large).await;
    assert_eq!((code, &body["error"]["code"]), (413, &json!("payload_too_large")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_no_text_is_refused_in_the_one_envelope_everywhere() {
    let (_files, daemon) = run(Path::new("."), None).await;
    let (_, described) = daemon.get("/api/v1/openapi.json").await;
    let client = reqwest::Client::new();
    let mut asked = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        let parts = path
            .split('/')
            .map(|part| if part.starts_with('{') { "%ff" } else { part });
        let unfit = parts.collect::<Vec<_>>().join("/");
        if unfit == *path {
            continue;
        }
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_ascii_uppercase().parse().unwrap();
            let request = client.request(method, format!("{}{unfit}", daemon.admin));
            let answer = request.json(&json!({})).send().await.unwrap();
            let (status, body) = (answer.status(), answer.text().await.unwrap());
            let body: Value =
                serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {status} {body}"));
            assert_eq!(
                (status.as_u16(), &body["error"]["code"]),
                (400, &json!("invalid_request")),
                "{path}: {body}"
            );
            asked += 1;
        }
    }
    assert!(asked > 10, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_only_its_bearer_gets_in() {
    let (_files, daemon) = run(Path::new("."), Some("s3cret")).await;
    let client = reqwest::Client::new();
    for path in ["/api/v1/executors", "/api/v1/plugins", "/metrics"] {
        let url = format!("{}{path}", daemon.admin);
        let refused = client.get(&url).send().await.unwrap();
        assert_eq!(refused.status(), 401, "{path}");
        assert_eq!(
            refused.json::<Value>().await.unwrap()["error"]["code"],
            "unauthorized"
        );
        assert_eq!(
            client
                .get(&url)
                .bearer_auth("s3cre")
                .send()
                .await
                .unwrap()
                .status(),
            401,
            "{path}"
        );
        assert_eq!(
            client
                .get(&url)
                .bearer_auth("s3cret")
                .send()
                .await
                .unwrap()
                .status(),
            200,
            "{path}"
        );
    }
    assert_eq!(daemon.get("/api/v1/health").await.0, 200, "health is open");
    assert!(!daemon.log().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_a_web_page_gets_nothing() {
    let (_files, daemon) = run(Path::new("."), None).await;
    let client = reqwest::Client::new();
    let reload = format!("{}/api/v1/plugins/reload", daemon.admin);
    for (name, value) in [("origin", "https://example.com"), ("host", "rebound.example")] {
        let answer = client.post(&reload).header(name, value).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
    assert_eq!(client.post(&reload).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_up_new_files_and_drops_removed_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (_files, daemon) = run(folder.path(), None).await;
    let file = folder.path().join("smtp.wasm");
    fs::copy(plugins().join("smtp.wasm"), &file).unwrap();
    let (code, body) = daemon.post("/api/v1/plugins/reload", &json!(null)).await;
    assert_eq!(
        (code, &body["plugins"][0]["kinds"]),
        (200, &json!(["smtp"])),
        "{body}"
    );
    let has_smtp = async || {
        let (_, executors) = daemon.get("/api/v1/executors").await;
        executors["executors"]
            .as_array()
            .unwrap()
            .iter()
            .any(|info| info["kind"] == "smtp")
    };
    assert!(has_smtp().await);
    fs::remove_file(&file).unwrap();
    daemon.post("/api/v1/plugins/reload", &json!(null)).await;
    assert!(!has_smtp().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_poll_is_stalled() {
    let mut redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lapwing.toml");
    fs::write(&file, "[worker]\nliveness = \"3s\"\n").unwrap();
    let mut command = lapwing();
    command
        .arg("worker")
        .arg("--config")
        .arg(&file)
        .env("REDIS_URL", redis.url());
    let daemon = Daemon::start(command);
    eventually("alive", Duration::from_secs(5), async || {
        daemon.get("/api/v1/health").await.0 == 200
    })
    .await;
    redis.stop();
    eventually("stalled", Duration::from_secs(10), async || {
        daemon.get("/api/v1/health").await.0 == 503
    })
    .await;
    redis.restart();
    eventually("alive again", Duration::from_secs(5), async || {
        daemon.get("/api/v1/health").await.0 == 200
    })
    .await;
}

#[test]
fn without_a_token_only_loopback_is_bound() {
    let output = lapwing()
        .args(["worker", "--listen", "0.0.0.0:0"])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(
        err.contains("0.0.0.0:0") && err.contains("LAPWING_ADMIN_TOKEN"),
        "{err}"
    );
}

/// Every connection the API takes, each with `said` and no more.
fn crowd(daemon: &Daemon, said: &str) -> Vec<TcpStream> {
    let address = daemon.admin.trim_start_matches("http://");
    let connect = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        stream
    };
    (0..64).map(connect).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_only_wait_bar_nobody() {
    let (_files, daemon) = run(Path::new("."), None).await;
    let half = "POST /api/v1/checks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{";
    for said in ["", "GET /api/v1/health HTTP/1.1\r\n", half] {
        let mut crowd = crowd(&daemon, said);
        assert_eq!(daemon.get("/api/v1/health").await.0, 200, "{said}");
        // One of them made room; without that, all would have been waited for.
        let gone = |stream: &mut TcpStream| {
            stream.set_nonblocking(true).unwrap();
            match stream.read(&mut [0]) {
                Ok(read) => read == 0,
                Err(error) => error.kind() == ErrorKind::ConnectionReset,
            }
        };
        let gone = crowd.iter_mut().map(gone).filter(|gone| *gone).count();
        assert!((1..32).contains(&gone), "{said}: {gone}");
    }
}
