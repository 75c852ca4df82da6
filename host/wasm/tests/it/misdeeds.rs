//! Misbehaving guests: each ends as `unknown` with its own reason, in time.

use crate::support::{Bench, PLENTY, run, small, unknown};
use lapwing_model::{Reason, Status};
use lapwing_wasm::{PluginSettings, RunLimits};
use std::time::{Duration, Instant};

fn limited(limits: RunLimits) -> PluginSettings {
    PluginSettings { limits, ..small() }
}

#[tokio::test]
async fn a_busy_loop_ends_with_its_processor_time() {
    let limits = RunLimits {
        cpu_ms: 100,
        ..RunLimits::default()
    };
    let begun = Instant::now();
    let bench = Bench::with("spin", limited(limits)).await;
    let (reason, message) = unknown(bench.run("{}", PLENTY).await);
    assert_eq!(reason, Reason::PluginTimeout);
    assert!(message.contains("limits.cpu_ms"), "{message}");
    assert!(begun.elapsed() < PLENTY / 2, "long before the budget");
}

#[tokio::test]
async fn a_busy_loop_ends_with_its_budget() {
    let bench = Bench::new("spin").await;
    let budget = Duration::from_millis(300);
    let begun = Instant::now();
    let (reason, message) = unknown(bench.run("{}", budget).await);
    let took = begun.elapsed();
    assert_eq!(reason, Reason::PluginTimeout);
    assert!(message.contains("budget"), "{message}");
    assert!(
        took + Duration::from_millis(20) >= budget && took < budget * 10,
        "{took:?}"
    );
}

#[tokio::test]
async fn a_guest_asleep_past_its_budget_is_a_plugin_timeout() {
    let bench = Bench::new("sleep_then_up").await;
    let begun = Instant::now();
    let (reason, _) = unknown(
        bench
            .run(r#"{"sleep_ms":20000}"#, Duration::from_millis(200))
            .await,
    );
    assert_eq!(reason, Reason::PluginTimeout);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let awake = bench.run(r#"{"sleep_ms":10}"#, PLENTY).await.unwrap();
    assert_eq!((awake.status, awake.message.as_str()), (Status::Up, "slept"));
}

#[tokio::test]
async fn memory_is_limited() {
    let (reason, message) = unknown(run("eat_memory", "{}", PLENTY).await);
    assert_eq!(
        (reason, message.as_str()),
        (
            Reason::PluginLimit,
            "the plugin went past its memory limit (`limits.memory_mib`)"
        )
    );
}

#[tokio::test]
async fn traps_are_told_with_their_cause() {
    for (name, cause) in [
        ("trap", "unreachable"),
        ("panicking", "the panicking fixture panics"),
        ("exit", "it called `exit(0)`"),
    ] {
        let (reason, message) = unknown(run(name, "{}", PLENTY).await);
        assert_eq!(reason, Reason::PluginTrap, "{name}: {message}");
        assert!(message.contains(cause), "{name}: {message}");
    }
}

#[tokio::test]
async fn endless_recursion_ends_the_run_only() {
    let (reason, message) = unknown(run("stack_overflow", "{}", PLENTY).await);
    // Rust keeps a stack of its own in memory: whichever of the two overflows first, tells.
    assert!(
        matches!(reason, Reason::PluginTrap | Reason::PluginLimit),
        "{reason}: {message}"
    );
}

#[tokio::test]
async fn a_huge_answer_is_a_limit() {
    let limits = RunLimits {
        hostcall_kib: 1024,
        ..RunLimits::default()
    };
    let bench = Bench::with("flood_output", limited(limits)).await;
    let (reason, message) = unknown(bench.run("{}", PLENTY).await);
    assert_eq!(
        (reason, message.as_str()),
        (
            Reason::PluginLimit,
            "the plugin went past its hostcall bytes limit (`limits.hostcall_kib`)"
        )
    );
}

#[tokio::test]
async fn a_large_answer_within_the_limit_is_cut() {
    let up = run("flood_output", "{}", PLENTY).await.unwrap();
    assert_eq!(up.status, Status::Up);
    assert_eq!(up.message.chars().count(), 1025);
}

#[tokio::test]
async fn a_flood_of_output_is_no_fault() {
    let up = run("flood_stderr", "{}", PLENTY).await.unwrap();
    assert_eq!((up.status, up.message.as_str()), (Status::Up, "wrote a lot"));
}

#[tokio::test]
async fn a_flood_of_log_is_no_fault_and_what_was_lost_is_counted() {
    let lost = async |log_kib| {
        let limits = RunLimits {
            log_kib,
            cpu_ms: 20_000,
            ..RunLimits::default()
        };
        let up = Bench::with("flood_log", limited(limits))
            .await
            .run("{}", PLENTY)
            .await
            .unwrap();
        assert_eq!((up.status, up.message.as_str()), (Status::Up, "said a lot"));
        let note = up.attributes["plugin.dropped"][0].as_str().unwrap().to_owned();
        note.strip_prefix("log: ")
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    assert_eq!(lost(0).await, 100_001);
    let some = lost(64).await;
    assert!(some > 98_000 && some < 100_000, "{some}");
}

#[tokio::test]
async fn handles_are_limited() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        r#"{{"host":"127.0.0.1","port":{}}}"#,
        listener.local_addr().unwrap().port()
    );
    let limits = RunLimits {
        handles: 10,
        open_sockets: 100,
        connects: 100,
        ..RunLimits::default()
    };
    let bench = Bench::with("flood_handles", limited(limits)).await;
    let (reason, message) = unknown(bench.run(&config, PLENTY).await);
    assert_eq!(
        (reason, message.as_str()),
        (
            Reason::PluginLimit,
            "the plugin went past its handles limit (`limits.handles`)"
        )
    );
}

#[tokio::test]
async fn a_wild_outcome_is_made_fit() {
    let up = run("wild_outcome", "{}", PLENTY).await.unwrap();
    assert_eq!(up.message, "red  second line");
    assert_eq!((up.latency, up.phases.len(), up.details), (None, 0, None));
    assert_eq!(
        up.metrics
            .iter()
            .map(|metric| metric.name.as_str())
            .collect::<Vec<_>>(),
        ["fine"]
    );
    assert_eq!(up.attributes["ab"], "cd");
    assert!(
        up.attributes.contains_key("plugin.dropped"),
        "{:?}",
        up.attributes
    );
}

#[tokio::test]
async fn a_sandbox_shows_nothing() {
    let seen = run("nosy", "{}", PLENTY).await.unwrap();
    assert_eq!(seen.message, "nothing to see");
}

#[tokio::test]
async fn errors_of_a_plugin_keep_their_meaning() {
    for (name, reason, part) in [
        ("invalid_config", Reason::InvalidConfig, "exclude each other"),
        (
            "internal_error",
            Reason::PluginError,
            "the flux is not compensated",
        ),
        (
            "retryable",
            Reason::PluginError,
            "attempt 2 met a passing trouble",
        ),
    ] {
        let (found, message) = unknown(run(name, "{}", PLENTY).await);
        assert_eq!(found, reason, "{name}");
        assert!(message.contains(part), "{name}: {message}");
    }
}
