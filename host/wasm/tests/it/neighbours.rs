//! Native work beside busy guests.

use crate::support::{Bench, PLENTY, context, small};
use lapwing_checks::{
    Net,
    net::{EgressPolicy, IpFamily},
};
use lapwing_wasm::{PluginSettings, RunLimits};
use std::time::Duration;
use tokio::{net::TcpListener, task::JoinSet, time::Instant};

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
            ..small()
        },
    )
    .await;
    let mut spinning = JoinSet::new();
    for _ in 0..8 {
        let executor = bench.executor().clone();
        spinning.spawn(async move { executor.execute("{}", &context(PLENTY)).await });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let beside = connect_p99(&net, port).await;
    assert_eq!(spinning.len(), 8);
    assert!(
        spinning.try_join_next().is_none(),
        "the guests were spinning all the while"
    );
    // A guest on a thread of native work would hold it for a tick (5 ms) at a time; more than one share of the
    // processors is the operating system's to give.
    assert!(
        beside < alone * 2 + Duration::from_millis(20),
        "alone {alone:?}, beside {beside:?}"
    );
}
