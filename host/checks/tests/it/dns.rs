//! Name look-ups: each failure has its own word, and raw questions come back as they were answered.

use crate::support::{
    AMPLE, Probe,
    dns::{Answer, NameServer},
    policy_of, reason,
    server::Server,
};
use hickory_resolver::proto::{op::ResponseCode, rr::RecordType};
use lapwing_checks::{
    CheckError, Net,
    net::{IpFamily, NetError},
};
use lapwing_model::Status;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

fn net(names: &NameServer) -> Net {
    Net::with_name_servers(policy_of(json!({ "mode": "open" })), &[names.address])
}

fn loopback() -> Answer {
    Answer::Addresses(vec!["127.0.0.1".parse().unwrap()])
}

#[tokio::test]
async fn every_failure_of_a_look_up_has_its_own_reason() {
    let names = NameServer::start(|name, _| match name {
        "nowhere.example" => Answer::Code(ResponseCode::NXDomain),
        "empty.example" => Answer::Addresses(vec![]),
        "broken.example" => Answer::Code(ResponseCode::ServFail),
        "refused.example" => Answer::Code(ResponseCode::Refused),
        _ => Answer::Silence,
    })
    .await;
    let probe = Probe::through(net(&names)).within(Duration::from_secs(2));
    for (host, expected) in [
        ("nowhere.example.", "dns_not_found"),
        ("empty.example.", "dns_not_found"),
        ("broken.example.", "dns_failed"),
        ("refused.example.", "dns_failed"),
        ("silent.example.", "dns_timeout"),
    ] {
        let seen = probe.seen("tcp", json!({ "host": host, "port": 80 })).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, expected),
            "{host}: {}",
            seen.message
        );
        assert!(seen.message.contains(&host[..host.len() - 1]), "{}", seen.message);
    }
}

#[tokio::test]
async fn names_of_services_in_containers_have_underscores() {
    let server = Server::raw(|_| async {}).await;
    let names = NameServer::start(|_, rtype| match rtype {
        RecordType::A => loopback(),
        _ => Answer::Addresses(vec![]),
    })
    .await;
    let probe = Probe::through(net(&names)).within(AMPLE);
    for host in ["my_service.", "my_service.example.", "_dmarc.example."] {
        let seen = probe
            .seen("tcp", json!({ "host": host, "port": server.port() }))
            .await;
        assert_eq!(seen.status, Status::Up, "{host}: {}", seen.message);
    }
    let long = format!("{}.example", "a".repeat(64));
    let error = probe
        .run("tcp", json!({ "host": long, "port": 1 }))
        .await
        .unwrap_err();
    assert!(matches!(error, CheckError::InvalidConfig(_)), "{error:?}");
}

#[tokio::test]
async fn a_slow_family_does_not_hold_up_the_other() {
    let server = Server::raw(|_| async {}).await;
    let names = NameServer::start(|_, rtype| {
        if rtype == RecordType::A {
            loopback()
        } else {
            Answer::Silence
        }
    })
    .await;
    let start = Instant::now();
    let connection = net(&names)
        .connect("half.example", server.port(), IpFamily::Any, start + AMPLE)
        .await
        .unwrap();
    assert_eq!(connection.peer, server.address);
    assert!(
        connection.resolve < Duration::from_secs(2),
        "waited {:?} for IPv6",
        connection.resolve
    );
}

#[tokio::test]
async fn the_wanted_family_is_the_only_one_asked_for() {
    let names = NameServer::start(|_, _| loopback()).await;
    let deadline = Instant::now() + AMPLE;
    net(&names)
        .resolve("x.example", None, IpFamily::V4, deadline)
        .await
        .unwrap();
    assert_eq!(names.asked(), ["x.example A"]);
    let error = net(&names)
        .resolve("x.example", None, IpFamily::V6, deadline)
        .await
        .unwrap_err();
    assert!(matches!(error, NetError::DnsNotFound(_)), "{error:?}");
}

#[tokio::test]
async fn nothing_is_cached() {
    let names = NameServer::start(|_, _| loopback()).await;
    let net = net(&names);
    for _ in 0..3 {
        net.resolve("x.example", None, IpFamily::V4, Instant::now() + AMPLE)
            .await
            .unwrap();
    }
    assert_eq!(names.asked().len(), 3);
}

#[tokio::test]
async fn a_raw_question_returns_the_reply_as_it_is() {
    let names = NameServer::start(|name, _| match name {
        "nowhere.example" => Answer::Code(ResponseCode::NXDomain),
        "forged.example" => Answer::AfterForgery(vec!["127.0.0.7".parse().unwrap()]),
        "long.example" => Answer::Truncated(vec!["127.0.0.8".parse().unwrap()]),
        _ => Answer::Silence,
    })
    .await;
    let net = net(&names);
    let server = Some(("127.0.0.1", names.address.port()));
    let deadline = Instant::now() + AMPLE;
    let reply = net
        .query("nowhere.example", "mx", server, deadline)
        .await
        .unwrap();
    assert_eq!((reply.rcode, reply.answers.len()), (3, 0), "NXDOMAIN is a reply");
    let reply = net.query("forged.example", "A", server, deadline).await.unwrap();
    assert_eq!(
        reply.answers[0].data, "127.0.0.7",
        "a reply with a wrong id is ignored"
    );
    assert_eq!(
        (reply.answers[0].name.as_str(), reply.answers[0].rtype.as_str()),
        ("forged.example.", "A")
    );
    let reply = net.query("long.example", "A", None, deadline).await.unwrap();
    assert_eq!(reply.answers[0].data, "127.0.0.8");
    assert!(names.asked().contains(&"long.example A tcp".to_owned()));
    let error = net
        .query(
            "quiet.example",
            "A",
            server,
            Instant::now() + Duration::from_millis(300),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, NetError::DnsTimeout(_)), "{error:?}");
    for (name, rtype) in [("x.example", "NOPE"), ("127.0.0.1", "A"), ("a..b", "A")] {
        let error = net.query(name, rtype, server, deadline).await.unwrap_err();
        assert!(matches!(error, NetError::InvalidInput(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_named_server_that_listens_at_one_of_its_addresses_is_asked_there() {
    let names = NameServer::start(|name, _| match name {
        "ns.example" => Answer::Addresses(vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()]),
        _ => loopback(),
    })
    .await;
    let config = json!({
        "host": "x.example", "resolver_server": "ns.example", "port": names.address.port(), "resolve_type": "A",
    });
    let seen = Probe::through(net(&names)).seen("dns", config).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
}
