//! Native work beside busy guests.

use crate::support::{Bench, PLENTY, add, context, fixture, small, unknown};
use lapwing_checks::{
    Net,
    net::{EgressPolicy, IpFamily},
};
use lapwing_model::Reason;
use lapwing_wasm::{PluginSettings, QuarantineSettings, RunLimits};
use std::time::Duration;
use tokio::{net::TcpListener, task::JoinSet, time::Instant};

/// Enough guests for a step of native work that queues behind them to show.
const SPINNING: u32 = 32;

/// The 99th percentile of three hundred connections, as a native check makes them.
async fn connect_p99(net: &Net, port: u16) -> Duration {
    let mut samples = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        net.connect("127.0.0.1", port, IpFamily::Any, begun + PLENTY)
            .await
            .unwrap();
        samples.push(begun.elapsed());
    }
    samples.sort();
    samples[samples.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_work_does_not_wait_for_spinning_guests() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let net = Net::new(EgressPolicy::default());
    let alone = connect_p99(&net, port).await;

    let limits = RunLimits {
        cpu_ms: 60_000,
        ..RunLimits::default()
    };
    let bench = Bench::with(
        "spin",
        PluginSettings {
            threads: 2,
            limits,
            concurrent_runs: SPINNING,
            ..small()
        },
    )
    .await;
    let mut spinning = JoinSet::new();
    for _ in 0..SPINNING {
        let executor = bench.executor().clone();
        spinning.spawn(async move { executor.execute("{}", &context(PLENTY)).await });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let beside = connect_p99(&net, port).await;
    assert!(
        spinning.try_join_next().is_none(),
        "the guests were spinning all the while"
    );
    // Guests on the two threads of native work would hold them for a tick (5 ms) each, one after the other, before every
    // step of a connection; more than one share of the processors is the operating system's to give.
    assert!(
        beside < (alone * 5).max(Duration::from_millis(100)),
        "alone {alone:?}, beside {beside:?}"
    );
}

#[tokio::test]
async fn a_guest_that_gets_no_processor_is_not_at_fault() {
    let spinning_runs = 2 * SPINNING;
    let settings = PluginSettings {
        concurrent_runs: spinning_runs + 1,
        limits: RunLimits {
            cpu_ms: 60_000,
            ..RunLimits::default()
        },
        quarantine: QuarantineSettings {
            faults: 1,
            first_ms: 60_000,
            longest_ms: 60_000,
        },
        ..small()
    };
    let bench = Bench::with("spin", settings).await;
    let mut registry = bench.registry.clone();
    let innocent = add(&bench.host, &mut registry, &fixture("echo")).await;
    let mut spinning = JoinSet::new();
    for _ in 0..spinning_runs {
        let executor = bench.executor().clone();
        spinning.spawn(async move { executor.execute("{}", &context(PLENTY)).await });
    }
    let mut starved = 0;
    for _ in 0..20 {
        let cx = context(Duration::from_millis(100));
        let run = registry.executor(&innocent).unwrap().execute("{}", &cx).await;
        if run.is_err() {
            let (reason, message) = unknown(run);
            assert_eq!(reason, Reason::LimitHit, "{message}");
            starved += u32::from(message.contains("plugins.threads"));
        }
    }
    assert!(
        starved > 0,
        "two threads served {spinning_runs} spinning guests and an innocent one"
    );
}
