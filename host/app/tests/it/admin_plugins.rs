//! The admin API's endpoints of one plugin, over the wire.

use crate::{
    admin::run,
    support::{plugins, targets},
};
use serde_json::{Value, json};
use std::fs;

/// A folder with these of the built plugins.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        fs::copy(
            plugins().join(file),
            folder.path().join(file.rsplit('/').next().unwrap()),
        )
        .unwrap();
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn one_plugin_is_told_whole() {
    let folder = folder(&["smtp.wasm"]);
    let (_files, daemon) = run(folder.path(), None).await;
    let (code, smtp) = daemon.get("/api/v1/plugins/smtp").await;
    assert_eq!(
        (code, &smtp["state"], &smtp["kinds"]),
        (200, &json!("active"), &json!(["smtp"])),
        "{smtp}"
    );
    assert_eq!(smtp["digest"].as_str().unwrap().len(), 64);
    assert_eq!(smtp["interface"], "1.0.0");
    assert!(!smtp["imports"].as_array().unwrap().is_empty() && smtp["memory_kib"].as_u64() > Some(0));
    assert_eq!(
        (&smtp["granted"], &smtp["granted_by_api"]),
        (&json!({}), &json!([]))
    );
    assert_eq!(smtp["tally"]["runs"], 0);

    let server = targets::smtp().await;
    let check = json!({"kind": "smtp", "config": {"host": "127.0.0.1", "port": server.port()}});
    assert_eq!(daemon.post("/api/v1/checks", &check).await.1["status"], "up");
    let (_, smtp) = daemon.get("/api/v1/plugins/smtp").await;
    assert_eq!(
        (&smtp["tally"]["runs"], &smtp["stats"]["live"]),
        (&json!(1), &json!(0)),
        "{smtp}"
    );
    assert!(smtp["stats"]["p50_us"].as_u64() > Some(0), "{smtp}");
    let metrics = reqwest::get(format!("{}/metrics", daemon.admin))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for line in [
        "lapwing_plugin_runs_total{plugin=\"smtp\"} 1",
        "lapwing_plugin_faults_total{plugin=\"smtp\"} 0",
        "lapwing_plugin_live_instances{plugin=\"smtp\"} 0",
        "lapwing_plugin_run_p99_seconds{plugin=\"smtp\"}",
        "lapwing_plugin_runs_waiting 0",
        "lapwing_plugin_files{state=\"active\"} 1",
        "lapwing_plugin_compile_seconds{plugin=\"smtp\"}",
        // The cache may be another test's as well.
        "lapwing_plugin_cache_hits_total ",
        "lapwing_plugin_cache_misses_total ",
        "lapwing_plugin_compilation_seconds_bucket{le=\"+Inf\"} ",
        "lapwing_plugin_compilation_seconds_count ",
    ] {
        assert!(metrics.contains(line), "{line} in:\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_run_tells_each_call_and_counts_for_nothing() {
    let folder = folder(&["smtp.wasm", "fixtures/trap.wasm"]);
    let (_files, daemon) = run(folder.path(), None).await;
    let server = targets::smtp().await;
    let config = json!({"host": "127.0.0.1", "port": server.port()});
    let (code, trial) = daemon
        .post(
            "/api/v1/plugins/smtp/test",
            &json!({"config": config, "timeout": "5s"}),
        )
        .await;
    assert_eq!((code, &trial["result"]["status"]), (200, &json!("up")), "{trial}");
    assert!(
        trial["calls"]
            .as_array()
            .unwrap()
            .iter()
            .any(|call| call["call"] == "tcp.connect"),
        "{trial}"
    );
    for _ in 0..10 {
        let (_, trial) = daemon.post("/api/v1/plugins/fixture-trap/test", &json!({})).await;
        assert_eq!(
            trial["result"]["reason"], "plugin_trap",
            "never quarantined: {trial}"
        );
    }
    assert_eq!(daemon.get("/api/v1/plugins/smtp").await.1["tally"]["runs"], 0);

    for (path, body, status, word) in [
        ("/api/v1/plugins/smtp/test", json!({}), 422, "invalid_config"),
        (
            "/api/v1/plugins/smtp/test",
            json!({"kind": "imap"}),
            404,
            "unknown_kind",
        ),
        (
            "/api/v1/plugins/smtp/test",
            json!({"timeout": "1h"}),
            422,
            "invalid_request",
        ),
        (
            "/api/v1/plugins/smtp/test",
            json!({"allow": ["http://x"]}),
            422,
            "invalid_request",
        ),
        ("/api/v1/plugins/nobody/test", json!({}), 404, "unknown_plugin"),
    ] {
        let (code, answer) = daemon.post(path, &body).await;
        assert_eq!(
            (code, &answer["error"]["code"]),
            (status, &json!(word)),
            "{path} {body}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_logs_can_be_read() {
    let folder = folder(&["fixtures/flood_log.wasm"]);
    let (_files, daemon) = run(folder.path(), None).await;
    assert_eq!(
        daemon.get("/api/v1/plugins/fixture-flood-log/logs").await,
        (200, json!({"lines": []}))
    );
    let (_, result) = daemon
        .post("/api/v1/checks", &json!({"kind": "fixture-flood-log"}))
        .await;
    assert!(result["status"].is_string(), "{result}");
    let (_, logs) = daemon.get("/api/v1/plugins/fixture-flood-log/logs").await;
    let lines = logs["lines"].as_array().unwrap();
    assert!(!lines.is_empty() && lines.len() <= 1000);
    assert_eq!(lines[0]["kind"], "fixture-flood-log");
    let (code, answer) = daemon.get("/api/v1/plugins/nobody/logs").await;
    assert_eq!((code, &answer["error"]["code"]), (404, &json!("unknown_plugin")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_of_a_kind_is_served() {
    let folder = folder(&["smtp.wasm"]);
    let (_files, daemon) = run(folder.path(), None).await;
    for kind in ["tcp", "smtp"] {
        let (code, schema) = daemon.get(&format!("/api/v1/kinds/{kind}/schema")).await;
        assert_eq!(
            (code, &schema["properties"]["port"]["type"]),
            (200, &json!("integer")),
            "{schema}"
        );
    }
    let (code, answer): (u16, Value) = daemon.get("/api/v1/kinds/htpt/schema").await;
    assert_eq!((code, &answer["error"]["code"]), (404, &json!("unknown_kind")));
}
