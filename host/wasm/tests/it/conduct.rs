//! What the host does around a run: configuration, quarantine, slots, cancellation, reuse of compiled code.

use crate::support::{Bench, PLENTY, add, eventually, fixture, small, unknown};
use lapwing_checks::{CheckError, Registry};
use lapwing_model::{Reason, Status};
use lapwing_wasm::{PluginHost, PluginSettings, QuarantineSettings};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_guest_is_told_its_task() {
    let bench = Bench::new("echo").await;
    let seen = bench.run(r#"{"greeting":"hello"}"#, PLENTY).await.unwrap();
    assert_eq!(seen.status, Status::Up);
    assert_eq!(seen.details.unwrap(), serde_json::json!({"greeting": "hello"}));
    assert_eq!(seen.attributes["echo.check_type"], "fixture-echo");
    assert_eq!(seen.attributes["echo.monitor_id"], "monitor-1");
    assert_eq!(seen.attributes["echo.attempt"], 1);
    let budget = seen.attributes["echo.budget_ms"].as_u64().unwrap();
    assert!(budget > 10_000 && budget <= 20_000, "{budget}");
}

#[tokio::test]
async fn the_smallest_guest_is_up_and_claims_nothing() {
    let seen = Bench::new("empty").await.run("{}", PLENTY).await.unwrap();
    assert_eq!(seen, lapwing_model::Observation::up(""));
}

#[tokio::test]
async fn a_configuration_is_checked_before_the_run() {
    let bench = Bench::new("slow_target").await;
    let error = bench
        .run(r#"{"host":"127.0.0.1","port":"http"}"#, PLENTY)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CheckError::InvalidConfig(text) if text.contains("`port`")),
        "{error}"
    );
    let error = bench.run("{", PLENTY).await.unwrap_err();
    assert!(matches!(error, CheckError::InvalidConfig(_)));
}

#[tokio::test]
async fn repeated_faults_quarantine_the_kind_and_no_other() {
    let quarantine = QuarantineSettings {
        faults: 3,
        first_ms: 300,
        longest_ms: 1000,
    };
    let bench = Bench::with(
        "trap",
        PluginSettings {
            quarantine,
            ..small()
        },
    )
    .await;
    let mut registry = bench.registry.clone();
    let echo = add(&bench.host, &mut registry, &fixture("echo")).await;
    for _ in 0..3 {
        assert_eq!(unknown(bench.run("{}", PLENTY).await).0, Reason::PluginTrap);
    }
    let (reason, message) = unknown(bench.run("{}", PLENTY).await);
    assert_eq!(reason, Reason::PluginQuarantined);
    assert!(message.contains("after 3 faults in a row"), "{message}");
    let cx = crate::support::context(PLENTY);
    assert!(registry.executor(&echo).unwrap().execute("{}", &cx).await.is_ok());
    eventually("the kind is tried again", async || {
        unknown(bench.run("{}", PLENTY).await).0 == Reason::PluginTrap
    })
    .await;
    assert_eq!(
        unknown(bench.run("{}", PLENTY).await).0,
        Reason::PluginQuarantined,
        "one fault, another rest"
    );
}

#[tokio::test]
async fn an_unfit_configuration_is_no_fault() {
    let quarantine = QuarantineSettings {
        faults: 1,
        ..QuarantineSettings::default()
    };
    let bench = Bench::with(
        "invalid_config",
        PluginSettings {
            quarantine,
            ..small()
        },
    )
    .await;
    for _ in 0..3 {
        assert_eq!(unknown(bench.run("{}", PLENTY).await).0, Reason::InvalidConfig);
    }
}

#[tokio::test]
async fn a_run_without_a_free_slot_says_so() {
    let bench = Arc::new(
        Bench::with(
            "sleep_then_up",
            PluginSettings {
                concurrent_runs: 1,
                ..small()
            },
        )
        .await,
    );
    let holder = tokio::spawn({
        let bench = bench.clone();
        async move { bench.run(r#"{"sleep_ms":700}"#, PLENTY).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (reason, message) = unknown(bench.run(r#"{"sleep_ms":1}"#, Duration::from_millis(200)).await);
    assert_eq!(reason, Reason::LimitHit);
    assert!(message.contains("plugins.concurrent_runs"), "{message}");
    assert_eq!(
        bench.run(r#"{"sleep_ms":1}"#, PLENTY).await.unwrap().status,
        Status::Up,
        "a patient run waits"
    );
    assert_eq!(holder.await.unwrap().unwrap().status, Status::Up);
}

#[tokio::test]
async fn a_storm_of_faults_leaves_every_slot_free() {
    let quarantine = QuarantineSettings {
        faults: 1000,
        ..QuarantineSettings::default()
    };
    let settings = PluginSettings {
        quarantine,
        ..small()
    };
    let slots = usize::try_from(settings.concurrent_runs).unwrap();
    let bench = Bench::with("sleep_then_up", settings).await;
    let mut registry = bench.registry.clone();
    let mut kinds = Vec::new();
    for name in ["trap", "panicking", "exit", "eat_memory", "echo"] {
        kinds.push(add(&bench.host, &mut registry, &fixture(name)).await);
    }
    let mut storm = JoinSet::new();
    for kind in kinds.iter().cycle().take(200) {
        let executor = registry.executor(kind).unwrap().clone();
        storm.spawn(async move { executor.execute("{}", &crate::support::context(PLENTY)).await });
    }
    while let Some(run) = storm.join_next().await {
        let ended = run.unwrap();
        assert!(
            !matches!(ended, Ok(ref seen) if seen.status == Status::Down),
            "{ended:?}"
        );
    }
    // All at once or not at all: one that had to wait for another's slot would not end in time.
    let budget = Duration::from_millis(5900);
    let mut sleepers = JoinSet::new();
    for _ in 0..slots {
        let executor = bench.executor().clone();
        sleepers.spawn(async move {
            executor
                .execute(r#"{"sleep_ms":3000}"#, &crate::support::context(budget))
                .await
        });
    }
    while let Some(run) = sleepers.join_next().await {
        let run = run.unwrap();
        assert!(run.is_ok(), "a slot was lost: {run:?}");
    }
}

#[tokio::test]
async fn an_unchanged_file_is_not_compiled_again() {
    let host = PluginHost::new(small()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("echo"), folder.path().join("a.wasm")).unwrap();
    let first = host.load_dir(folder.path()).await.unwrap();
    std::fs::copy(fixture("two_kinds"), folder.path().join("b.wasm")).unwrap();
    let second = host.load_dir(folder.path()).await.unwrap();
    assert_eq!(second.len(), 2);
    assert!(Arc::ptr_eq(
        first[0].plugin().unwrap(),
        second[0].plugin().unwrap()
    ));
    assert_eq!(second[1].kinds, ["fixture-one", "fixture-two"]);
}

#[tokio::test]
async fn a_running_check_keeps_its_plugin_when_the_host_is_gone() {
    let bench = Bench::new("sleep_then_up").await;
    let executor = bench.executor().clone();
    drop(bench);
    let cx = crate::support::context(PLENTY);
    assert_eq!(
        executor.execute(r#"{"sleep_ms":20}"#, &cx).await.unwrap().status,
        Status::Up
    );
    let mut registry = Registry::default();
    registry.register(executor).unwrap();
    drop(registry);
}
