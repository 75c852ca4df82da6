//! What databases and brokers owe whoever answers on their port: the right word, in time, in little memory, and never the
//! password.

use crate::{
    contract::{PASSWORD, target_config},
    support::{Probe, reason, registry, server::Server},
};
use futures_util::future::join_all;
use lapwing_model::Status;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time,
};

const WORDS: [&str; 4] = [
    "protocol_error",
    "connection_closed",
    "connection_reset",
    "response_timeout",
];

/// The kinds whose protocols are spoken here.
fn kinds() -> Vec<String> {
    let spoken = [
        "kafka-producer",
        "mongodb",
        "mqtt",
        "mysql",
        "postgres",
        "redis",
        "sqlserver",
    ];
    let registry = registry();
    let kinds: Vec<String> = registry.kinds().map(|info| info.kind.clone()).collect();
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|kind| spoken.contains(&kind.as_str()))
        .collect();
    assert!(!kinds.is_empty());
    kinds
}

/// Runs every kind against servers that say each of `speeches` at once, or after they were spoken to.
async fn against(speeches: &[&'static [u8]], at_once: bool) {
    let pairs = speeches
        .iter()
        .flat_map(|speech| each(async |kind| hears(&kind, speech, at_once).await));
    join_all(pairs).await;
}

/// `run` for every kind, all at the same time: some wait for more until their time is over.
fn each<F: Future<Output = ()>>(run: impl Fn(String) -> F) -> impl Iterator<Item = F> {
    kinds().into_iter().map(run)
}

async fn hears(kind: &str, speech: &'static [u8], at_once: bool) {
    let server = Server::raw(move |mut stream| async move {
        if !at_once {
            let _ = stream.read(&mut [0; 1024]).await;
        }
        let _ = stream.write_all(speech).await;
        // Until the client leaves.
        while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let probe = Probe::new().within(Duration::from_secs(2));
    let seen = probe.seen(kind, target_config(kind, server.address)).await;
    assert_eq!(seen.status, Status::Down, "{kind}: {}", seen.message);
    assert!(
        WORDS.contains(&reason(&seen)),
        "{kind}: {} {}",
        reason(&seen),
        seen.message
    );
    assert!(!seen.message.contains(PASSWORD), "{kind}: {}", seen.message);
    server.drained().await;
}

#[tokio::test]
async fn a_web_server_is_no_database() {
    let page =
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>no</html>";
    let pages: [&[u8]; 1] = [page];
    tokio::join!(against(&pages, false), against(&pages, true));
}

#[tokio::test]
async fn a_length_of_gibibytes_is_not_believed() {
    let speeches: [&[u8]; 6] = [
        &[0xFF; 64],
        &[0x7F; 64],
        &[0; 64],
        b"R\x7f\xff\xff\xff\0\0\0\0",
        b"$2147483647\r\nx",
        b"\xff\xff\xff\0\x0a",
    ];
    against(&speeches, false).await;
}

#[tokio::test]
async fn a_server_that_hangs_up_is_told_as_such() {
    for kind in kinds() {
        for wait in [false, true] {
            let server = Server::raw(move |mut stream| async move {
                // Who speaks first is told of no end before it has spoken; MySQL's client waits for the server.
                if wait {
                    let mut heard = [0; 1024];
                    let _ = time::timeout(Duration::from_millis(50), stream.read(&mut heard)).await;
                }
            })
            .await;
            let seen = Probe::new()
                .seen(&kind, target_config(&kind, server.address))
                .await;
            assert!(
                ["connection_closed", "connection_reset"].contains(&reason(&seen)),
                "{kind}: {}",
                seen.message
            );
        }
    }
}

#[tokio::test]
async fn a_byte_at_a_time_ends_at_the_deadline() {
    let runs = each(async |kind| {
        let server = Server::raw(|mut stream| async move {
            while stream.write_all(&[0]).await.is_ok() {
                time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        let budget = Duration::from_millis(1500);
        let seen = Probe::new()
            .within(budget)
            .seen(&kind, target_config(&kind, server.address))
            .await;
        assert!(
            ["response_timeout", "protocol_error"].contains(&reason(&seen)),
            "{kind}: {}",
            seen.message
        );
        server.drained().await;
    });
    join_all(runs).await;
}

#[tokio::test]
async fn an_echo_is_no_server_and_learns_us_no_password() {
    let runs = each(async |kind| {
        let server = Server::raw(|mut stream| async move {
            let mut heard = vec![0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut heard).await {
                let _ = stream.write_all(&heard[..length]).await;
            }
        })
        .await;
        let probe = Probe::new().within(Duration::from_secs(1));
        let seen = probe.seen(&kind, target_config(&kind, server.address)).await;
        assert_eq!(seen.status, Status::Down, "{kind}");
        assert!(!format!("{seen:?}").contains(PASSWORD), "{kind}: {seen:?}");
    });
    join_all(runs).await;
}

/// A greeting of MySQL's, its wish to go on with `auth_gssapi_client`, and the like of `PostgreSQL`'s.
const MYSQL_GREETS: &[u8] = b"\x49\0\0\0\x0a8.4.0\0\x01\0\0\0abcdefgh\0\xff\xf7\x2d\x02\0\xff\xdf\x15\
    \0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0mysql_native_password\0";
const MYSQL_WANTS_GSSAPI: &[u8] = b"\x14\0\0\x02\xfeauth_gssapi_client\0";
const POSTGRES_WANTS_GSSAPI: &[u8] = b"R\0\0\0\x08\0\0\0\x07";

#[tokio::test]
async fn a_server_that_wants_a_login_we_do_not_have_is_down_and_we_are_not_misconfigured() {
    let cases: [(&str, &[&[u8]]); 2] = [
        ("mysql", &[MYSQL_GREETS, MYSQL_WANTS_GSSAPI]),
        ("postgres", &[b"", POSTGRES_WANTS_GSSAPI]),
    ];
    for (kind, speeches) in cases {
        let server = Server::raw(move |mut stream| async move {
            for speech in speeches {
                let _ = stream.write_all(speech).await;
                let _ = stream.read(&mut [0; 1024]).await;
            }
        })
        .await;
        let seen = Probe::new().seen(kind, target_config(kind, server.address)).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "auth_failed"),
            "{}",
            seen.message
        );
    }
}
