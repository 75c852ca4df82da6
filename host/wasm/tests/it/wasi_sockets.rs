//! WASI's own sockets, as `std::net` uses them: names, connections and datagrams within the run's rights and quotas.

use crate::support::{Bench, PLENTY, context, eventually, fixture, run, small, unknown};
use lapwing_checks::{
    Net, ProbeContext,
    net::{EgressPolicy, policy::Rule},
};
use lapwing_model::{Observation, Reason, Status};
use lapwing_wasm::{PluginHost, PluginSettings, RunLimits, TrialOptions};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, UdpSocket},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

/// Gives back what it hears once the peer has said everything, or never says a word; counts connections made and connections still open.
struct Echo {
    port: u16,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Echo {
    async fn start(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo = Self {
            port: listener.local_addr().unwrap().port(),
            accepted: Arc::default(),
            open: Arc::default(),
        };
        let (accepted, open) = (echo.accepted.clone(), echo.open.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                accepted.fetch_add(1, SeqCst);
                open.fetch_add(1, SeqCst);
                let open = open.clone();
                tokio::spawn(async move {
                    let mut heard = Vec::new();
                    // A guest may be gone by then.
                    let _ = stream.read_to_end(&mut heard).await;
                    if !answers {
                        std::future::pending::<()>().await;
                    }
                    let _ = stream.write_all(&heard).await;
                    open.fetch_sub(1, SeqCst);
                });
            }
        });
        echo
    }

    fn tcp(&self, more: &Value) -> String {
        with(
            json!({ "do": "tcp", "to": format!("127.0.0.1:{}", self.port), "say": "hello" }),
            more,
        )
    }
}

fn with(mut config: Value, more: &Value) -> String {
    let map = config.as_object_mut().unwrap();
    map.extend(more.as_object().unwrap().clone());
    config.to_string()
}

fn denying(rules: &str) -> ProbeContext {
    ProbeContext {
        net: Net::new(EgressPolicy {
            deny: rules
                .split(' ')
                .map(|rule| rule.parse::<Rule>().unwrap())
                .collect(),
            ..EgressPolicy::default()
        }),
        ..context(PLENTY)
    }
}

fn limited(limits: RunLimits) -> PluginSettings {
    PluginSettings { limits, ..small() }
}

fn claim(seen: &Observation) -> &str {
    seen.details.as_ref().unwrap()["plugin"]["message"]
        .as_str()
        .unwrap()
}

