//! Guests on the network: what is refused is never an outage, and what hangs is told with its phase.

use crate::support::{Bench, PLENTY, context, eventually, run, small, unknown};
use lapwing_checks::CheckError;
use lapwing_model::{Reason, Status};
use lapwing_wasm::{PluginSettings, RunLimits};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::TcpListener, time::Instant};

/// A server that accepts and never says a word; counts connections made and connections still open.
struct Silent {
    port: u16,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = Self {
            port: listener.local_addr().unwrap().port(),
            accepted: Arc::default(),
            open: Arc::default(),
        };
        let (accepted, open) = (silent.accepted.clone(), silent.open.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                accepted.fetch_add(1, SeqCst);
                open.fetch_add(1, SeqCst);
                let open = open.clone();
                tokio::spawn(async move {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                    open.fetch_sub(1, SeqCst);
                });
            }
        });
        silent
    }

    fn config(&self) -> String {
        format!(r#"{{"host":"127.0.0.1","port":{}}}"#, self.port)
    }
}

#[tokio::test]
async fn a_target_that_never_answers_is_down_with_its_phase() {
    let silent = Silent::start().await;
    let bench = Bench::new("slow_target").await;
    let budget = Duration::from_secs(2);
    let begun = Instant::now();
    let seen = bench.run(&silent.config(), budget).await.unwrap();
    let took = begun.elapsed();
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Down, Some(Reason::ResponseTimeout))
    );
    assert!(took < budget * 2, "{took:?}");
    let phases: Vec<_> = seen.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(phases, ["resolve", "connect", "first_byte"]);
    assert!(seen.phases[2].elapsed > budget / 2, "{:?}", seen.phases);
    eventually("the connection is closed", async || silent.open.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn a_dropped_run_closes_its_connections() {
    let silent = Silent::start().await;
    let bench = Bench::new("slow_target").await;
    let executor = bench.executor().clone();
    let config = silent.config();
    let run = tokio::spawn(async move { executor.execute(&config, &context(PLENTY)).await });
    eventually("the guest is connected", async || silent.open.load(SeqCst) == 1).await;
    run.abort();
    eventually("the connection is closed", async || silent.open.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn a_refused_target_is_what_the_guest_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let seen = run(
        "slow_target",
        &format!(r#"{{"host":"127.0.0.1","port":{port}}}"#),
        PLENTY,
    )
    .await
    .unwrap();
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Down, Some(Reason::ConnectionRefused))
    );
}

#[tokio::test]
async fn a_denied_address_is_no_outage() {
    let metadata = r#""host":"169.254.169.254","port":80"#;
    let seen = run("dial_denied", &format!("{{{metadata}}}"), PLENTY)
        .await
        .unwrap();
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Unknown, Some(Reason::DeniedByPolicy))
    );
    assert!(seen.message.contains("169.254.169.254"), "{}", seen.message);
    assert_eq!(seen.details.unwrap()["plugin"]["status"], "down");

    let error = run("dial_denied", &format!(r#"{{{metadata},"honest":true}}"#), PLENTY)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CheckError::Denied(rule) if rule.contains("169.254.169.254")),
        "{error}"
    );
}

#[tokio::test]
async fn an_impossible_host_is_the_configurations_fault() {
    for host in ["0x7f.1", "127.1", "2130706433", "a b"] {
        let config = format!(r#"{{"host":"{host}","port":80}}"#);
        let (reason, message) = unknown(run("dial_denied", &config, PLENTY).await);
        assert_eq!(reason, Reason::InvalidConfig, "{host}: {message}");
    }
}

#[tokio::test]
async fn leaked_connections_hit_a_quota_and_are_closed() {
    let silent = Silent::start().await;
    let (reason, message) = unknown(run("flood_handles", &silent.config(), PLENTY).await);
    assert_eq!(reason, Reason::LimitHit);
    assert!(message.contains("limits.open_sockets"), "{message}");
    assert_eq!(silent.accepted.load(SeqCst), 8);
    eventually("all connections are closed", async || {
        silent.open.load(SeqCst) == 0
    })
    .await;
}

#[tokio::test]
async fn the_number_of_connections_is_limited() {
    let silent = Silent::start().await;
    let limits = RunLimits {
        open_sockets: 100,
        connects: 5,
        ..RunLimits::default()
    };
    let bench = Bench::with("flood_handles", PluginSettings { limits, ..small() }).await;
    let (reason, message) = unknown(bench.run(&silent.config(), PLENTY).await);
    assert_eq!(reason, Reason::LimitHit);
    assert!(message.contains("limits.connects"), "{message}");
    assert_eq!(silent.accepted.load(SeqCst), 5);
}
