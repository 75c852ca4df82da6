//! State: kept for the same monitor, after a good run, within its quotas.

use super::Steps;
use crate::support::{PLENTY, context};
use lapwing_checks::{BoxFuture, ProbeContext};
use lapwing_model::{Status, Task};
use lapwing_wasm::{SecretSource, Secrets, StateStore};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

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

/// The same for a monitor of that queue, or for nobody's.
fn of_queue(queue: Option<&str>) -> ProbeContext {
    ProbeContext {
        queue: queue.map(Into::into),
        ..monitor("a")
    }
}

async fn run(steps: &Steps, id: &str, list: Value) -> String {
    run_in(steps, &monitor(id), list).await
}

async fn run_in(steps: &Steps, cx: &ProbeContext, list: Value) -> String {
    steps.run_in(MORE, &json!({ "steps": list }), cx).await.message
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
        let list = json!([get("k"), set("k", 5), get("k")]);
        assert_eq!(
            run_in(&steps, &of_queue(None), list).await,
            "nothing | set | 5 bytes"
        );
    }
}

#[tokio::test]
async fn monitors_of_two_queues_may_have_the_same_id() {
    let steps = Steps::granted(json!({ "state": true })).await;
    for queue in ["one", "two"] {
        let list = json!([get("k"), set("k", 5)]);
        assert_eq!(
            run_in(&steps, &of_queue(Some(queue)), list).await,
            "nothing | set"
        );
    }
    assert_eq!(
        run_in(&steps, &of_queue(Some("one")), json!([get("k")])).await,
        "5 bytes"
    );
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

/// A store that is away, or never answers; and how often it was asked.
struct Broken(bool, Arc<AtomicUsize>);

impl StateStore for Broken {
    fn load<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, String>> {
        let hangs = self.0;
        self.1.fetch_add(1, Relaxed);
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
async fn a_store_that_is_away_changes_no_verdict_and_is_asked_once() {
    let steps = Steps::granted(json!({ "state": true })).await;
    for hangs in [false, true] {
        let asked = Arc::new(AtomicUsize::new(0));
        steps.host.custody().set_state(Broken(hangs, asked.clone()));
        let list = json!([set("k", 1), get("k"), get("l"), { "do": "delete", "key": "k" }]);
        let seen = steps.run_in(MORE, &json!({ "steps": list }), &monitor("a")).await;
        assert_eq!(seen.status, Status::Up, "{seen:?}");
        let refused: Vec<_> = seen.message.split(" | ").collect();
        let away = "StateError::Unavailable(\"its store did not answer\")";
        assert_eq!(refused, [away; 4], "and none of the store's own words");
        assert_eq!(asked.load(Relaxed), 1);
    }
}
