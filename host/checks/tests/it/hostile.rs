//! Peers that mean ill, and every kind that speaks HTTP or what is built on it: the verdict comes, it blames the peer,
//! and the connection is gone.

use crate::{
    contract::target_config,
    support::{
        Probe,
        http2::{HEADERS, SETTINGS, frame},
        paused_from, reason,
        server::Server,
        with,
    },
};
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{future::pending, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::{self, Instant},
};

const HTTP: [&str; 4] = ["http", "websocket", "docker", "rabbitmq"];
pub(crate) const GRPC: [&str; 2] = ["grpc", "grpc-keyword"];
pub(crate) const BUDGET: Duration = Duration::from_secs(60);
const SLACK: Duration = Duration::from_millis(50);

/// Hears the beginning of the request, says `opening`, then `rest` again and again without a pause.
pub(crate) async fn flood(opening: Vec<u8>, rest: Vec<u8>) -> Server {
    let (opening, rest) = (Arc::new(opening), Arc::new(rest));
    Server::raw(move |mut stream| {
        let (opening, rest) = (opening.clone(), rest.clone());
        async move {
            hear(&mut stream).await;
            if stream.write_all(&opening).await.is_err() {
                return;
            }
            if rest.is_empty() {
                // Until the client leaves.
                while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
                return;
            }
            let (mut heard, mut said) = stream.into_split();
            let deaf = async { while heard.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {} };
            let loud = async { while said.write_all(&rest).await.is_ok() {} };
            tokio::select! { () = deaf => {} () = loud => {} }
        }
    })
    .await
}

/// Reads something; of HTTP/2 the whole head of a request, before which no answer is one.
pub(crate) async fn hear(stream: &mut TcpStream) {
    let mut heard = Vec::new();
    while stream.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {
        let Some(mut frames) = heard.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") else {
            return;
        };
        while let Some([a, b, c, kind]) = frames.first_chunk() {
            let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
            match frames.get(9 + length..) {
                Some(_) if *kind == HEADERS => return,
                Some(rest) => frames = rest,
                None => break,
            }
        }
    }
}

pub(crate) async fn probe(kind: &str, server: &Server) -> Observation {
    let seen = Probe::new().seen(kind, target_config(kind, server.address)).await;
    server.drained().await;
    seen
}

