//! Kind `tls`.

use crate::support::{
    Probe,
    certificates::{Authority, Leaf},
    paused_from, reason, registry,
    server::{Server, closed_port},
    with,
};
use jiff::Timestamp;
use lapwing_checks::ProbeContext;
use lapwing_model::{Clock, Observation, Status};
use rustls::version::TLS12;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{io::AsyncReadExt, sync::Notify, time::Instant};
use tokio_rustls::TlsAcceptor;

/// A clock that stands still.
#[derive(Debug)]
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

async fn server(acceptor: TlsAcceptor) -> Server {
    Server::raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read(&mut [0; 8]).await;
            }
        }
    })
    .await
}

fn config(server: &Server, more: Value) -> Value {
    with(json!({ "host": "127.0.0.1", "port": server.port() }), more)
}

async fn seen(server: &Server, more: Value) -> Observation {
    Probe::new().seen("tls", config(server, more)).await
}

#[tokio::test]
async fn protocol_cipher_chain_and_days_are_told() {
    let authority = Authority::new();
    let server = server(authority.issue(&Leaf::default()).acceptor()).await;
    let seen = seen(
        &server,
        json!({ "tls_ca": authority.pem(), "alpn": ["http/1.1"] }),
    )
    .await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert!(seen.message.starts_with("TLSv1.3, TLS_"), "{}", seen.message);
    assert!(
        seen.message.contains("; certificate expires in "),
        "{}",
        seen.message
    );
    let tls = seen.tls.unwrap();
    assert!(tls.verified && tls.alpn.as_deref() == Some("http/1.1"));
    assert_eq!(tls.chain[0].subject, "CN=localhost,O=Probe Org,C=DE");
    let days = seen
        .metrics
        .iter()
        .find(|metric| metric.name == "certificate_days_left")
        .unwrap();
    assert!(days.value > 365.0);
    assert!(seen.latency.is_some() && seen.phases.iter().any(|phase| phase.name == "tls"));
    assert!(!seen.phases.iter().any(|phase| phase.name == "starttls"));
    server.drained().await;
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_degraded() {
    let authority = Authority::new();
    let leaf = Leaf {
        years: (2020, 2090),
        ..Leaf::default()
    };
    let server = server(authority.issue(&leaf).acceptor()).await;
    let cx = ProbeContext {
        // The certificate ends with the last day of the year begun.
        clock: Arc::new(At("2090-12-20T12:00:00Z".parse().unwrap())),
        ..Probe::new().context()
    };
    let registry = registry();
    for (warn, status) in [(10, Status::Up), (11, Status::Degraded), (0, Status::Up)] {
        let config = config(
            &server,
            json!({ "tls_ca": authority.pem(), "cert_expiry_warn_days": warn }),
        );
        let executor = registry.executor("tls").unwrap();
        let seen = executor.execute(&config.to_string(), &cx).await.unwrap();
        assert_eq!(seen.status, status, "{}", seen.message);
        assert!(
            seen.message.ends_with("certificate expires in 10 days"),
            "{}",
            seen.message
        );
        assert_eq!(
            reason(&seen),
            if warn == 11 { "certificate_expiring" } else { "" }
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_refused_is_shown_and_may_be_excused() {
    let authority = Authority::new();
    for (what, identity, why) in [
        ("unknown", authority.issue(&Leaf::default()), "unknown authority"),
        ("own", Leaf::default().self_signed(), "self-signed"),
        (
            "expired",
            Leaf {
                years: (2020, 2021),
                ..Leaf::default()
            }
            .self_signed(),
            "",
        ),
    ] {
        let server = server(identity.acceptor()).await;
        let refused = seen(&server, json!({})).await;
        assert_eq!(
            (refused.status, reason(&refused)),
            (Status::Down, "tls_certificate"),
            "{what}"
        );
        assert!(
            refused
                .message
                .starts_with("TLS check failed: certificate not accepted"),
            "{}",
            refused.message
        );
        assert!(refused.message.contains(why), "{}", refused.message);
        let tls = refused.tls.unwrap();
        assert!(!tls.verified && tls.verify_error.is_some() && tls.chain.len() == 1);

        let excused = seen(&server, json!({ "ignore_tls_errors": true })).await;
        let expired = what == "expired";
        assert_eq!(
            excused.status,
            if expired { Status::Degraded } else { Status::Up },
            "{}",
            excused.message
        );
        assert!(
            excused.message.contains("certificate not verified: "),
            "{}",
            excused.message
        );
        assert!(
            !expired || excused.message.contains("certificate expired "),
            "{}",
            excused.message
        );
        assert!(!excused.tls.unwrap().verified);
    }
    let server = server(authority.issue(&Leaf::default()).acceptor()).await;
    let other_name = seen(
        &server,
        json!({ "tls_ca": authority.pem(), "server_name": "other.example" }),
    )
    .await;
    assert_eq!(reason(&other_name), "tls_certificate");
    let own_name = seen(
        &server,
        json!({ "tls_ca": authority.pem(), "server_name": "localhost" }),
    )
    .await;
    assert_eq!(own_name.status, Status::Up, "{}", own_name.message);
}

#[tokio::test]
async fn an_old_version_is_refused_where_that_is_asked() {
    let authority = Authority::new();
    let identity = authority.issue(&Leaf::default());
    let old = server(identity.acceptor_with(&[], None, &[&TLS12])).await;
    let more = |version: &str| json!({ "tls_ca": authority.pem(), "min_tls_version": version });
    let accepted = seen(&old, more("1.2")).await;
    assert!(
        accepted.message.starts_with("TLSv1.2, TLS_ECDHE_"),
        "{}",
        accepted.message
    );
    let refused = seen(&old, more("1.3")).await;
    assert_eq!(
        (refused.status, reason(&refused)),
        (Status::Down, "tls_failed"),
        "{}",
        refused.message
    );
}

#[tokio::test]
async fn a_server_may_ask_for_our_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let identity = authority.issue(&Leaf::default());
    let server = server(identity.acceptor_with(&[], Some(&clients), &[&TLS12])).await;
    let anonymous = seen(&server, json!({ "tls_ca": authority.pem() })).await;
    assert_eq!(
        (anonymous.status, reason(&anonymous)),
        (Status::Down, "tls_failed"),
        "{}",
        anonymous.message
    );
    let ours = clients.issue(&Leaf::default());
    let more = json!({ "tls_ca": authority.pem(), "tls_cert": ours.chain, "tls_key": ours.key });
    let known = seen(&server, more).await;
    assert_eq!(known.status, Status::Up, "{}", known.message);
    let half = config(&server, json!({ "tls_cert": ours.chain }));
    let error = Probe::new().run("tls", half).await.unwrap_err();
    assert!(error.to_string().contains("`tls_key`"), "{error}");
}

#[tokio::test]
async fn a_port_without_tls_is_told_from_one_that_stops_and_from_a_closed_one() {
    let talking = Server::raw(|mut stream| async move {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail.example ESMTP\r\n").await;
        let _ = stream.read(&mut [0; 512]).await;
    })
    .await;
    let seen = self::seen(&talking, json!({})).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "tls_failed"),
        "{}",
        seen.message
    );
    assert!(seen.message.contains("does not speak TLS"), "{}", seen.message);

    let told = Arc::new(Notify::new());
    let stall = told.clone();
    // The first half of a record's head, and no more.
    let stalling = Server::raw(move |mut stream| {
        let told = told.clone();
        async move {
            let _ = stream.read(&mut [0; 2048]).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &[0x16, 3, 3]).await;
            told.notify_one();
            let _ = stream.read(&mut [0; 2048]).await;
        }
    })
    .await;
    let (start, budget) = (Instant::now(), Duration::from_secs(40));
    let probe = Probe::new().within(budget);
    let seen = paused_from(stall.notified(), probe.seen("tls", config(&stalling, json!({})))).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "tls_timeout"),
        "{}",
        seen.message
    );
    assert!(start.elapsed() >= budget && start.elapsed() <= budget + Duration::from_millis(50));
    stalling.drained().await;

    let closed = json!({ "host": "127.0.0.1", "port": closed_port().await });
    let seen = Probe::new().seen("tls", closed).await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "connection_refused"));
}
