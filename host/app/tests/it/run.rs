//! `lapwing run`: everything in one process.

use crate::support::{
    eventually, plugins,
    process::{Daemon, lapwing},
    targets,
};
use lapwing_queue::testing::RedisServer;
use serde_json::Value;
use std::{fs, path::PathBuf, process::Command, time::Duration};

/// Four monitors: two up, one down, one that nobody can tell.
async fn monitors(yaml: bool) -> (tempfile::TempDir, PathBuf) {
    let (http, smtp) = (targets::http().await, targets::smtp().await);
    let monitors = serde_json::json!([
        {"name": "Web", "kind": "http", "interval": "1s", "config": {"url": format!("http://{http}/ok")}},
        {"name": "Broken", "kind": "http", "interval": "1s", "config": {"url": format!("http://{http}/broken")}},
        {"name": "Mail", "kind": "smtp", "interval": "1s", "config": {"host": "127.0.0.1", "port": smtp.port()}},
        {"name": "Metadata", "kind": "tcp", "interval": "1s", "config": {"host": "169.254.169.254", "port": 80}},
    ]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder
        .path()
        .join(if yaml { "monitors.yaml" } else { "monitors.toml" });
    let value = serde_json::json!({ "monitors": monitors });
    // JSON is YAML.
    fs::write(
        &file,
        if yaml {
            value.to_string()
        } else {
            toml::to_string(&value).unwrap()
        },
    )
    .unwrap();
    (folder, file)
}

fn run(file: &PathBuf) -> Command {
    let mut command = lapwing();
    command
        .arg("run")
        .arg("--config")
        .arg(file)
        .arg("--plugins")
        .arg(plugins());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn once_checks_each_monitor_once_and_prints_a_table() {
    for yaml in [false, true] {
        let (_folder, file) = monitors(yaml).await;
        let output = run(&file).arg("--once").output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            output.status.code(),
            Some(1),
            "{out}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for expected in [
            "STATUS",
            "up        Web",
            "down      Broken",
            "up        Mail",
            "unknown   Metadata",
            "2 up, 1 down, 1 unknown",
        ] {
            assert!(out.contains(expected), "no `{expected}` in:\n{out}");
        }
        let json = run(&file).args(["--once", "--json"]).output().unwrap();
        let results: Vec<Value> = serde_json::from_slice(&json.stdout).unwrap();
        let statuses: Vec<_> = results
            .iter()
            .map(|result| result["status"].as_str().unwrap())
            .collect();
        assert_eq!(statuses, ["up", "down", "up", "unknown"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_watches_until_told_to_stop() {
    let (_folder, file) = monitors(false).await;
    let mut daemon = Daemon::start(run(&file));
    eventually("each monitor twice", Duration::from_secs(20), async || {
        let log = daemon.log();
        ["Web", "Broken", "Mail", "Metadata"]
            .iter()
            .all(|name| log.matches(&format!("  {name} ")).count() >= 2)
    })
    .await;
    daemon.signal("TERM");
    assert!(daemon.wait(Duration::from_secs(5)).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_set_its_tasks_go_through_redis() {
    let redis = RedisServer::start();
    let (_folder, file) = monitors(false).await;
    let mut command = run(&file);
    command.env("REDIS_URL", redis.url());
    let mut daemon = Daemon::start(command);
    eventually("each monitor twice", Duration::from_secs(20), async || {
        let log = daemon.log();
        ["Web", "Broken", "Mail", "Metadata"]
            .iter()
            .all(|name| log.matches(&format!("  {name} ")).count() >= 2)
    })
    .await;
    let mut connection = crate::worker::connect(&redis).await;
    let processed: u64 = redis::cmd("GET")
        .arg("asynq:{lapwing}:processed")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(processed >= 8, "{processed}");
    daemon.signal("TERM");
    assert!(daemon.wait(Duration::from_secs(5)).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_by_itself_after_the_given_time() {
    let (_folder, file) = monitors(false).await;
    let mut command = run(&file);
    command.args(["--for", "2s", "--json"]);
    let mut daemon = Daemon::start(command);
    assert!(daemon.wait(Duration::from_secs(10)).success());
    let log = daemon.log();
    let results: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert!(
        results.len() >= 4 && results.iter().all(|result| result["id"].is_string()),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn native_monitors_and_the_api_do_not_wait_until_plugins_are_compiled() {
    let (folder, file) = monitors(false).await;
    let mut command = run(&file);
    command.env("XDG_CACHE_HOME", folder.path().join("cache"));
    let daemon = Daemon::start(command);
    assert_eq!(daemon.get("/api/v1/health").await.0, 200);
    eventually("the plugin's monitor", Duration::from_secs(90), async || {
        daemon
            .log()
            .lines()
            .any(|line| line.contains("up") && line.contains("  Mail "))
    })
    .await;
    let log = daemon.log();
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("no `{text}` in:\n{log}"));
    assert!(
        place("admin API at") < place("compiling the plugins of") && place("  Web ") < place("  Mail "),
        "{log}"
    );
}

#[test]
fn what_plugins_find_wrong_with_monitors_is_told_at_the_start_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("monitors.yaml");
    fs::copy(
        plugins().join("fixtures/validating.wasm"),
        folder.path().join("validating.wasm"),
    )
    .unwrap();
    let monitor = |name: &str, config: Value| serde_json::json!({"name": name, "kind": "fixture-validating", "config": config});
    let start = |monitors: &[Value]| {
        fs::write(&file, serde_json::json!({ "monitors": monitors }).to_string()).unwrap();
        let mut command = lapwing();
        command.arg("run").arg("--once").arg("--config").arg(&file);
        let output = command.arg("--plugins").arg(folder.path()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        (output.status.code(), said.concat())
    };
    let good = monitor("Good", serde_json::json!({"from": 1}));
    let (code, said) = start(&[good.clone(), monitor("Bad", serde_json::json!({"from": 10}))]);
    assert_eq!(code, Some(0), "one plugin's word stops nothing: {said}");
    assert!(
        said.contains("monitors[1].config.to: is before `from` (10)") && !said.contains("monitors[0]"),
        "{said}"
    );
    // A plugin that cannot say stops nobody.
    let (code, said) = start(&[
        good,
        monitor("Odd", serde_json::json!({"from": 1, "misdeed": "panic"})),
    ]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("`config-check` trapped"), "{said}");
    // One that takes too long is asked only once.
    let slow = |name: &str| monitor(name, serde_json::json!({"from": 1, "misdeed": "spin"}));
    let (code, said) = start(&[slow("One"), slow("Two"), slow("Three")]);
    assert_eq!(code, Some(0), "{said}");
    let warned = said
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("monitor `"));
    assert_eq!(warned.count(), 1, "{said}");
}

#[test]
fn a_file_without_monitors_is_told_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lapwing.toml");
    for (text, part) in [
        ("", "add a [[monitors]] table"),
        ("[admin]\nlisten = \"8085\"\n", "such as `127.0.0.1:8085`"),
    ] {
        fs::write(&file, text).unwrap();
        let output = lapwing().arg("run").arg("--config").arg(&file).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(64) && err.contains(part) && !err.contains("--config"),
            "{err}"
        );
    }
}
