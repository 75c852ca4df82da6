//! Limits that no misdeed goes past by default: each is lowered until a guest does, and holds nothing back before.

use crate::{
    raw::{Raw, file},
    support::{Bench, PLENTY, add, at_rest, checker, context, fixture, refused, small, unknown, wasm},
};
use lapwing_checks::Registry;
use lapwing_model::{Reason, Status};
use lapwing_wasm::{PluginHost, PluginSettings, RunLimits};
use std::time::Duration;
use tokio::task::JoinSet;

fn limited(limits: RunLimits) -> PluginSettings {
    PluginSettings { limits, ..small() }
}

#[tokio::test]
async fn counts_at_the_start_are_limited() {
    // Its own two tables, and one of the component around it.
    let mut guest = Raw::check("(i32.const 8192)");
    guest.items = "(table 1 funcref) (table 1 funcref)";
    let two_memories = wat::parse_str(
        r#"(component (core module $m (memory 1)) (core instance (instantiate $m)) (core instance (instantiate $m))
           (instance $c) (export "lapwing:plugin/checker@1.0.0" (instance $c)))"#,
    )
    .unwrap();
    let host = PluginHost::new(limited(RunLimits {
        tables: 1,
        memories: 1,
        ..RunLimits::default()
    }))
    .unwrap();
    let report = host.load_file(guest.file().path()).await;
    assert_eq!(
        refused(&report),
        "needs 3 tables; the limit is 1 (`plugins.limits.tables`)"
    );
    let report = host.load_file(file(&two_memories).path()).await;
    assert_eq!(
        refused(&report),
        "needs 2 memories; the limit is 1 (`plugins.limits.memories`)"
    );
}

#[tokio::test]
async fn limits_of_today_hold_for_a_plugin_in_the_cache() {
    let mut guest = Raw::check("(i32.const 8192)");
    guest.pages = 17;
    let guest = guest.file();
    let cache = tempfile::tempdir().unwrap();
    let load = async |limits| {
        let settings = PluginSettings {
            cache: Some(cache.path().join("cache")),
            ..limited(limits)
        };
        let report = PluginHost::new(settings).unwrap().load_file(guest.path()).await;
        report.failure().map(ToString::to_string)
    };
    assert_eq!(load(RunLimits::default()).await, None);
    let instances = RunLimits {
        instances: 1,
        ..RunLimits::default()
    };
    let why = load(instances).await.unwrap();
    assert!(
        why.starts_with("needs ") && why.ends_with(" instances; the limit is 1 (`plugins.limits.instances`)"),
        "{why}"
    );
    let memory = RunLimits {
        memory_mib: 1,
        ..RunLimits::default()
    };
    assert_eq!(
        load(memory).await.unwrap(),
        "needs 2 MiB of memory at the start; the limit is 1 MiB (`plugins.limits.memory_mib`)"
    );
}

#[tokio::test]
async fn unequal_memories_are_summed() {
    let refusal = async |small: u32| {
        let inside = format!(
            "(core module $large (memory 10)) (core module $small (memory {small}))
             (core instance (instantiate $large)) (core instance (instantiate $small))"
        );
        let settings = limited(RunLimits {
            memory_mib: 1,
            ..RunLimits::default()
        });
        let report = PluginHost::new(settings).unwrap();
        let report = report.load_file(wasm(&checker(&inside)).path()).await;
        refused(&report).to_owned()
    };
    let why = refusal(6).await;
    assert!(!why.starts_with("needs"), "twice the larger is no sum: {why}");
    let why = refusal(7).await;
    assert!(why.starts_with("needs 2 MiB"), "{why}");
}

#[tokio::test]
async fn a_failure_after_a_refused_growth_is_the_limits() {
    // The status lies 8 bytes behind the answer's tag: 0 up, 2 down.
    for (check, limit) in [
        (
            "(drop (memory.grow (i32.const 2000))) (i32.store8 (i32.const 8200) (i32.const 2)) (i32.const 8192)",
            Some("memory limit (`limits.memory_mib`)"),
        ),
        (
            "(drop (memory.grow (i32.const 2000))) (i32.store8 (i32.const 8192) (i32.const 1)) (i32.const 8192)",
            Some("memory limit (`limits.memory_mib`)"),
        ),
        (
            "(drop (table.grow (ref.null func) (i32.const 20001))) (i32.store8 (i32.const 8200) (i32.const 2))
             (i32.const 8192)",
            Some("table limit (`limits.table_elements`)"),
        ),
        ("(drop (memory.grow (i32.const 2000))) (i32.const 8192)", None),
    ] {
        let mut guest = Raw::check(check);
        guest.items = "(table 1 funcref)";
        let seen = Bench::of(guest.file().path(), small()).await.run("{}", PLENTY).await;
        match limit {
            Some(limit) => assert_eq!(
                unknown(seen),
                (Reason::PluginLimit, format!("the plugin went past its {limit}")),
                "{check}"
            ),
            None => assert_eq!(seen.unwrap().status, Status::Up, "who copes may go on"),
        }
    }
}

