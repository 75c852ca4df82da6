//! State: kept for the same monitor, after a good run, within its quotas.

use super::Steps;
use crate::support::{PLENTY, context};
use lapwing_checks::{BoxFuture, ProbeContext};
use lapwing_model::{Status, Task};
use lapwing_wasm::{SecretSource, Secrets, StateStore};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const MORE: &str = "fixture-steps-more";

/// A context for another monitor.
fn monitor(id: &str) -> ProbeContext {
    let cx = context(PLENTY);
    let mut task = Task::clone(&cx.task);
    id.clone_into(&mut task.monitor.id);
    ProbeContext {
        task: Arc::new(task),
        ..cx
    }
}

async fn run(steps: &Steps, id: &str, list: Value) -> String {
    steps
        .run_in(MORE, &json!({ "steps": list }), &monitor(id))
        .await
        .message
}

fn set(key: &str, bytes: usize) -> Value {
    json!({ "do": "set", "key": key, "bytes": bytes })
}

fn get(key: &str) -> Value {
    json!({ "do": "get", "key": key })
}

#[tokio::test]
async fn a_monitor_remembers_and_another_knows_nothing() {
    let steps = Steps::granted(json!({ "state": true })).await;
    assert_eq!(
        run(&steps, "a", json!([get("k"), set("k", 5), get("k")])).await,
        "nothing | set | 5 bytes"
    );
    assert_eq!(run(&steps, "a", json!([get("k")])).await, "5 bytes");
    assert_eq!(run(&steps, "b", json!([get("k")])).await, "nothing");
    assert_eq!(run(&steps, "a\",\"b", json!([get("k")])).await, "nothing");
    assert_eq!(
        run(&steps, "a", json!([{ "do": "delete", "key": "k" }])).await,
        "deleted"
    );
    assert_eq!(run(&steps, "a", json!([get("k")])).await, "nothing");
}

#[tokio::test]
async fn a_run_without_a_monitor_leaves_nothing_behind() {
    let steps = Steps::granted(json!({ "state": true })).await;
    for _ in 0..2 {
        let said = run(&steps, "", json!([get("k"), set("k", 5), get("k")])).await;
        assert_eq!(said, "nothing | set | 5 bytes");
    }
}

#[tokio::test]
async fn a_secret_is_not_remembered_as_no_later_run_would_know_it() {
    let steps = Steps::granted(json!({ "state": true, "reveal": ["token"] })).await;
    let mut secrets = Secrets::default();
    secrets.insert("token", SecretSource::Value("hunter2-hunter2".into()), Vec::new());
    steps.host.custody().set_secrets(secrets);
    let keep = |key: &str| json!({ "do": "keep", "key": key });
    let reveal = json!({ "do": "reveal", "name": "token" });
    let list = json!([set("k", 5), get("k"), keep("plain"), reveal, keep("k"), get("k")]);
    assert_eq!(
        run(&steps, "a", list).await,
        "set | 5 bytes | set | *** | set | 15 bytes"
    );
    let later = run(&steps, "a", json!([get("plain"), get("k")])).await;
    assert_eq!(later, "7 bytes | nothing");
}

#[tokio::test]
async fn only_a_good_run_is_remembered() {
    let steps = Steps::granted(json!({ "state": true })).await;
    for (end, kept) in [
        ("fail", "nothing"),
        ("trap", "nothing"),
        ("down", "5 bytes"),
        ("up", "5 bytes"),
    ] {
        let config = json!({ "steps": [set(end, 5)], "end": end });
        steps.run_in(MORE, &config, &monitor("a")).await;
        assert_eq!(run(&steps, "a", json!([get(end)])).await, kept, "{end}");
    }
}

#[tokio::test]
async fn too_much_is_refused_by_name() {
    let steps = Steps::granted(json!({ "state": true })).await;
    let said = run(
        &steps,
        "a",
        json!([set("big", 1 << 20), set("k", (16 << 10) + 1)]),
    )
    .await;
    assert_eq!(said, "StateError::TooLarge | StateError::TooLarge");
    let full: Vec<_> = (0..5).map(|n| set(&format!("k{n}"), 16 << 10)).collect();
    let said = run(&steps, "a", json!(full)).await;
    assert_eq!(
        said,
        "set | set | set | StateError::QuotaExceeded | StateError::QuotaExceeded"
    );
    let many: Vec<_> = (0..65).map(|n| set(&format!("k{n}"), 1)).collect();
    assert!(
        run(&steps, "b", json!(many))
            .await
            .ends_with("set | StateError::QuotaExceeded")
    );
}

#[tokio::test]
async fn without_a_grant_there_is_none_and_that_is_no_outage() {
    let steps = Steps::new().await;
    let config = json!({ "steps": [get("k"), set("k", 1)], "end": "down" });
    let seen = steps.run_in(MORE, &config, &monitor("a")).await;
    assert_eq!(
        (seen.status, seen.message.as_str()),
        (
            Status::Down,
            "StateError::AccessDenied | StateError::AccessDenied"
        )
    );
}

/// A store that is away, or never answers.
struct Broken(bool);

impl StateStore for Broken {
    fn load<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, String>> {
        let hangs = self.0;
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Err("it is away".to_owned())
        })
    }

    fn save<'a>(&'a self, _: &'a str, _: Option<Vec<u8>>, _: Duration) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Err("it is away".to_owned())))
    }
}

#[tokio::test]
async fn a_store_that_is_away_changes_no_verdict() {
    let steps = Steps::granted(json!({ "state": true })).await;
    for (hangs, part) in [(false, "it is away"), (true, "no answer in time")] {
        steps.host.custody().set_state(Broken(hangs));
        let seen = steps
            .run_in(MORE, &json!({ "steps": [set("k", 1)] }), &monitor("a"))
            .await;
        assert_eq!(seen.status, Status::Up, "{seen:?}");
        assert!(
            seen.message.contains("Unavailable") && seen.message.contains(part),
            "{}",
            seen.message
        );
    }
}
