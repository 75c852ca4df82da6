//! Peers that mean ill, and every kind that speaks HTTP or what is built on it: the verdict comes, it blames the peer,
//! and the connection is gone.

use crate::{
    contract::target_config,
    support::{Probe, paused_from, reason, server::Server, with},
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
const GRPC: [&str; 2] = ["grpc", "grpc-keyword"];
const BUDGET: Duration = Duration::from_secs(60);
const SLACK: Duration = Duration::from_millis(50);

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` and `content-type: application/grpc` (RFC 7541).
fn head() -> Vec<u8> {
    [&b"\x88\x5f\x10"[..], b"application/grpc"].concat()
}

/// Hears the beginning of the request, says `opening`, then `rest` again and again without a pause.
async fn flood(opening: Vec<u8>, rest: Vec<u8>) -> Server {
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
async fn hear(stream: &mut TcpStream) {
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

async fn probe(kind: &str, server: &Server) -> Observation {
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

#[tokio::test]
async fn what_http2_forbids_is_not_taken_for_an_answer() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let answer = frame(HEADERS, END_HEADERS, 1, &head());
    let say = |frames: &[&[u8]]| [&[&settings[..]], frames].concat().concat();
    let message = |length: [u8; 4]| frame(DATA, 0, 1, &[&[0], &length[..], b"x"].concat());
    let goaway = frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11]);
    for (what, opening, rest, words) in [
        (
            "GOAWAY at once",
            say(&[&goaway]),
            vec![],
            &["protocol_error", "connection_closed"][..],
        ),
        (
            "RST_STREAM",
            say(&[&frame(RST_STREAM, 0, 1, &[0, 0, 0, 7])]),
            vec![],
            &["protocol_error"],
        ),
        (
            "RST_STREAM in the answer",
            say(&[&answer, &frame(RST_STREAM, 0, 1, &[0, 0, 0, 2])]),
            vec![],
            &["protocol_error"],
        ),
        (
            "endless headers",
            say(&[&frame(HEADERS, 0, 1, &head())]),
            frame(
                CONTINUATION,
                0,
                1,
                &[&b"\x40\x01a\x7f\x81\x7f"[..], &[b'v'; 256]].concat(),
            ),
            &["protocol_error"],
        ),
        (
            "a message of 4 GiB",
            say(&[&answer, &message([0xff; 4])]),
            vec![],
            &["body_too_large"],
        ),
        (
            "a compressed message nobody asked for",
            say(&[&answer, &frame(DATA, 0, 1, &[1, 0, 0, 0, 1, b'x'])]),
            vec![],
            &["assertion_failed"],
        ),
        (
            "no trailers",
            say(&[&answer, &frame(DATA, END_STREAM, 1, &[0, 0, 0, 0, 0])]),
            vec![],
            &["assertion_failed", "protocol_error"],
        ),
        (
            "nothing but a head",
            say(&[&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head())]),
            vec![],
            &["assertion_failed", "protocol_error"],
        ),
        (
            "a frame for a stream that is not",
            say(&[&frame(DATA, 0, 7, b"x")]),
            vec![],
            &["protocol_error"],
        ),
        (
            "a message cut short",
            say(&[&answer, &frame(DATA, END_STREAM, 1, &[0, 0, 0, 9, 9, 1])]),
            vec![],
            &["assertion_failed", "protocol_error"],
        ),
    ] {
        for kind in GRPC {
            let server = flood(opening.clone(), rest.clone()).await;
            let seen = probe(kind, &server).await;
            assert_eq!(seen.status, Status::Down, "{kind}, {what}: {}", seen.message);
            assert!(
                words.contains(&reason(&seen)),
                "{kind}, {what}: {}: {}",
                reason(&seen),
                seen.message
            );
        }
    }
}

/// One field that a byte brings back (RFC 7541 §6.1), in as many informational heads as anybody cares to send.
#[tokio::test]
async fn endless_informational_heads_of_http2_break_the_protocol() {
    let continued = |fields: &[u8]| frame(HEADERS, END_HEADERS, 1, &[&b"\x08\x03103"[..], fields].concat());
    let opening = [frame(SETTINGS, 0, 0, &[]), continued(b"\x40\x01a\x00")].concat();
    for fields in [vec![0xbe; 100], vec![]] {
        let server = flood(opening.clone(), continued(&fields).repeat(100)).await;
        let over_http2 = with(
            target_config("http", server.address),
            json!({ "http_version": "2" }),
        );
        for (kind, config) in GRPC
            .map(|kind| (kind, target_config(kind, server.address)))
            .into_iter()
            .chain([("http", over_http2)])
        {
            let seen = Probe::new().within(BUDGET).seen(kind, config).await;
            assert_eq!(
                (seen.status, reason(&seen)),
                (Status::Down, "protocol_error"),
                "{kind}: {}",
                seen.message
            );
            assert!(seen.message.contains("endless heads"), "{kind}: {}", seen.message);
            server.drained().await;
        }
    }
}

/// `:status: 200` and `content-length: 4`.
const LENGTH_4: &[u8] = b"\x88\x0f\x0d\x014";

/// The answer of an HTTP/2 server to `http`.
async fn over_http2(answer: &[Vec<u8>], more: Value) -> Observation {
    let opening = [vec![frame(SETTINGS, 0, 0, &[])], answer.to_vec()]
        .concat()
        .concat();
    let server = flood(opening, Vec::new()).await;
    let config = with(
        target_config("http", server.address),
        json!({ "http_version": "2" }),
    );
    let seen = Probe::new().seen("http", with(config, more)).await;
    server.drained().await;
    seen
}

#[tokio::test]
async fn a_reset_without_an_error_ends_a_whole_body_only() {
    let head = frame(HEADERS, END_HEADERS, 1, LENGTH_4);
    let reset = frame(RST_STREAM, 0, 1, &[0; 4]);
    let absent = json!({ "keyword": "ERROR", "invert_keyword": true });
    for (body, flags, status) in [
        (&b"ok"[..], 0, Status::Down),
        (b"", 0, Status::Down),
        (b"okay", 0, Status::Up),
        (b"okay", END_STREAM, Status::Up),
    ] {
        let answer = [head.clone(), frame(DATA, flags, 1, body), reset.clone()];
        let seen = over_http2(&answer, absent.clone()).await;
        assert_eq!(seen.status, status, "{body:?}: {}", seen.message);
        if status == Status::Down {
            assert_eq!(reason(&seen), "connection_closed", "{}", seen.message);
        }
    }
}

#[tokio::test]
async fn a_body_that_is_cut_was_closed_in_http2_too() {
    let answer = [
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, LENGTH_4),
        frame(DATA, 0, 1, b"ok"),
    ];
    let answer = answer.concat();
    let server = Server::raw(move |mut stream| {
        let answer = answer.clone();
        async move {
            hear(&mut stream).await;
            stream.write_all(&answer).await.unwrap();
            stream.shutdown().await.unwrap();
            while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
        }
    })
    .await;
    let more = json!({ "http_version": "2", "keyword": "ok" });
    let config = with(target_config("http", server.address), more);
    let seen = Probe::new().seen("http", config).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "connection_closed"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn what_a_peer_says_when_it_hangs_up_is_not_repeated() {
    let farewell = [&[0, 0, 0, 0, 0, 0, 0, 11][..], "p\u{e4}ss\"word".as_bytes()].concat();
    let seen = over_http2(&[frame(GOAWAY, 0, 0, &farewell)], json!({})).await;
    assert_eq!(reason(&seen), "protocol_error");
    assert!(seen.message.contains("hung up: "), "{}", seen.message);
    assert!(
        !seen.message.contains("word") && !seen.message.contains("xc3"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_large_head_is_one_all_the_same() {
    let field = [&b"\x00\x01a\x7f\xd9\x1d"[..], &[b'v'; 3928]].concat();
    let fields = field.repeat(16);
    let parts: Vec<_> = fields.chunks(16_000).collect();
    let (last, between) = parts.split_last().unwrap();
    let mut answer = vec![frame(HEADERS, 0, 1, b"\x88")];
    answer.extend(between.iter().map(|part| frame(CONTINUATION, 0, 1, part)));
    answer.push(frame(CONTINUATION, END_HEADERS, 1, last));
    answer.push(frame(DATA, END_STREAM, 1, b"ok"));
    let seen = over_http2(&answer, json!({})).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);

    let many = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n",
        "X: y\r\n".repeat(900)
    );
    let seen = probe("http", &flood(many.into_bytes(), Vec::new()).await).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
}

/// In real time: no clock can be paused over a flood.
#[tokio::test]
async fn a_flood_of_settings_comes_to_an_end() {
    let server = flood(Vec::new(), frame(SETTINGS, 0, 0, &[]).repeat(100)).await;
    for kind in GRPC {
        let run = Probe::new().within(Duration::from_secs(1));
        let seen = run.seen(kind, target_config(kind, server.address)).await;
        assert_eq!(seen.status, Status::Down, "{}", seen.message);
        assert!(
            matches!(reason(&seen), "response_timeout" | "protocol_error"),
            "{}",
            seen.message
        );
        server.drained().await;
    }
}

#[tokio::test]
async fn who_answers_http2_in_http1_speaks_another_version() {
    let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = flood(answer.to_vec(), Vec::new()).await;
    let config = json!({ "url": format!("http://{}/", server.address), "http_version": "2" });
    let seen = Probe::new().seen("http", config).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "version_mismatch"),
        "{}",
        seen.message
    );
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
