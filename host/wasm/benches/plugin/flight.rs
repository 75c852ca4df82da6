//! Ten thousand runs at once: what they hold in memory while they sleep.

use crate::{context, dist};
use lapwing_checks::{Net, Registry, net::EgressPolicy};
use lapwing_model::Status;
use lapwing_wasm::PluginSettings;
use std::time::Duration;
use tokio::{task::JoinSet, time::sleep};

const RUNS: u32 = 10_000;

pub(crate) async fn measure() {
    let settings = PluginSettings {
        concurrent_runs: RUNS,
        concurrent_runs_per_plugin: RUNS,
        ..PluginSettings::default()
    };
    let host = crate::host(settings);
    let mut registry = Registry::default();
    let mut report = host.load_file(dist("fixtures/sleep_then_up.wasm")).await;
    report.register(&mut registry);
    assert_eq!(report.failure(), None);
    let executor = registry.executor(&report.kinds[0]).unwrap().clone();
    let net = Net::new(EgressPolicy::default());
    let before = resident();
    let mut runs = JoinSet::new();
    for _ in 0..RUNS {
        let (executor, cx) = (executor.clone(), context(net.clone(), 0));
        runs.spawn(async move {
            executor
                .execute(r#"{"sleep_ms":10000}"#, &cx)
                .await
                .unwrap()
                .status
        });
    }
    while host.usage().live_stores < RUNS.into() {
        assert!(
            runs.try_join_next().is_none(),
            "one is over before all have begun"
        );
        sleep(Duration::from_millis(10)).await;
    }
    let held = resident().saturating_sub(before);
    println!(
        "\n{RUNS} runs in flight: {} MiB resident, {} KiB each",
        held >> 20,
        (held >> 10) / u64::from(RUNS)
    );
    assert!(
        runs.join_all()
            .await
            .into_iter()
            .all(|status| status == Status::Up)
    );
}

/// Bytes of this process in memory, of pages of 4 KiB (proc(5)).
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
