//! Instances that serve several runs: of the same monitor, as long as nothing is amiss. The guest counts its runs.

use crate::{
    raw,
    support::{Bench, PLENTY, add, at_rest, context, context_of, eventually, fixture, small},
};
use lapwing_checks::ProbeContext;
use lapwing_model::{Heartbeat, Observation, Status, Task};
use lapwing_wasm::{Grant, PluginSettings, SecretSource, Secrets};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::net::TcpListener;

const ANSWER: &str = r#"{"act":"answer"}"#;

async fn keeper() -> Bench {
    Bench::new("keeper").await
}

async fn run(bench: &Bench, config: &str) -> Observation {
    run_in(bench, config, &context(PLENTY)).await
}

async fn run_in(bench: &Bench, config: &str, cx: &ProbeContext) -> Observation {
    let probed = bench.executor().execute(config, cx).await;
    probed.unwrap_or_else(lapwing_checks::CheckError::into_observation)
}

/// How many runs the instance had served, this one included.
async fn count(bench: &Bench, config: &str) -> u64 {
    counted(&run(bench, config).await)
}

fn counted(seen: &Observation) -> u64 {
    seen.attributes
        .get("run")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_else(|| panic!("{seen:?}"))
}

#[tokio::test]
async fn an_instance_serves_as_many_runs_as_its_plugin_offers() {
    let bench = keeper().await;
    for expected in [1, 2, 3, 4, 1, 2] {
        assert_eq!(count(&bench, ANSWER).await, expected);
    }
    assert_eq!((bench.host.usage().kept, bench.host.usage().live_stores), (1, 1));
    let tally = bench.host.custody().record("fixtures").tally();
    assert_eq!((tally.runs, tally.reused), (6, 4));
}

#[tokio::test]
async fn the_operator_may_allow_less_or_nothing() {
    let settings = |max_reuse, kept_memory_mib| PluginSettings {
        max_reuse,
        kept_memory_mib,
        ..small()
    };
    for (settings, counts) in [
        (settings(2, 256), [1, 2, 1]),
        (settings(1, 256), [1, 1, 1]),
        (settings(100, 0), [1, 1, 1]),
        // It holds more than the one MiB that every instance counts for at the least.
        (settings(100, 1), [1, 1, 1]),
    ] {
        let bench = Bench::with("keeper", settings.clone()).await;
        for expected in counts {
            assert_eq!(count(&bench, ANSWER).await, expected, "{settings:?}");
        }
    }
}

