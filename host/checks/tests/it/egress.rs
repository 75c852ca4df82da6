//! The network guard from outside: whatever the spelling, no packet reaches what is denied.

use crate::support::{
    AMPLE, Probe,
    dns::{Answer, NameServer},
    policy_of,
    server::{Server, ok},
};
use hickory_resolver::proto::rr::RecordType;
use lapwing_checks::{
    CheckError, Net,
    net::{IpFamily, NetError},
};
use serde_json::{Value, json};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::time::Instant;

/// Loopback is what these tests can listen on, so it stands for everything that must not be reached.
fn no_loopback() -> Value {
    json!({ "mode": "open", "deny": ["127.0.0.0/8", "::1"] })
}

#[tokio::test]
async fn no_spelling_of_a_denied_address_is_dialled() {
    let canary = Server::http(|_| ok("reached")).await;
    let port = canary.port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::1]",
        "[::127.0.0.1]",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "user:pw@127.0.0.1",
        "example.com@127.0.0.1",
    ];
    let probe = Probe::under(no_loopback());
    for host in hosts {
        let config = json!({ "url": format!("http://{host}:{port}/") });
        let error = probe
            .run("http", config)
            .await
            .map(|seen| seen.message)
            .unwrap_err();
        assert!(
            matches!(error, CheckError::Denied(_) | CheckError::InvalidConfig(_)),
            "{host}: {error:?}"
        );
        let config = json!({ "host": host, "port": port });
        let error = probe
            .run("tcp", config)
            .await
            .map(|seen| seen.message)
            .unwrap_err();
        assert!(
            matches!(error, CheckError::Denied(_) | CheckError::InvalidConfig(_)),
            "{host}: {error:?}"
        );
    }
    assert_eq!(canary.accepted(), 0);
    assert!(
        Probe::new()
            .seen("http", json!({ "url": canary.url("/") }))
            .await
            .reason
            .is_none(),
        "the canary sings"
    );
}

#[tokio::test]
async fn metadata_is_denied_by_default_before_any_packet() {
    let probe = Probe::under(json!({}));
    for host in [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
    ] {
        let error = probe
            .run(
                "http",
                json!({ "url": format!("http://{host}/latest/meta-data") }),
            )
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("mode `no-metadata`"),
            "{host}: {error}"
        );
    }
}

fn addresses(list: &[&str]) -> Answer {
    Answer::Addresses(list.iter().map(|address| address.parse().unwrap()).collect())
}

#[tokio::test]
async fn of_mixed_answers_only_the_allowed_are_dialled() {
    let canary = Server::bind("127.0.0.1:0", |_| async {}).await;
    let names = NameServer::start(|_, _| addresses(&["127.0.0.1", "127.0.0.9"])).await;
    // The allowed address has a listener of its own on the same port.
    let allowed = Server::bind(&format!("127.0.0.9:{}", canary.port()), |_| async {}).await;
    let net = Net::with_name_servers(policy_of(json!({ "deny": ["127.0.0.1"] })), &[names.address]);
    let resolved = net
        .resolve("mixed.example", None, IpFamily::Any, Instant::now() + AMPLE)
        .await
        .unwrap();
    assert_eq!(resolved.addresses, ["127.0.0.9".parse::<IpAddr>().unwrap()]);
    let connection = net
        .connect(
            "mixed.example",
            canary.port(),
            IpFamily::Any,
            Instant::now() + AMPLE,
        )
        .await
        .unwrap();
    assert_eq!(connection.peer, allowed.address);
    assert_eq!(canary.accepted(), 0);
}

#[tokio::test]
async fn a_name_is_resolved_once_so_rebinding_has_no_second_answer() {
    let canary = Server::bind("127.0.0.1:0", |_| async {}).await;
    let allowed = Server::bind(&format!("127.0.0.9:{}", canary.port()), |_| async {}).await;
    let turn = Arc::new(AtomicUsize::new(0));
    let names = NameServer::start(move |_, rtype| match rtype {
        // First the harmless address, then the forbidden one.
        RecordType::A if turn.fetch_add(1, Ordering::SeqCst) == 0 => addresses(&["127.0.0.9"]),
        RecordType::A => addresses(&["127.0.0.1"]),
        _ => addresses(&[]),
    })
    .await;
    let net = Net::with_name_servers(policy_of(json!({ "deny": ["127.0.0.1"] })), &[names.address]);
    let deadline = Instant::now() + AMPLE;
    let connection = net
        .connect("rebind.example", canary.port(), IpFamily::V4, deadline)
        .await
        .unwrap();
    assert_eq!(connection.peer, allowed.address);
    assert_eq!(
        names.asked(),
        ["rebind.example A"],
        "asked once for the check and the connection together"
    );
    let error = net
        .connect("rebind.example", canary.port(), IpFamily::V4, deadline)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, NetError::Denied(text) if text.contains("`rebind.example` (127.0.0.1)")),
        "{error:?}"
    );
    assert_eq!(canary.accepted(), 0);
}

#[tokio::test]
async fn a_denied_name_is_not_even_looked_up() {
    let names = NameServer::start(|_, _| addresses(&["127.0.0.9"])).await;
    let net = Net::with_name_servers(
        policy_of(json!({ "deny": ["*.attacker.example"] })),
        &[names.address],
    );
    let deadline = Instant::now() + AMPLE;
    let error = net
        .resolve("secret.attacker.example", None, IpFamily::Any, deadline)
        .await
        .unwrap_err();
    assert!(matches!(error, NetError::Denied(_)), "{error:?}");
    let error = net
        .query("secret.attacker.example", "TXT", None, deadline)
        .await
        .unwrap_err();
    assert!(matches!(error, NetError::Denied(_)), "{error:?}");
    assert!(names.asked().is_empty());
}

#[tokio::test]
async fn a_denied_name_server_is_not_asked() {
    let names = NameServer::start(|_, _| addresses(&["127.0.0.9"])).await;
    let net = Net::new(policy_of(no_loopback()));
    let server = Some(("127.0.0.1", names.address.port()));
    let error = net
        .query("x.example", "A", server, Instant::now() + AMPLE)
        .await
        .unwrap_err();
    assert!(matches!(error, NetError::Denied(_)), "{error:?}");
    assert!(names.asked().is_empty());
}