#[tokio::test]
async fn an_unmodified_program_speaks_with_its_peer() {
    let echo = Echo::start(true).await;
    let bench = Bench::new("wasi_net").await;
    for to in ["127.0.0.1", "localhost"] {
        let config = echo.tcp(&json!({ "to": format!("{to}:{}", echo.port) }));
        let seen = bench.run(&config, PLENTY).await.unwrap();
        assert_eq!(seen.status, Status::Up, "{seen:?}");
        assert_eq!(seen.message, format!("127.0.0.1:{}: hello", echo.port));
        let phases: Vec<_> = seen.phases.iter().map(|phase| phase.name.as_str()).collect();
        assert!(phases.contains(&"connect"), "{phases:?}");
        assert_eq!(phases.contains(&"resolve"), to == "localhost", "{phases:?}");
    }
    let seen = bench
        .run(&echo.tcp(&json!({ "flood": 1 << 20 })), PLENTY)
        .await
        .unwrap();
    assert_eq!(seen.message, format!("127.0.0.1:{}: 1048581 bytes", echo.port));
    eventually("all connections are closed", async || echo.open.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn datagrams_go_to_a_peer_and_come_from_it() {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = peer.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut datagram = [0; 100];
        while let Ok((length, from)) = peer.recv_from(&mut datagram).await {
            stranger.send_to(b"spoofed", from).await.unwrap();
            peer.send_to(&datagram[..length], from).await.unwrap();
        }
    });
    let bench = Bench::new("wasi_net").await;
    for connected in [true, false] {
        let config = json!({ "do": "udp", "to": to, "say": "ping", "connected": connected });
        let seen = bench.run(&config.to_string(), PLENTY).await.unwrap();
        assert_eq!(
            (seen.status, seen.message.as_str()),
            (Status::Up, "ping"),
            "{seen:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_write_neither_wakes_a_guest_nor_costs_it_anything() {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = peer.local_addr().unwrap().to_string();
    // The peer is silent; another socket of its machine writes as fast as it can.
    let flood = AbortOnDropHandle::new(tokio::spawn(async move {
        let (_, guest) = peer.recv_from(&mut [0; 100]).await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        loop {
            let _ = stranger.send_to(&[7; 1000], guest).await;
            tokio::task::yield_now().await;
        }
    }));
    let bench = Bench::with(
        "wasi_net",
        limited(RunLimits {
            cpu_ms: 30,
            ..RunLimits::default()
        }),
    )
    .await;
    let config = json!({ "do": "udp", "to": to, "say": "ping" });
    let seen = bench.run(&config.to_string(), Duration::from_secs(1)).await;
    drop(flood);
    let seen = seen.unwrap();
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Down, Some(Reason::ResponseTimeout)),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_refuses_datagrams() {
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = free.local_addr().unwrap().to_string();
    drop(free);
    let config = json!({ "do": "udp", "to": to, "say": "ping", "connected": true });
    let seen = run("wasi_net", &config.to_string(), PLENTY).await.unwrap();
    assert!(seen.message.starts_with("ConnectionRefused"), "{seen:?}");
}

#[tokio::test]
async fn what_no_socket_can_do_is_no_outage() {
    let bench = Bench::new("wasi_net").await;
    for config in [
        json!({ "do": "tcp", "to": "[::ffff:127.0.0.1]:9" }),
        json!({ "do": "tcp", "to": "127.0.0.1:0" }),
        json!({ "do": "tcp", "to": "0.0.0.0:9" }),
        json!({ "do": "udp", "to": "127.0.0.1:9", "say": "x".repeat(70_000) }),
        json!({ "do": "udp", "to": "127.0.0.1:9", "say": "x".repeat(65_520), "connected": true }),
        json!({ "do": "udp", "to": "127.0.0.1:0", "say": "x" }),
    ] {
        let seen = bench.run(&config.to_string(), PLENTY).await;
        assert_eq!(unknown(seen).0, Reason::InvalidConfig, "{}", config["to"]);
    }
}

#[tokio::test]
async fn a_refused_peer_is_no_outage_and_gets_no_packet() {
    let echo = Echo::start(true).await;
    let bench = Bench::new("wasi_net").await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let datagram = udp.local_addr().unwrap().to_string();
    let port = echo.port;
    for (rule, config) in [
        ("127.0.0.0/8", echo.tcp(&json!({}))),
        (
            "127.0.0.0/8 ::1",
            echo.tcp(&json!({ "to": format!("localhost:{port}") })),
        ),
        (
            "127.0.0.0/8",
            echo.tcp(&json!({ "to": format!("[::ffff:127.0.0.1]:{port}") })),
        ),
        (
            "localhost",
            echo.tcp(&json!({ "to": format!("localhost:{port}") })),
        ),
        (
            "127.0.0.0/8",
            json!({ "do": "udp", "to": datagram, "say": "x" }).to_string(),
        ),
        (
            "127.0.0.0/8",
            json!({ "do": "udp", "to": datagram, "say": "x", "connected": true }).to_string(),
        ),
    ] {
        let seen = bench.executor().execute(&config, &denying(rule)).await.unwrap();
        if config.contains("ffff") {
            // No socket of either family has such a peer.
            assert_ne!(seen.status, Status::Up, "{config}: {seen:?}");
            continue;
        }
        assert_eq!(
            (seen.status, seen.reason.as_ref()),
            (Status::Unknown, Some(&Reason::DeniedByPolicy)),
            "{config}: {seen:?}"
        );
        assert!(seen.message.contains("network.deny"), "{}", seen.message);
        assert!(!claim(&seen).is_empty());
    }
    assert_eq!(echo.accepted.load(SeqCst), 0);
    let mut nothing = [0; 10];
    assert!(udp.try_recv(&mut nothing).is_err());
}

/// The calls of a trial run, each with its target, what came of it, and whether it failed.
async fn traced(config: &str) -> Vec<(&'static str, String, String, bool)> {
    let host = PluginHost::new(small()).unwrap();
    let report = host.load_file(fixture("wasi_net")).await;
    let plugin = report.plugin().unwrap();
    let trial = plugin
        .trial(
            "fixture-wasi-net",
            config,
            &context(PLENTY),
            TrialOptions::default(),
        )
        .await
        .unwrap();
    assert!(
        trial.calls.iter().all(|call| call.elapsed_us.is_some()),
        "{trial:?}"
    );
    let calls = trial.calls.into_iter();
    calls
        .map(|call| (call.call, call.detail, call.outcome, call.failed))
        .collect()
}

#[tokio::test]
async fn a_trial_run_tells_each_call() {
    let echo = Echo::start(true).await;
    let peer = format!("127.0.0.1:{}", echo.port);
    let calls = traced(&echo.tcp(&json!({ "name": "localhost" }))).await;
    let names: Vec<_> = calls.iter().map(|(name, ..)| *name).collect();
    assert_eq!(
        names,
        [
            "wasi-sockets.resolve",
            "wasi-sockets.connect",
            "wasi-sockets.write",
            "wasi-sockets.read"
        ],
        "{calls:?}"
    );
    assert_eq!((&*calls[0].1, calls[0].3), ("localhost", false));
    assert!(calls[0].2.contains("127.0.0.1"), "{calls:?}");
    assert_eq!((&*calls[1].1, calls[1].3), (&*peer, false));
    assert_eq!((&*calls[2].2, &*calls[3].2), ("5 bytes", "5 bytes"));

    // The name is its target; the place is not.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stranger = closed.local_addr().unwrap();
    drop(closed);
    let config = json!({ "do": "udp", "to": peer, "say": "x", "then": stranger.to_string() }).to_string();
    let calls = traced(&config).await;
    let refused = calls.last().unwrap();
    assert_eq!(
        (refused.0, &*refused.1, refused.3),
        ("wasi-sockets.send", &*stranger.to_string(), true)
    );
    assert!(
        refused.2.contains("plugins.grants.fixture-wasi-net.hosts"),
        "{calls:?}"
    );
    let closed = json!({ "do": "tcp", "to": stranger.to_string() }).to_string();
    let failed = traced(&closed).await;
    assert_eq!(
        (failed[0].0, failed[0].3),
        ("wasi-sockets.connect", true),
        "{failed:?}"
    );
    assert!(failed[0].2.contains("refused"), "{failed:?}");
}

#[tokio::test]
async fn a_datagram_to_one_peer_is_no_right_to_write_to_another() {
    let (friend, other) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        UdpSocket::bind("127.0.0.2:0").await.unwrap(),
    );
    let config = json!({
        "do": "udp",
        "to": friend.local_addr().unwrap().to_string(),
        "then": other.local_addr().unwrap().to_string(),
        "say": "x",
    });
    let bench = Bench::new("wasi_net").await;
    let denied = denying("127.0.0.2");
    let seen = bench
        .executor()
        .execute(&config.to_string(), &denied)
        .await
        .unwrap();
    assert_eq!(seen.reason, Some(Reason::DeniedByPolicy), "{seen:?}");
    let mut heard = [0; 10];
    assert_eq!(friend.recv(&mut heard).await.unwrap(), 1);
    assert!(other.try_recv(&mut heard).is_err());
}

#[tokio::test]
async fn what_one_run_looked_up_is_nothing_to_another() {
    let echo = Echo::start(true).await;
    let bench = Bench::new("wasi_net").await;
    // Only under its name may the address be reached.
    let named = || ProbeContext {
        net: Net::new(EgressPolicy {
            mode: lapwing_checks::net::policy::Mode::PublicOnly,
            allow: vec!["localhost".parse().unwrap()],
            deny: Vec::new(),
        }),
        ..context(PLENTY)
    };
    let literal = echo.tcp(&json!({}));
    let looked_up = echo.tcp(&json!({ "name": "localhost" }));
    let refused = async |config: &str| {
        let seen = bench.executor().execute(config, &named()).await.unwrap();
        assert_eq!(seen.reason, Some(Reason::DeniedByPolicy), "{config}: {seen:?}");
    };
    refused(&literal).await;
    let seen = bench.executor().execute(&looked_up, &named()).await.unwrap();
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    refused(&literal).await;
    assert_eq!(echo.accepted.load(SeqCst), 1);
}

#[tokio::test]
async fn nobody_serves() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let bench = Bench::new("wasi_net").await;
    for config in [r#"{"do":"listen"}"#, r#"{"do":"bind-udp"}"#] {
        let (reason, message) = unknown(bench.run(config, PLENTY).await);
        assert_eq!(reason, Reason::DeniedByPolicy, "{config}: {message}");
        assert!(message.contains("plugins do not"), "{config}: {message}");
    }
    let config = json!({ "misuse": { "listen": { "port": port } } }).to_string();
    let seen = run("wasi_misuse", &config, PLENTY).await.unwrap();
    assert_eq!(seen.reason, Some(Reason::DeniedByPolicy), "{seen:?}");
    assert_eq!(claim(&seen), "access-denied access-denied invalid-state");
    TcpListener::bind(("127.0.0.1", port)).await.unwrap();
}

