//! TLS and access to a real Redis.

use crate::fixture::eventually;
use lapwing_queue::{
    Memos, QueueError, Server, ServerSettings, TlsSettings,
    testing::{Certificates, Probe, RedisServer},
};
use std::{error::Error, fs, time::Duration};

const PATIENCE: Duration = Duration::from_secs(1);

fn settings(redis: &RedisServer, host: &str, tls: TlsSettings) -> ServerSettings {
    ServerSettings {
        tls,
        ..ServerSettings::at(&format!("rediss://{host}:{}/0", redis.port()))
    }
}

/// Trusts our authority and shows our certificate.
fn known(certificates: &Certificates) -> TlsSettings {
    TlsSettings {
        ca: Some(certificates.file("ca.pem")),
        certificate: Some(certificates.file("client.pem")),
        key: Some(certificates.file("client.key")),
        ..TlsSettings::default()
    }
}

async fn ping(settings: ServerSettings) -> Result<String, QueueError> {
    let server = Server::new(settings).unwrap();
    Probe::new(&server, PATIENCE).run("PING").await
}

/// An error and its causes.
fn told(error: &QueueError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_server_with_a_certificate_of_our_authority_is_spoken_to() {
    let certificates = Certificates::new();
    let redis = RedisServer::start_tls(&certificates, &[]);
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(
            ping(settings(&redis, host, known(&certificates))).await.unwrap(),
            "PONG"
        );
    }
    let server = Server::new(settings(&redis, "localhost", known(&certificates))).unwrap();
    let memos = Memos::new(&server);
    memos.set("a", b"x", Duration::from_secs(60)).await.unwrap();
    assert_eq!(memos.get("a").await.unwrap(), Some(b"x".to_vec()));
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused_and_the_error_says_so() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let redis = RedisServer::start_tls(&ours, &[]);
    for ca in [Some(others.file("ca.pem")), None] {
        let tls = TlsSettings { ca, ..known(&ours) };
        let error = ping(settings(&redis, "localhost", tls)).await.unwrap_err();
        let told = told(&error);
        assert!(told.contains("invalid peer certificate: UnknownIssuer"), "{told}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_that_name_is_expected() {
    let certificates = Certificates::for_names(&["redis.internal"]);
    let redis = RedisServer::start_tls(&certificates, &[]);
    let error = ping(settings(&redis, "127.0.0.1", known(&certificates)))
        .await
        .unwrap_err();
    assert!(told(&error).contains("not valid for name"), "{}", told(&error));
    let named = TlsSettings {
        server_name: Some("redis.internal".to_owned()),
        ..known(&certificates)
    };
    let named = settings(&redis, "127.0.0.1", named);
    assert_eq!(ping(named.clone()).await.unwrap(), "PONG");
    Server::new(named).unwrap().subscribe(&["a"]).await.unwrap();
}

#[tokio::test]
async fn any_certificate_is_taken_only_when_told_so() {
    let certificates = Certificates::for_names(&["redis.internal"]);
    let redis = RedisServer::start_tls(&certificates, &["--tls-auth-clients", "no"]);
    let insecure = TlsSettings {
        insecure: true,
        ..TlsSettings::default()
    };
    assert_eq!(
        ping(settings(&redis, "127.0.0.1", insecure)).await.unwrap(),
        "PONG"
    );
    assert!(
        ping(settings(&redis, "127.0.0.1", TlsSettings::default()))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_it_and_its_want_is_told() {
    let certificates = Certificates::new();
    let redis = RedisServer::start_tls(&certificates, &[]);
    let bare = TlsSettings {
        ca: Some(certificates.file("ca.pem")),
        ..TlsSettings::default()
    };
    let error = ping(settings(&redis, "localhost", bare)).await.unwrap_err();
    assert!(told(&error).contains("CertificateRequired"), "{}", told(&error));
    assert_eq!(
        ping(settings(&redis, "localhost", known(&certificates)))
            .await
            .unwrap(),
        "PONG"
    );
}

#[tokio::test]
async fn renewed_certificates_are_taken_up_with_the_next_connection() {
    let (old, new) = (Certificates::new(), Certificates::new());
    let mut redis = RedisServer::start_tls(&old, &[]);
    let server = Server::new(settings(&redis, "localhost", known(&old))).unwrap();
    let probe = Probe::new(&server, PATIENCE);
    probe.run::<String>("PING").await.unwrap();
    redis.stop();
    for name in ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"] {
        fs::copy(new.file(name), old.file(name)).unwrap();
    }
    redis.restart();
    eventually(
        Duration::from_secs(10),
        "the new certificates serve",
        async || probe.run::<String>("PING").await.is_ok(),
    )
    .await;
}

#[tokio::test]
async fn an_acl_user_gets_in_by_its_password_alone() {
    let certificates = Certificates::new();
    let redis = RedisServer::start_tls(
        &certificates,
        &["--user", "lap", "on", ">sesame", "~*", "&*", "+@all"],
    );
    let user = |password: &str| ServerSettings {
        username: Some("lap".to_owned()),
        password: Some(password.to_owned()),
        ..settings(&redis, "localhost", known(&certificates))
    };
    let server = Server::new(user("sesame")).unwrap();
    let probe = Probe::new(&server, PATIENCE);
    assert_eq!(probe.run::<String>("ACL WHOAMI").await.unwrap(), "lap");
    server.subscribe(&["a"]).await.unwrap();
    let error = ping(user("wrong")).await.unwrap_err();
    assert!(matches!(error, QueueError::Denied(_)), "{error:?}");
    let error = Server::new(user("wrong"))
        .unwrap()
        .subscribe(&["a"])
        .await
        .err()
        .unwrap();
    assert!(matches!(error, QueueError::Denied(_)), "{error:?}");
}
