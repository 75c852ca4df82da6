//! What native kinds say of a configuration that is being set up or tried out: everything at once, field by field.

use crate::support::registry;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// What is found wrong with `config`, as `field: message` lines.
async fn review(kind: &str, config: &Value) -> String {
    let registry = registry();
    let executor = registry.get(kind).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    match executor.review(&config.to_string(), "config", deadline).await {
        Ok(faults) => faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn the_examples_of_all_kinds_have_no_faults() {
    for info in registry().kinds() {
        let found = review(&info.kind, info.example.as_ref().unwrap()).await;
        assert_eq!(found, "", "{}", info.kind);
    }
}

#[tokio::test]
async fn every_fault_is_told_at_once_with_its_field() {
    for (kind, config, parts) in [
        (
            "http",
            json!({ "url": "ftp://x/", "authMethod": "oauth2-cc", "accepted_statuscodes": [] }),
            &[
                "`config.url`: scheme `ftp`, expected `http://` or `https://`",
                "`config.accepted_statuscodes`: ",
                "`config.oauth_token_url`: ",
                "`config.oauth_client_id`: ",
            ][..],
        ),
        (
            "http",
            json!({ "url": "example.com" }),
            &["`config.url`: has no scheme"],
        ),
        (
            "http",
            json!({ "url": "http://x:70000" }),
            &["`config.url`: invalid port"],
        ),
        (
            "http",
            json!({ "url": "https://x", "tls_ca": "no pem", "server_name": "a b", "max_redirects": "1" }),
            &[
                "`tls_ca`: the PEM text holds no certificate",
                "`server_name`: ",
                "`max_redirects`: ",
            ],
        ),
        (
            "http-keyword",
            json!({ "url": "http://x" }),
            &["`config.keyword`: `http-keyword` needs it"],
        ),
        (
            "http-json-query",
            json!({ "url": "http://x", "method": "HEAD", "body_must_match": ["x"] }),
            &[
                "`config.json_query`: `http-json-query` needs it",
                "`config.method`: an answer to `HEAD`",
            ],
        ),
        (
            "websocket",
            json!({ "url": "wss://x", "tls_ca": "x", "steps": [{ "close": 1 }] }),
            &["`config.tls_ca`: ", "`config.steps`: "],
        ),
        (
            "rabbitmq",
            json!({ "nodes": ["http://a", "b:1"], "username": "a:b", "password": "p", "tls_ca": "x" }),
            &["`config.nodes[1]`: ", "`config.username`: ", "`config.tls_ca`: "],
        ),
        (
            "postgres",
            json!({
                "database_connection_string": "postgres://u:p@h:5432/d?sslmode=require",
                "database_query": "drop table x", "min_rows": 100_001, "tls_ca": "x", "tls_cert": "y",
            }),
            &[
                "`config.database_query`: ",
                "`config.min_rows`: ",
                "`config.tls_ca`: ",
                "`config.tls_key`: `tls_cert` needs it",
            ],
        ),
        (
            "mongodb",
            json!({ "connectionString": "mongodb://a/db?tls=true", "command": "{", "tlsKey": "x" }),
            &[
                "`config.command`: ",
                "`config.tlsKey`: the PEM text holds no private key",
                "`config.tlsCert`: ",
            ],
        ),
        (
            "redis",
            json!({ "databaseConnectionString": "rediss://h", "caCert": "x" }),
            &["`config.caCert`: "],
        ),
        (
            "tcp",
            json!({ "host": "a b", "port": 1, "steps": ["starttls"], "tls_ca": "x" }),
            &["`config.host`: ", "`config.tls_ca`: "],
        ),
        (
            "snmp",
            json!({ "host": "a b", "snmp_version": "v3", "oid": "sysDescr" }),
            &["`config.host`: ", "`config.oid`: ", "`config.username`: "],
        ),
    ] {
        tells(kind, &config, parts).await;
    }
}

/// Each part is told once.
async fn tells(kind: &str, config: &Value, parts: &[&str]) {
    let text = review(kind, config).await;
    for part in parts {
        assert_eq!(text.matches(part).count(), 1, "{part} in {kind}: {text}");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_as_it_is_written_is_found() {
    for (kind, config, parts) in [
        (
            "http",
            json!({ "url": "http://x", "headers": { "Content-Length": "3" }, "authMethod": "basic" }),
            &[
                "`config.headers`: `content-length` follows from the body",
                "`config.basic_auth_user`: `basic` needs it",
            ][..],
        ),
        (
            "postgres",
            json!({
                "database_connection_string": "postgres://u%00:p@h/d", "database_query": "SELECT '\0'",
            }),
            &[
                "`config.database_connection_string`: ",
                "`config.database_query`: query validation failed: a statement holds no NUL",
            ],
        ),
        (
            "docker",
            json!({ "container_id": "c", "connection_type": "socket", "docker_daemon": "/run/\0" }),
            &["`config.docker_daemon`: expected the path of a socket"],
        ),
        (
            "docker",
            json!({ "container_id": "c", "connection_type": "tcp", "docker_daemon": "tcp://:secret@h" }),
            &["`config.docker_daemon`: expected a host and a port, and nothing more"],
        ),
        (
            "mongodb",
            json!({ "connectionString": "mongodb://a/db?tls=True" }),
            &[
                "`config.connectionString`: connection string validation failed: `tls` is neither `true` nor `false`",
            ],
        ),
        (
            "tls",
            json!({ "host": "h", "alpn": ["h2", ""] }),
            &["`config.alpn`: names of 1 to 255 bytes"],
        ),
    ] {
        tells(kind, &config, parts).await;
    }
}

#[tokio::test]
async fn a_misspelt_parameter_is_named_with_the_known_ones() {
    for (kind, field, good, bad, meant) in [
        (
            "postgres",
            "database_connection_string",
            "postgres://u:p@h/d?sslmode=require&search_path=shop",
            "sslmod",
            "sslmode",
        ),
        (
            "mysql",
            "connection_string",
            "mysql://u:p@h/d?tls=true&parseTime=1",
            "tsl",
            "tls",
        ),
        (
            "mongodb",
            "connectionString",
            "mongodb://h/d?w=majority&retryWrites=true",
            "authSorce",
            "authSource",
        ),
    ] {
        assert_eq!(review(kind, &json!({ field: good })).await, "", "{kind}");
        let broken = good.split_once('?').unwrap().0;
        let text = review(kind, &json!({ field: format!("{broken}?{bad}=true") })).await;
        for part in [
            format!("`config.{field}`: unknown parameter `{bad}`"),
            format!("did you mean `{meant}`"),
            "Known are ".into(),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
    }
}

#[tokio::test]
async fn types_are_told_in_words() {
    for (config, part) in [
        (
            json!({ "host": "h", "port": "25" }),
            "expected a whole number from 0 to 65535",
        ),
        (
            json!({ "host": "h", "port": 70000 }),
            "expected a whole number from 0 to 65535",
        ),
        (json!({ "host": "h", "port": 1, "steps": 3 }), "expected a list"),
        (
            json!({ "host": 1, "port": [], "ignore_tls_errors": 1 }),
            "1 is not `true` or `false`",
        ),
        (json!({ "host": 1, "port": [] }), "[] is not a whole number from "),
    ] {
        let text = review("tcp", &config).await;
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_found_before_a_handshake() {
    const GARBAGE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (kind, config) in [
        ("tls", json!({ "host": "h" })),
        ("grpc", json!({ "host": "h", "port": 1, "tls": true })),
        (
            "mqtt",
            json!({ "hostname": "mqtts://h", "port": 1, "topic": "t" }),
        ),
        (
            "kafka-producer",
            json!({ "brokers": ["h:1"], "topic": "t", "message": "m", "ssl": true }),
        ),
        (
            "mysql",
            json!({ "connection_string": "mysql://u:p@h/d?tls=true" }),
        ),
        (
            "dns",
            json!({ "host": "h", "resolver_server": "1.1.1.1", "resolve_type": "A", "transport": "tls" }),
        ),
    ] {
        assert_eq!(review(kind, &config).await, "", "{kind}");
        for pem in ["no pem", GARBAGE] {
            let mut broken = config.clone();
            broken["tls_ca"] = json!(pem);
            let text = review(kind, &broken).await;
            assert!(
                text.starts_with("`config.tls_ca`: ") && text.lines().count() == 1,
                "{kind}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn topics_that_no_broker_takes_are_found() {
    for (topic, fits) in [
        ("a/b", true),
        ("#", true),
        ("+/a/+/#", true),
        ("/", true),
        ("a/#/b", false),
        ("a#", false),
        ("a/b+", false),
    ] {
        let config = json!({ "hostname": "h", "port": 1, "topic": topic });
        assert_eq!(review("mqtt", &config).await.is_empty(), fits, "{topic}");
    }
    for (topic, fits) in [("a.B_-9", true), ("a b", false), ("ä", false), ("..", false)] {
        let config = json!({ "brokers": ["h:1"], "topic": topic, "message": "m" });
        assert_eq!(
            review("kafka-producer", &config).await.is_empty(),
            fits,
            "{topic}"
        );
    }
}