#[tokio::test]
async fn nobody_finds_what_another_left() {
    let bench = keeper().await;
    assert_eq!(count(&bench, ANSWER).await, 1);
    let other = run_in(&bench, ANSWER, &context_of("monitor-2", PLENTY)).await;
    assert_eq!(counted(&other), 1, "another monitor");
    assert_eq!(bench.host.usage().kept, 2);
    assert_eq!(
        count(&bench, r#"{"act":"answer","port":1}"#).await,
        1,
        "another configuration"
    );
    assert_eq!(
        count(&bench, ANSWER).await,
        1,
        "which took the place of the first"
    );
    assert_eq!(count(&bench, ANSWER).await, 2);
    let grant: Grant = serde_json::from_value(json!({ "hosts": ["192.0.2.1"] })).unwrap();
    let grants = BTreeMap::from([("fixtures".to_owned(), vec![grant])]);
    bench.host.custody().grants().replace(grants);
    assert_eq!(count(&bench, ANSWER).await, 1, "another grant");
    assert_eq!(count(&bench, ANSWER).await, 2);
    for (queue, counts) in [(None, [1, 1]), (Some("another".into()), [1, 2])] {
        for count in counts {
            let cx = ProbeContext {
                queue: queue.clone(),
                ..context(PLENTY)
            };
            let seen = run_in(&bench, ANSWER, &cx).await;
            assert_eq!(counted(&seen), count, "nobody's, or another queue's: {queue:?}");
        }
    }
}

#[tokio::test]
async fn an_instance_is_not_kept_after_anything_amiss() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (act, status) in [
        ("stray", Status::Up),
        ("hold", Status::Up),
        ("flood", Status::Up),
        ("hoard", Status::Up),
        ("litter", Status::Up),
        ("socket", Status::Up),
    ] {
        let bench = keeper().await;
        let config = format!(r#"{{"act":"{act}","host":"127.0.0.1","port":{port}}}"#);
        assert_eq!(count(&bench, &config).await, 1, "{act}");
        let second = run(&bench, &config).await;
        assert_eq!(second.status, status, "{act}: {second:?}");
        assert_eq!(bench.host.usage().kept, 0, "{act}");
        assert_eq!(count(&bench, &config).await, 1, "{act}");
    }
}

#[tokio::test]
async fn bad_news_of_a_used_instance_is_heard_again_from_a_fresh_one() {
    let bench = keeper().await;
    let down = r#"{"act":"down"}"#;
    for config in [r#"{"act":"error"}"#, down] {
        for _ in 0..4 {
            assert_eq!(count(&bench, config).await, 1, "the fresh one finds it up");
        }
    }
    // Known to be down already, it is no news, and nothing amiss either.
    let cx = context(PLENTY);
    let mut task = Task::clone(&cx.task);
    let known: Heartbeat = serde_json::from_value(json!({ "status": 0 })).unwrap();
    task.last_heartbeat = Some(known);
    let cx = ProbeContext {
        task: Arc::new(task),
        ..cx
    };
    assert_eq!(run_in(&bench, down, &cx).await.status, Status::Down);
    assert_eq!(count(&bench, down).await, 3);
}

#[tokio::test]
async fn a_fault_of_a_used_instance_is_tried_again_on_a_fresh_one_until_it_is_one_too_many() {
    let bench = keeper().await;
    for _ in 0..8 {
        assert_eq!(count(&bench, r#"{"act":"trap"}"#).await, 1);
    }
    let tally = bench.host.custody().record("fixtures").tally();
    assert_eq!((tally.reused, tally.faults), (5, 5));
}

#[tokio::test]
async fn an_answer_after_the_end_leaves_nothing_either() {
    let bench = keeper().await;
    let late = r#"{"act":"late"}"#;
    for _ in 0..5 {
        assert_eq!(count(&bench, late).await, 1);
        // Half a millisecond late: whether it is heard still is the timer's affair.
        run_in(&bench, late, &context(Duration::from_millis(50))).await;
        eventually("it is gone", async || bench.host.usage().live_stores == 0).await;
    }
}

#[tokio::test]
async fn what_is_kept_leaves_room_for_all_that_may_run() {
    let component = std::fs::read(fixture("keeper")).unwrap();
    let crowd = raw::file(&raw::crowded(&component, 58));
    let bench = Bench::of(crowd.path(), small()).await;
    for monitor in 0..60 {
        let cx = context_of(&monitor.to_string(), PLENTY);
        assert_eq!(counted(&run_in(&bench, ANSWER, &cx).await), 1, "{monitor}");
    }
    assert_eq!(bench.host.usage().kept, 60);
    let mut registry = lapwing_checks::Registry::default();
    let echo = add(&bench.host, &mut registry, &fixture("echo")).await;
    let runs = (0..16).map(|_| {
        let executor = registry.executor(&echo).unwrap().clone();
        tokio::spawn(async move { executor.execute("{}", &context(PLENTY)).await })
    });
    for run in runs.collect::<Vec<_>>() {
        assert_eq!(run.await.unwrap().unwrap().status, Status::Up);
    }
}

#[tokio::test]
async fn what_somebody_looks_at_is_a_first_run() {
    let bench = keeper().await;
    let cx = context(PLENTY);
    let mut task = Task::clone(&cx.task);
    task.scheduled_at = None;
    let cx = ProbeContext {
        task: Arc::new(task),
        ..cx
    };
    for _ in 0..2 {
        assert_eq!(counted(&run_in(&bench, ANSWER, &cx).await), 1);
    }
}

#[tokio::test]
async fn a_run_out_of_time_or_given_up_leaves_nothing() {
    let bench = keeper().await;
    let spin = r#"{"act":"spin"}"#;
    assert_eq!(count(&bench, spin).await, 1);
    let cx = context(Duration::from_millis(200));
    assert_eq!(run_in(&bench, spin, &cx).await.status, Status::Unknown);
    eventually("it is gone", async || bench.host.usage().live_stores == 0).await;
    assert_eq!(count(&bench, spin).await, 1);
    let given_up = tokio::time::timeout(Duration::from_millis(50), run(&bench, spin));
    assert!(given_up.await.is_err());
    eventually("it is gone", async || bench.host.usage().live_stores == 0).await;
    assert_eq!(count(&bench, spin).await, 1);
}

#[tokio::test]
async fn two_runs_at_once_are_of_two_instances() {
    let bench = keeper().await;
    // Fewer than one instance may serve: the last leaves one.
    let runs: Vec<_> = (0..3)
        .map(|_| {
            let executor = bench.executor().clone();
            tokio::spawn(async move { executor.execute(ANSWER, &context(PLENTY)).await.unwrap() })
        })
        .collect();
    for run in runs {
        assert!((1..=4).contains(&counted(&run.await.unwrap())));
    }
    assert_eq!((bench.host.usage().kept, bench.host.usage().live_stores), (1, 1));
}

#[tokio::test]
async fn a_secret_it_was_shown_stays_hidden_in_later_runs() {
    let bench = keeper().await;
    let mut secrets = Secrets::default();
    secrets.insert("token", SecretSource::Value("hush-hush".into()), Vec::new());
    bench.host.custody().set_secrets(secrets);
    let grant: Grant = serde_json::from_value(json!({ "reveal": ["token"] })).unwrap();
    let grants = BTreeMap::from([("fixtures".to_owned(), vec![grant])]);
    bench.host.custody().grants().replace(grants);
    for expected in [1, 2, 3] {
        let seen = run(&bench, r#"{"act":"reveal"}"#).await;
        assert_eq!((seen.message.as_str(), counted(&seen)), ("it is ***", expected));
    }
}

#[tokio::test]
async fn what_is_kept_goes_with_its_plugin() {
    let bench = keeper().await;
    count(&bench, ANSWER).await;
    let host = bench.host.clone();
    let mut registry = lapwing_checks::Registry::default();
    add(&host, &mut registry, &fixture("echo")).await;
    drop(bench);
    at_rest(&host).await;
    assert_eq!(host.usage().kept, 0);
}