#[tokio::test]
async fn a_deep_stack_needs_a_large_one() {
    let mut deep = Raw::check("(drop (call $deep (i32.const 12000))) (i32.const 8192)");
    deep.items = "(func $deep (param i32) (result i32)
        (if (result i32) (local.get 0)
          (then (i32.add (local.get 0) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
          (else (i32.const 0))))";
    let file = deep.file();
    let run = async |stack_kib| {
        let settings = limited(RunLimits {
            stack_kib,
            ..RunLimits::default()
        });
        Bench::of(file.path(), settings).await.run("{}", PLENTY).await
    };
    assert_eq!(run(1024).await.unwrap().status, Status::Up);
    assert_eq!(
        unknown(run(64).await),
        (
            Reason::PluginLimit,
            "the plugin went past its stack limit (`limits.stack_kib`)".to_owned()
        )
    );
}

#[tokio::test]
async fn what_wasi_keeps_for_a_guest_is_limited() {
    let limits = RunLimits {
        host_resources: 100,
        random_kib: 1,
        ..RunLimits::default()
    };
    let bench = Bench::with("hoarder", limited(limits)).await;
    for (of, within, past, name) in [
        (
            "timers",
            40,
            110,
            "host resources limit (`limits.host_resources`)",
        ),
        ("random", 1024, 1025, "random bytes limit (`limits.random_kib`)"),
    ] {
        let run = async |count: u32| {
            bench
                .run(&format!(r#"{{"of":"{of}","count":{count}}}"#), PLENTY)
                .await
        };
        assert_eq!(run(within).await.unwrap().status, Status::Up, "{of}");
        let (reason, message) = unknown(run(past).await);
        assert_eq!(
            (reason, message),
            (Reason::PluginLimit, format!("the plugin went past its {name}"))
        );
    }
}

#[tokio::test]
async fn output_is_kept_as_far_as_it_may() {
    let told = async |output_kib| {
        let settings = limited(RunLimits {
            output_kib,
            ..RunLimits::default()
        });
        let bench = Bench::with("panicking", settings).await;
        unknown(bench.run("{}", PLENTY).await)
            .1
            .contains("the panicking fixture panics")
    };
    assert!(told(1).await);
    assert!(!told(0).await);
}

#[tokio::test]
async fn a_large_file_is_refused() {
    let host = PluginHost::new(PluginSettings {
        file_mib: 1,
        ..small()
    })
    .unwrap();
    let report = host.load_file(file(&vec![0; (1 << 20) + 1]).path()).await;
    assert_eq!(refused(&report), "larger than 1 MiB (`plugins.file_mib`)");
}

/// Starts so many sleepers of a kind, and waits until all have a place or wait for one.
async fn sleepers(bench: &Bench, registry: &Registry, kind: &str, count: usize) -> JoinSet<bool> {
    let mut sleeping = JoinSet::new();
    for _ in 0..count {
        let executor = registry.executor(kind).unwrap().clone();
        sleeping.spawn(async move {
            let cx = context(PLENTY);
            executor.execute(r#"{"sleep_ms":600}"#, &cx).await.is_ok()
        });
    }
    crate::support::eventually("all are there", async || {
        let usage = bench.host.usage();
        usage.slots_used + usage.waiting == count as u64
    })
    .await;
    sleeping
}

#[tokio::test]
async fn one_plugin_does_not_take_every_slot() {
    let settings = PluginSettings {
        concurrent_runs: 3,
        concurrent_runs_per_plugin: 2,
        ..small()
    };
    let bench = Bench::with("sleep_then_up", settings).await;
    let mut registry = bench.registry.clone();
    let other = add(&bench.host, &mut registry, &fixture("echo")).await;
    let sleeping = sleepers(&bench, &registry, &bench.kind, 3).await;
    let usage = bench.host.usage();
    assert_eq!((usage.slots_used, usage.slots_total, usage.waiting), (2, 3, 1));
    crate::support::eventually("both run", async || bench.host.usage().live_stores == 2).await;
    let (reason, message) = unknown(bench.run(r#"{"sleep_ms":1}"#, Duration::from_millis(100)).await);
    assert_eq!(reason, Reason::LimitHit);
    assert!(
        message.contains("plugins.concurrent_runs_per_plugin"),
        "{message}"
    );
    let cx = context(PLENTY);
    let seen = registry.executor(&other).unwrap().execute("{}", &cx).await;
    assert_eq!(seen.unwrap().status, Status::Up, "another plugin has its place");
    assert!(sleeping.join_all().await.into_iter().all(|well| well));
    at_rest(&bench.host).await;
}

#[tokio::test]
async fn memory_that_other_runs_have_is_nobodys_fault() {
    let settings = PluginSettings {
        total_memory_mib: 8,
        ..small()
    };
    let bench = Bench::with("eat_memory", settings).await;
    for _ in 0..10 {
        let (reason, message) = unknown(bench.run("{}", PLENTY).await);
        assert_eq!(
            (reason, &*message),
            (
                Reason::LimitHit,
                "other runs have the memory of all runs (`plugins.total_memory_mib`)"
            ),
            "no fault, or the kind would rest by now"
        );
    }
    at_rest(&bench.host).await;
}

#[tokio::test]
async fn heavy_plugins_wait_for_each_other() {
    let settings = PluginSettings {
        concurrent_heavy_runs: 1,
        ..small()
    };
    // 80 pages are 5 MiB; light ones start with one.
    let mut heavy = Raw::check("(loop $again (br $again)) (unreachable)");
    heavy.items = "";
    let light = heavy.file();
    heavy.pages = 80;
    let heavy = heavy.file();
    let budget = Duration::from_millis(400);
    for (path, waits) in [(heavy.path(), true), (light.path(), false)] {
        let bench = Bench::of(path, settings.clone()).await;
        let mut runs = JoinSet::new();
        for _ in 0..2 {
            let executor = bench.executor().clone();
            runs.spawn(async move { unknown(executor.execute("{}", &context(budget)).await) });
        }
        let ended = runs.join_all().await;
        let waited = ended
            .iter()
            .any(|(_, message)| message.contains("plugins.concurrent_heavy_runs"));
        assert_eq!(waited, waits, "{ended:?}");
        at_rest(&bench.host).await;
    }
}
