//! Kind `redis`, against redis-server.

use crate::support::{
    Probe,
    daemon::Daemon,
    reason,
    server::{Server, closed_port},
    servers::path,
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) async fn redis(more: &[&str]) -> Daemon {
    Daemon::start(|_, port| {
        let port = port.to_string();
        let own = ["--port", &port, "--bind", "127.0.0.1", "--save", ""];
        let arguments = own.iter().chain(more).map(|&word| word.to_owned()).collect();
        (path("redis-server"), arguments)
    })
    .await
}

async fn ping(url: &str, more: Value) -> Observation {
    let config = crate::support::with(json!({ "databaseConnectionString": url }), more);
    Probe::new().seen("redis", config).await
}

#[tokio::test]
async fn a_server_is_pinged_as_whoever_may_and_in_whichever_database_there_is() {
    let redis = redis(&[
        "--requirepass",
        "hunter2x",
        "--user",
        "mon",
        "on",
        ">p@ss:w/rd",
        "+ping",
        "+auth",
    ])
    .await;
    let at = format!("127.0.0.1:{}", redis.port);
    let seen = ping(&format!("redis://:hunter2x@{at}/3"), json!({})).await;
    assert_eq!(
        (seen.status, seen.message.as_str()),
        (Status::Up, "Redis ping successful: PONG")
    );
    assert!(seen.latency.is_some() && seen.attributes["peer"] == at.as_str());
    let seen = ping(&format!("redis://mon:p%40ss%3Aw%2Frd@{at}"), json!({})).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);

    for (url, word, part) in [
        (
            format!("redis://:wrongpass@{at}"),
            "auth_failed",
            "Redis ping failed: WRONGPASS",
        ),
        (
            format!("redis://nobody:wrongpass@{at}"),
            "auth_failed",
            "Redis ping failed: WRONGPASS",
        ),
        (
            format!("redis://{at}"),
            "auth_failed",
            "Redis ping failed: NOAUTH",
        ),
        (
            format!("redis://:hunter2x@{at}/99"),
            "assertion_failed",
            "out of range",
        ),
        (
            format!("redis://mon:p%40ss%3Aw%2Frd@{at}/1"),
            "auth_failed",
            "NOPERM",
        ),
        (
            format!("redis://127.0.0.1:{}", closed_port().await),
            "connection_refused",
            "Redis ping failed: connection refused",
        ),
    ] {
        let seen = ping(&url, json!({})).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, word),
            "{}",
            seen.message
        );
        assert!(
            seen.message.contains(part) && !seen.message.contains("hunter2x"),
            "{}",
            seen.message
        );
    }
}

#[tokio::test]
async fn a_server_without_tls_says_nothing_to_a_handshake() {
    let redis = redis(&[]).await;
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let short = Probe::new().within(std::time::Duration::from_millis(500));
    let seen = short
        .seen("redis", json!({ "databaseConnectionString": url }))
        .await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "tls_timeout"));
    assert!(
        seen.message.starts_with("Redis connection timeout: "),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn tls_is_verified_unless_it_is_ignored_and_a_client_certificate_is_shown() {
    let tls_port = closed_port().await;
    let port = tls_port.to_string();
    let mut redis = redis(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        "server.pem",
        "--tls-key-file",
        "server.key",
        "--tls-ca-cert-file",
        "server.pem",
        "--tls-auth-clients",
        "optional",
    ])
    .await;
    redis.listening(tls_port).await;
    let url = format!("rediss://127.0.0.1:{tls_port}");
    let seen = ping(&url, json!({ "caCert": redis.authority.pem() })).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert!(seen.tls.unwrap().verified && seen.phases.iter().any(|phase| phase.name == "tls"));
    let seen = ping(&url, json!({})).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "tls_certificate"),
        "{}",
        seen.message
    );
    assert!(!seen.tls.unwrap().verified);
    let seen = ping(&url, json!({ "ignoreTls": true, "caCert": "nonsense" })).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert!(!seen.tls.unwrap().verified, "ignored, and still told");
    let seen = ping(&format!("redis://127.0.0.1:{tls_port}"), json!({})).await;
    assert_eq!(seen.status, Status::Down, "plain text on a port of TLS");
}

#[tokio::test]
async fn an_unfit_connection_string_is_an_invalid_config_in_peekapings_words() {
    for (url, text) in [
        (
            "http://h",
            "connection string validation failed: invalid connection string format. Expected: redis://[user:password@]host[:port][/db] or rediss://[user:password@]host[:port][/db]",
        ),
        (
            "redis://h:0",
            "connection string validation failed: invalid port: 0",
        ),
        (
            "redis://h/0?x=1",
            "connection string validation failed: query parameters are not supported",
        ),
    ] {
        let error = Probe::new()
            .run("redis", json!({ "databaseConnectionString": url }))
            .await
            .unwrap_err();
        assert_eq!(error, CheckError::InvalidConfig(text.to_owned()));
    }
    let halves = json!({ "databaseConnectionString": "rediss://h", "clientCert": "x" });
    let error = Probe::new().run("redis", halves).await.unwrap_err();
    assert!(
        error.to_string().starts_with("TLS configuration failed: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_did_not_look_at_the_password_refuses_something_else() {
    for error in [
        "ERR max number of clients reached",
        "LOADING Redis is loading the dataset in memory",
        "DENIED Redis is running in protected mode",
    ] {
        let server = Server::raw(move |mut stream| async move {
            let mut heard = [0; 256];
            let _ = stream.read(&mut heard).await;
            let _ = stream.write_all(format!("-{error}\r\n").as_bytes()).await;
        })
        .await;
        let seen = ping(&format!("redis://:hunter2x@{}", server.address), json!({})).await;
        assert_eq!(reason(&seen), "assertion_failed", "{}", seen.message);
        assert_eq!(seen.message, format!("Redis ping failed: {error}"));
    }
}

#[tokio::test]
async fn a_password_that_a_server_repeats_is_not_told_on() {
    let server = Server::raw(|mut stream| async move {
        let mut heard = [0; 256];
        let _ = stream.read(&mut heard).await;
        let _ = stream.write_all(b"-ERR no, not hunter2x!\r\n").await;
    })
    .await;
    let seen = ping(&format!("redis://:hunter2x@{}", server.address), json!({})).await;
    assert_eq!(
        (reason(&seen), seen.message.as_str()),
        ("auth_failed", "Redis ping failed: ERR no, not ***!")
    );
}

#[tokio::test]
async fn a_password_that_is_a_word_of_ours_does_not_change_our_words() {
    let redis = redis(&["--requirepass", "ping"]).await;
    let seen = ping(&format!("redis://:ping@127.0.0.1:{}", redis.port), json!({})).await;
    assert_eq!(seen.message, "Redis ping successful: PONG");
}

#[tokio::test]
async fn what_is_said_of_tls_is_not_judged_where_none_is_spoken_or_verified() {
    let closed = closed_port().await;
    for (url, more) in [
        (
            format!("redis://127.0.0.1:{closed}"),
            json!({ "clientCert": "stale" }),
        ),
        (
            format!("rediss://127.0.0.1:{closed}"),
            json!({ "clientCert": "stale", "ignoreTls": true }),
        ),
    ] {
        assert_eq!(reason(&ping(&url, more).await), "connection_refused");
    }
}
