//! Peers that mean ill in HTTP/2, of which the library bounds and tells less than one would think.

use crate::{
    contract::target_config,
    hostile::{BUDGET, GRPC, flood, hear, probe},
    support::{
        Probe,
        http2::{CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame},
        reason,
        server::Server,
        with,
    },
};
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// `:status: 200` and `content-type: application/grpc` (RFC 7541).
fn head() -> Vec<u8> {
    [&b"\x88\x5f\x10"[..], b"application/grpc"].concat()
}

/// Asks `server` by HTTP/2.
fn http2(server: &Server) -> Value {
    with(
        target_config("http", server.address),
        json!({ "http_version": "2" }),
    )
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

#[tokio::test]
async fn endless_informational_heads_of_http2_break_the_protocol() {
    let continued = |fields: &[u8]| frame(HEADERS, END_HEADERS, 1, &[&b"\x08\x03103"[..], fields].concat());
    let opening = [frame(SETTINGS, 0, 0, &[]), continued(b"\x40\x01a\x00")].concat();
    for fields in [vec![0xbe; 100], vec![]] {
        let server = flood(opening.clone(), continued(&fields).repeat(100)).await;
        for (kind, config) in GRPC
            .map(|kind| (kind, target_config(kind, server.address)))
            .into_iter()
            .chain([("http", http2(&server))])
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

const LENGTH_4: &[u8] = b"\x88\x0f\x0d\x014";

async fn over_http2(answer: &[Vec<u8>], more: Value) -> Observation {
    let opening = [vec![frame(SETTINGS, 0, 0, &[])], answer.to_vec()]
        .concat()
        .concat();
    let server = flood(opening, Vec::new()).await;
    let seen = Probe::new().seen("http", with(http2(&server), more)).await;
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
    let config = with(http2(&server), json!({ "keyword": "ok" }));
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
}

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
    let seen = Probe::new().seen("http", http2(&server)).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "version_mismatch"),
        "{}",
        seen.message
    );
}