#[tokio::test]
async fn a_target_that_hangs_is_down_with_its_phase() {
    let silent = Echo::start(false).await;
    let bench = Bench::new("wasi_net").await;
    let begun = Instant::now();
    let seen = bench
        .run(&silent.tcp(&json!({})), Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Down, Some(Reason::ResponseTimeout)),
        "{}",
        seen.message
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    // A listener whose queue is full does not answer a connection (Linux drops the SYN).
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        waiting.push(tokio::spawn(socket.connect(address)));
    }
    eventually("the queue is full", async || {
        waiting
            .iter()
            .filter(|connection| connection.is_finished())
            .count()
            >= 1
    })
    .await;
    let config = json!({ "do": "tcp", "to": address.to_string() }).to_string();
    let seen = bench.run(&config, Duration::from_millis(700)).await.unwrap();
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Down, Some(Reason::ConnectionTimeout)),
        "{}",
        seen.message
    );
    let own = json!({ "do": "tcp", "to": address.to_string(), "timeout_ms": 200 }).to_string();
    let seen = bench.run(&own, PLENTY).await.unwrap();
    assert_eq!(seen.status, Status::Down);
    assert!(seen.message.starts_with("TimedOut"), "{}", seen.message);
}

#[tokio::test]
async fn a_guest_that_sleeps_on_its_connection_is_no_outage() {
    let silent = Echo::start(false).await;
    let probed = Bench::new("wasi_net")
        .await
        .run(
            &silent.tcp(&json!({ "sleep_ms": 60_000 })),
            Duration::from_secs(1),
        )
        .await;
    assert_eq!(unknown(probed).0, Reason::PluginTimeout);
}