#[tokio::test]
async fn a_byte_each_tenth_of_a_second_is_cut_at_the_deadline() {
    let settings = || frame(SETTINGS, 0, 0, &[]);
    for (kind, talk) in HTTP
        .map(|kind| (kind, b"HTTP/1.1 200 OK\r\nX: ".to_vec()))
        .into_iter()
        .chain(GRPC.map(|kind| (kind, settings())))
    {
        let stall = Arc::new(Notify::new());
        let (told, talk) = (stall.clone(), Arc::new(talk));
        let server = Server::raw(move |mut stream| {
            let (stall, talk) = (told.clone(), talk.clone());
            async move {
                hear(&mut stream).await;
                let _ = stream.write_all(&talk).await;
                stall.notify_one();
                let endless = if talk.starts_with(b"HTTP") {
                    b"x".to_vec()
                } else {
                    talk.to_vec()
                };
                for byte in endless.iter().cycle() {
                    time::sleep(Duration::from_millis(100)).await;
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        let start = Instant::now();
        let run = Probe::new().within(BUDGET);
        let run = run.seen(kind, target_config(kind, server.address));
        let seen = paused_from(stall.notified(), run).await;
        assert_eq!(seen.status, Status::Down, "{kind}");
        // tungstenite gives up on a handshake in crumbs before its time is over.
        let words: &[&str] = if kind == "websocket" {
            &["protocol_error"]
        } else {
            &["response_timeout"]
        };
        assert!(words.contains(&reason(&seen)), "{kind}: {}", seen.message);
        assert!(
            start.elapsed() <= BUDGET + SLACK,
            "{kind} took {:?}",
            start.elapsed()
        );
        server.drained().await;
    }
}

#[tokio::test]
async fn an_endless_head_breaks_the_protocol() {
    for kind in HTTP {
        let line = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'a'; 1 << 20]].concat();
        for rest in [vec![b'a'; 1 << 16], b"X: y\r\n".repeat(1000)] {
            let server = flood(line.clone(), rest).await;
            let seen = probe(kind, &server).await;
            assert_eq!(
                (seen.status, reason(&seen)),
                (Status::Down, "protocol_error"),
                "{kind}: {}",
                seen.message
            );
        }
    }
}

#[tokio::test]
async fn a_banner_of_another_protocol_is_no_answer() {
    for kind in HTTP.into_iter().chain(GRPC) {
        for banner in [
            "SSH-2.0-OpenSSH_9.2p1 Debian\r\n",
            "220 mail.example.com ESMTP\r\n",
            "-ERR unknown command 'GET'\r\n",
            "\x15\x03\x01\x00\x02\x02\x46",
            "HTTP/1.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        ] {
            let server = flood(banner.into(), Vec::new()).await;
            // Some banners could be the beginning of an answer: they are waited for.
            let run = Probe::new().within(Duration::from_millis(1500));
            let seen = run.seen(kind, target_config(kind, server.address)).await;
            assert_eq!(seen.status, Status::Down, "{kind}: {banner}");
            let word = reason(&seen);
            let plain = banner.starts_with("HTTP") && matches!(word, "http_status" | "response_timeout");
            assert!(
                plain
                    || matches!(
                        word,
                        "protocol_error" | "connection_closed" | "connection_reset" | "response_timeout"
                    ),
                "{kind} {banner}: {word}: {}",
                seen.message
            );
            server.drained().await;
        }
    }
}

#[tokio::test]
async fn an_endless_body_is_read_no_further_than_its_cap() {
    let chunk = [&b"10000\r\n"[..], &vec![b' '; 0x10000], b"\r\n"].concat();
    for (kind, code, word) in [
        ("docker", 200, "protocol_error"),
        ("rabbitmq", 503, "assertion_failed"),
    ] {
        let head = format!("HTTP/1.1 {code} X\r\nApi-Version: 1.41\r\nTransfer-Encoding: chunked\r\n\r\n");
        let server = flood(head.into_bytes(), chunk.clone()).await;
        let seen = probe(kind, &server).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, word),
            "{kind}: {}",
            seen.message
        );
    }
}

#[tokio::test]
async fn a_handshake_that_stops_is_a_tls_timeout() {
    for (kind, more) in [
        ("http", json!({})),
        ("websocket", json!({})),
        ("docker", json!({ "tls_enabled": true })),
        ("rabbitmq", json!({})),
        ("grpc", json!({ "tls": true })),
        ("grpc-keyword", json!({ "grpcEnableTls": true })),
    ] {
        let stall = Arc::new(Notify::new());
        let told = stall.clone();
        let server = Server::raw(move |mut stream| {
            let stall = told.clone();
            async move {
                hear(&mut stream).await;
                // The beginning of a handshake record that never comes.
                let _ = stream.write_all(b"\x16\x03\x03\x40\x00\x02").await;
                stall.notify_one();
                pending::<()>().await;
            }
        })
        .await;
        let config = with(target_config(kind, server.address), more);
        let config: Value = serde_json::from_str(
            &config
                .to_string()
                .replace("http://", "https://")
                .replace("ws://", "wss://"),
        )
        .unwrap();
        let run = Probe::new().within(BUDGET);
        let seen = paused_from(stall.notified(), run.seen(kind, config)).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "tls_timeout"),
            "{kind}: {}",
            seen.message
        );
    }
}

/// One field that a byte brings back (RFC 7541 §6.1), in as many informational heads as anybody cares to send.
/// `:status: 200` and `content-length: 4`.
/// The answer of an HTTP/2 server to `http`.
/// In real time: no clock can be paused over a flood.
#[tokio::test]
async fn a_head_of_many_fields_is_one_all_the_same() {
    let many = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n",
        "X: y\r\n".repeat(900)
    );
    let seen = probe("http", &flood(many.into_bytes(), Vec::new()).await).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
}

#[tokio::test]
async fn a_length_that_no_body_has_is_told_as_that() {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nx", u64::MAX);
    let seen = probe("http", &flood(answer.into_bytes(), Vec::new()).await).await;
    assert_eq!(reason(&seen), "protocol_error");
    assert!(
        seen.message.contains("the length that it gives its body"),
        "{}",
        seen.message
    );
}
