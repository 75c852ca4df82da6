//! What Peekaping 0.0.46's own worker was observed to say of targets on loopback, and what Lapwing says of the same: word
//! for word where the text is Peekaping's, and why not where it is not.
//!
//! Not run here, as their tests have the servers or the namespaces it takes: `ping`, where Peekaping looks for an external
//! `ping` and says `exec: "ping": executable file not found in $PATH` (there is none to miss: tests of `ping`);
//! `kafka-producer` with SCRAM, which Peekaping cannot do (`A SCRAMClientGeneratorFunc function must be provided`: tests of
//! `kafka-producer`); a full time-out that archives its task (tests of the queues).

use crate::{
    push,
    redis::redis,
    support::{
        Probe,
        certificates::{Authority, Leaf},
        dns::{Answer, NameServer},
        registry,
        server::{Server, closed_port, ok, redirect, status},
    },
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{future::pending, time::Duration};

/// One target, what Peekaping said, and what is to be said here.
struct Case {
    kind: &'static str,
    config: Value,
    theirs: (Status, String),
    ours: Ours,
}

enum Ours {
    /// The same, word for word.
    Same,
    /// The same status and the same beginning, of this many characters; what follows is Go's or a library's own text.
    Begins(usize),
    /// Another verdict or text on purpose: why, which, and how the text begins.
    Differs(&'static str, Status, String),
}

impl Case {
    fn same(kind: &'static str, config: Value, status: Status, text: &str) -> Self {
        Self {
            kind,
            config,
            theirs: (status, text.to_owned()),
            ours: Ours::Same,
        }
    }

    /// Down with `start`, and with `rest` in Go's words.
    fn go(kind: &'static str, config: Value, start: &str, rest: &str) -> Self {
        Self {
            kind,
            config,
            theirs: (Status::Down, format!("{start}{rest}")),
            ours: Ours::Begins(start.len()),
        }
    }

    fn differs(self, why: &'static str, status: Status, text: impl Into<String>) -> Self {
        Self {
            ours: Ours::Differs(why, status, text.into()),
            ..self
        }
    }

    async fn check(&self) {
        let Self { kind, config, .. } = self;
        let probe = Probe::new().within(Duration::from_secs(2));
        let seen = probe.run(kind, config.clone()).await;
        let seen = seen.unwrap_or_else(CheckError::into_observation);
        let said = (seen.status, seen.message);
        match &self.ours {
            Ours::Same => assert_eq!(said, self.theirs, "{kind} {config}"),
            Ours::Begins(length) => {
                let (status, text) = &self.theirs;
                assert!(
                    said.0 == *status && said.1.starts_with(&text[..*length]) && said.1 != *text,
                    "{kind} {config}: {said:?}"
                );
            }
            Ours::Differs(why, status, text) => {
                assert_ne!(
                    said, self.theirs,
                    "{kind} {config}: not different any more: {why}"
                );
                assert!(
                    said.0 == *status && said.1.starts_with(text),
                    "{kind} {config}: {said:?}: {why}"
                );
            }
        }
    }
}

/// Runs those cases whose kind this build has.
async fn check(cases: Vec<Case>) {
    let known = registry();
    let (here, away): (Vec<_>, Vec<_>) = cases
        .into_iter()
        .partition(|case| known.executor(case.kind).is_ok());
    assert!(away.len() <= here.len());
    for case in here {
        case.check().await;
    }
}

#[tokio::test]
async fn what_http_says_is_what_peekaping_says() {
    let authority = Authority::new();
    let server = Server::http(|seen| match seen.uri.as_str() {
        "/500" => status(500),
        "/moved" => redirect(302, "/ok"),
        _ => ok(r#"{"n": 5}"#),
    })
    .await;
    let secure = Server::https(authority.issue(&Leaf::default()).acceptor(), |_| ok("ok")).await;
    let mute = Server::raw(|stream| async move {
        let _held = stream;
        pending::<()>().await;
    })
    .await;
    let (ok, moved, bad) = (server.url("/ok"), server.url("/moved"), server.url("/500"));
    let secure = format!("https://127.0.0.1:{}/", secure.port());
    let (mute, gone) = (
        mute.url("/"),
        format!("http://127.0.0.1:{}/", closed_port().await),
    );
    check(vec![
        Case::same("http", json!({ "url": ok }), Status::Up, "200 - 200 OK"),
        Case::same(
            "http",
            json!({ "url": bad }),
            Status::Down,
            "HTTP request failed with status: 500",
        ),
        Case::same(
            "http-keyword",
            json!({ "url": ok, "keyword": "zzz" }),
            Status::Down,
            "Keyword check failed: keyword 'zzz' not found in response",
        ),
        Case::same(
            "http-json-query",
            json!({ "url": ok, "json_query": "n", "json_condition": ">", "expected_value": "9" }),
            Status::Down,
            "JSON query validation failed: query 'n' with condition '>' and expected value '9'",
        ),
        Case::same(
            "http",
            json!({ "url": secure, "ignore_tls_errors": true }),
            Status::Up,
            "200 - 200 OK",
        ),
        Case::same(
            "http",
            json!({ "url": ok, "foo": 1 }),
            Status::Down,
            r#"failed to parse config: json: unknown field "foo""#,
        )
        .differs(
            "Go's own text; and nothing was learned of the target, which is therefore not down",
            Status::Unknown,
            "failed to parse config: `foo`: unknown field `foo`, expected one of `url`, ",
        ),
        Case::same(
            "http",
            json!({ "url": moved, "max_redirects": 0 }),
            Status::Down,
            r#"Get "/ok": redirects disabled: max_redirects set to 0"#,
        )
        .differs(
            "a redirect that is not followed is the answer, and its status is judged",
            Status::Down,
            "HTTP request failed with status: 302",
        ),
        Case::go(
            "http",
            json!({ "url": secure }),
            &format!("Get \"{secure}\": "),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        ),
        Case::go(
            "http",
            json!({ "url": mute }),
            &format!("Get \"{mute}\": "),
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        ),
        Case::go(
            "http",
            json!({ "url": gone }),
            &format!("Get \"{gone}\": "),
            "dial tcp 127.0.0.1:18099: connect: connection refused",
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_network_kinds_docker_and_grpc_say_is_what_peekaping_says() {
    let open = Server::raw(|_| async {}).await;
    let names = NameServer::start(|_, _| Answer::Addresses(vec!["127.0.0.1".parse().unwrap()])).await;
    let closed = closed_port().await;
    let gone = format!("127.0.0.1:{closed}");
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("docker.sock");
    let dns = |port: u16| json!({ "host": "localhost", "resolver_server": "127.0.0.1", "port": port, "resolve_type": "A" });
    let snmp = json!({
        "host": "127.0.0.1", "port": closed, "snmp_version": "v3", "community": "public", "oid": "1.3.6.1.2.1.1.3.0",
    });
    let grpc = json!({
        "grpcUrl": gone, "grpcServiceName": "Health", "grpcMethod": "Check",
        "grpcProtobuf": "syntax = \"proto3\"; message E {} service Health { rpc Check(E) returns (E); }",
    });
    check(vec![
        Case::same(
            "tcp",
            json!({ "host": "127.0.0.1", "port": open.port() }),
            Status::Up,
            &format!("TCP port {} is open", open.port()),
        ),
        Case::go(
            "tcp",
            json!({ "host": "127.0.0.1", "port": closed }),
            "TCP connection failed: ",
            "dial tcp 127.0.0.1:18099: connect: connection refused",
        ),
        Case::same("dns", dns(names.address.port()), Status::Up, "A records: 127.0.0.1"),
        Case::same("dns", dns(closed), Status::Up, "A records: 127.0.0.1").differs(
            "the hosts file is no answer of the server that was named",
            Status::Down,
            format!("DNS lookup failed: lookup localhost on {gone}: connection refused"),
        ),
        Case::go(
            "dns",
            dns(closed),
            "DNS lookup failed: ",
            "lookup example.com on 10.255.255.53:53: read udp a->b: read: connection refused",
        ),
        Case::same(
            "docker",
            json!({ "container_id": "x", "connection_type": "socket", "docker_daemon": socket }),
            Status::Down,
            &format!(
                "container inspect error: Cannot connect to the Docker daemon at unix://{}. Is the docker daemon running?",
                socket.display()
            ),
        ),
        Case::same(
            "grpc-keyword",
            grpc,
            Status::Up,
            r#"gRPC call successful: {"status": "SERVING", "message": "OK"}"#,
        )
        .differs("nobody answered: a success is not made up", Status::Down, "Error in send gRPC: connection refused"),
        Case::same(
            "snmp",
            snmp,
            Status::Down,
            "SNMP connection failed: the SNMPV3 User Security Model is the only SNMPV3 security model currently implemented",
        )
        .differs("version 3 is spoken here, and wants a user", Status::Unknown, "`username`"),
    ])
    .await;
}

#[tokio::test]
async fn what_databases_and_brokers_say_is_what_peekaping_says() {
    let node = Server::http(|_| ok("{}")).await;
    let redis = redis(&[]).await;
    let closed = closed_port().await;
    let gone = format!("127.0.0.1:{closed}");
    check(vec![
        Case::go(
            "mongodb",
            json!({ "connectionString": format!("mongodb://{gone}/db") }),
            "MongoDB command failed: ",
            "failed to execute MongoDB command: server selection error: context deadline exceeded",
        ),
        Case::go(
            "sqlserver",
            json!({
                "database_connection_string": format!("Server=127.0.0.1,{closed};Database=d;User Id=sa;Password=hunter2x"),
            }),
            "connection failed: ",
            "unable to open tcp connection with host '127.0.0.1:18433': dial tcp 127.0.0.1:18433",
        ),
        Case::same(
            "redis",
            json!({ "databaseConnectionString": format!("redis://127.0.0.1:{}", redis.port) }),
            Status::Up,
            "Redis ping successful: PONG",
        ),
        Case::go(
            "redis",
            json!({ "databaseConnectionString": format!("redis://{gone}") }),
            "Redis ping failed: ",
            "dial tcp 127.0.0.1:18099: connect: connection refused",
        ),
        Case::go(
            "mqtt",
            json!({ "hostname": "127.0.0.1", "port": closed, "topic": "t" }),
            "MQTT connection failed: MQTT connection failed: ",
            "network Error : dial tcp 127.0.0.1:18099: connect: connection refused",
        ),
        Case::same(
            "rabbitmq",
            json!({ "nodes": [node.url("")], "username": "guest", "password": "guest" }),
            Status::Up,
            "OK",
        ),
        Case::go(
            "kafka-producer",
            json!({ "brokers": [gone], "topic": "t", "message": "m" }),
            "Failed to create Kafka producer: kafka: client has run out of available brokers to talk to: ",
            "dial tcp 127.0.0.1:18099: connect: connection refused",
        ),
    ])
    .await;
}

/// `untold`: Peekaping sends no result of a push in time.
#[tokio::test]
async fn what_push_says_is_what_peekaping_says() {
    for (last, theirs) in [
        (None, Some("No push received yet")),
        (Some((1, 61)), Some("No push received in time")),
        (Some((1, 1)), None),
    ] {
        let seen: Observation = push::seen(last).await;
        let told = (!seen.untold).then_some((seen.status, seen.message.as_str()));
        assert_eq!(told, theirs.map(|text| (Status::Down, text)));
    }
}

/// Peekaping archives the task (`executor not found for monitor type: x`) and sends no result at all.
#[test]
fn a_kind_nobody_has_is_told_and_not_passed_over_in_silence() {
    let error = registry().executor("x").map(|_| ()).unwrap_err();
    let seen = error.into_observation();
    assert_eq!(seen.status, Status::Unknown);
    assert!(seen.message.contains("`x`"), "{}", seen.message);
}