#[tokio::test]
async fn a_refused_connection_is_what_the_guest_says() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = free.local_addr().unwrap().to_string();
    drop(free);
    let config = json!({ "do": "tcp", "to": to }).to_string();
    let seen = run("wasi_net", &config, PLENTY).await.unwrap();
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Down, Some(Reason::ConnectionRefused))
    );
    assert!(seen.message.starts_with("ConnectionRefused"), "{}", seen.message);
}

#[tokio::test]
async fn quotas_hold_for_sockets_connections_questions_and_bytes() {
    let echo = Echo::start(true).await;
    let to = format!("127.0.0.1:{}", echo.port);
    let limits = RunLimits {
        open_sockets: 4,
        connects: 6,
        dns_queries: 3,
        network_kib: 64,
        ..RunLimits::default()
    };
    let bench = Bench::with("wasi_net", limited(limits)).await;
    for (config, limit) in [
        (
            json!({ "do": "many", "to": to, "count": 5 }),
            "limits.open_sockets",
        ),
        (
            json!({ "do": "look-up", "name": "localhost", "count": 4 }),
            "limits.dns_queries",
        ),
        (
            json!({ "do": "tcp", "to": to, "flood": 100_000 }),
            "limits.network_kib",
        ),
        // Half out, and too much back.
        (
            json!({ "do": "tcp", "to": to, "flood": 40_000 }),
            "limits.network_kib",
        ),
    ] {
        let (reason, message) = unknown(bench.run(&config.to_string(), PLENTY).await);
        assert_eq!(reason, Reason::LimitHit, "{config}: {message}");
        assert!(message.contains(limit), "{config}: {message}");
    }
    let limits = RunLimits {
        open_sockets: 100,
        ..limits
    };
    let bench = Bench::with("wasi_net", limited(limits)).await;
    let config = json!({ "do": "many", "to": to, "count": 7 }).to_string();
    let (reason, message) = unknown(bench.run(&config, PLENTY).await);
    assert_eq!(reason, Reason::LimitHit, "{message}");
    assert!(message.contains("limits.connects"), "{message}");
    eventually("all connections are closed", async || echo.open.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn misuse_of_wasi_ends_the_run_and_nothing_else() {
    for (misuse, reason) in [
        (json!("random"), Reason::PluginLimit),
        (json!("pollables"), Reason::PluginLimit),
        // Each place in the list is a handle.
        (json!("long-list"), Reason::PluginLimit),
        (json!("zeros"), Reason::PluginTrap),
        (json!({ "exit": 0 }), Reason::PluginTrap),
        (json!({ "exit": 1 }), Reason::PluginTrap),
    ] {
        let bench = Bench::new("wasi_misuse").await;
        let config = json!({ "misuse": misuse }).to_string();
        let (found, message) = unknown(bench.run(&config, PLENTY).await);
        assert_eq!(found, reason, "{misuse}: {message}");
    }
}

#[tokio::test]
async fn the_host_keeps_no_request_that_nobody_would_send() {
    let bench = Bench::new("wasi_misuse").await;
    let taken = async |bytes: u32| {
        let config = json!({ "misuse": { "long-request": bytes } }).to_string();
        bench.run(&config, PLENTY).await.unwrap().message
    };
    assert_eq!(taken(64).await, "[true, true, true]");
    assert_eq!(taken(1024).await, "[false, true, true]");
    assert_eq!(taken(16_383).await, "[false, false, true]");
    assert_eq!(taken(16_384).await, "[false, false, false]");
}

#[tokio::test]
async fn a_peer_that_leaves_bytes_lying_does_not_hold_up_who_let_go_of_them() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf = socket.listen(1).unwrap();
    let port = deaf.local_addr().unwrap().port();
    let bench = Bench::new("wasi_misuse").await;
    let config = json!({ "misuse": { "drop-unsent": { "port": port } }, "host": "127.0.0.1" }).to_string();
    let seen = bench.run(&config, PLENTY).await.unwrap();
    assert_eq!((seen.status, seen.message.as_str()), (Status::Up, "let go"));
}

#[tokio::test]
async fn sockets_keep_the_order_of_things() {
    let echo = Echo::start(true).await;
    let bench = Bench::new("wasi_misuse").await;
    let up = async |misuse: Value| {
        let config = json!({ "misuse": misuse, "host": "127.0.0.1" }).to_string();
        bench.run(&config, PLENTY).await.unwrap().message
    };
    assert_eq!(up(json!("finish-unbegun")).await, "not-in-progress");
    let twice = up(json!({ "connect-twice": { "port": echo.port } })).await;
    assert_eq!(twice, "ok concurrency-conflict ok invalid-state");
    let early = json!({ "drop-early": { "port": echo.port } });
    // The schema's default is no leave to go there.
    let config = json!({ "misuse": { "connect-twice": { "port": echo.port } } }).to_string();
    let seen = bench.run(&config, PLENTY).await.unwrap();
    assert!(
        seen.message.starts_with("access-denied access-denied "),
        "{seen:?}"
    );
    let config = json!({ "misuse": early, "host": "127.0.0.1" }).to_string();
    assert_eq!(unknown(bench.run(&config, PLENTY).await).0, Reason::PluginTrap);
}
