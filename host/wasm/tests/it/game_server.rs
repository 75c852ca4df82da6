//! The plugin `game-server` against servers that answer as the protocols' documentation has it, and otherwise.

use crate::{
    servers::{fake, free_port, plugin},
    support::{PLENTY, context},
};
use lapwing_checks::{CheckError, Net, ProbeContext, net::EgressPolicy};
use lapwing_model::{Observation, Reason, Status};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
};

/// Valve's own example of an answer to A2S_INFO.
const INFO: &[u8] = b"\xff\xff\xff\xffI\x02game2xs.com Counter-Strike Source #1\0de_dust\0cstrike\0\
    Counter-Strike: Source\0\xf0\x00\x05\x10\x04dl\x00\x001.0.0.22\0";
const QUESTION: &[u8] = b"\xff\xff\xff\xffTSource Engine Query\0";
const CHALLENGE: &[u8] = &[0x4b, 0xa1, 0xd5, 0x22];

async fn check(kind: &str, port: u16, more: &str, budget: Duration) -> Observation {
    let config = format!(r#"{{"host":"127.0.0.1","port":{port}{more}}}"#);
    run(kind, &config, || context(budget)).await
}

/// One run; its time begins when the plugin is loaded.
async fn run(kind: &str, config: &str, context: impl FnOnce() -> ProbeContext) -> Observation {
    let bench = plugin("game-server").await;
    let executor = bench.registry.executor(kind).unwrap();
    let probed = executor.execute(config, &context()).await;
    probed.unwrap_or_else(CheckError::into_observation)
}

fn reason(observation: &Observation) -> &str {
    observation.reason.as_ref().map_or("", Reason::as_str)
}

/// A Source server: what it sends for each datagram that comes.
async fn source(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut question = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut question).await.unwrap();
            for answer in answers(&question[..length]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    port
}

/// As servers do since 2020: the answer only to who shows the number it was sent.
fn cautious(question: &[u8]) -> Vec<Vec<u8>> {
    match question.strip_prefix(QUESTION) {
        Some(b"") => vec![[b"\xff\xff\xff\xffA", CHALLENGE].concat()],
        Some(CHALLENGE) => vec![INFO.to_vec()],
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_source_server_is_up_after_its_challenge() {
    let port = source(cautious).await;
    let expect =
        r#","expect":{"min_players":5,"max_players":5,"map":"de_*","version":"1.0.*","name":"*strike*"}"#;
    let seen = check("source-server", port, expect, PLENTY).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert_eq!(
        seen.message,
        "game2xs.com Counter-Strike Source #1: 5 of 16 players on de_dust; version 1.0.0.22"
    );
    assert_eq!(seen.attributes["source.map"], "de_dust");
    let players = seen
        .metrics
        .iter()
        .find(|metric| metric.name == "players")
        .unwrap();
    assert!((players.value - 5.0).abs() < f64::EPSILON);

    let empty = check("source-server", port, r#","expect":{"min_players":6}"#, PLENTY).await;
    assert_eq!((empty.status, reason(&empty)), (Status::Down, "assertion_failed"));
    assert_eq!(empty.message, "5 players, at least 6 expected");
}

#[tokio::test]
async fn an_answer_in_parts_is_put_together() {
    let port = source(|_| {
        let part = |number: u8, data: &[u8]| {
            [
                &b"\xfe\xff\xff\xff\x01\x00\x00\x00\x02"[..],
                &[number, 0xe0, 0x04],
                data,
            ]
            .concat()
        };
        let (first, last) = INFO.split_at(50);
        vec![part(1, last), part(0, first)]
    })
    .await;
    let seen = check("source-server", port, "", PLENTY).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
}

#[tokio::test]
async fn source_servers_that_misbehave_are_down() {
    let budget = Duration::from_secs(2);
    let garbage = source(|_| vec![b"HTTP/1.1 400".to_vec()]).await;
    let seen = check("source-server", garbage, "", budget).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "protocol_error"),
        "{seen:?}"
    );
    let never_content = source(|_| vec![[b"\xff\xff\xff\xffA", CHALLENGE].concat()]).await;
    let seen = check("source-server", never_content, "", budget).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "protocol_error"),
        "{seen:?}"
    );
    let silent = source(|_| Vec::new()).await;
    let seen = check(
        "source-server",
        silent,
        r#","retry_ms":100"#,
        Duration::from_secs(1),
    )
    .await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "response_timeout"),
        "{seen:?}"
    );
    let seen = check("source-server", free_port().await, "", PLENTY).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "connection_refused"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_lost_question_is_asked_again() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let serve = async {
        let mut question = [0; 64];
        socket.recv_from(&mut question).await.unwrap();
        let (_, from) = socket.recv_from(&mut question).await.unwrap();
        socket.send_to(INFO, from).await.unwrap();
    };
    let (seen, ()) = tokio::join!(check("source-server", port, r#","retry_ms":100"#, PLENTY), serve);
    assert_eq!(seen.status, Status::Up, "{seen:?}");
}

/// A Minecraft server: reads a question, checks that it is `expected` at its port, and sends `answer` in small pieces.
async fn minecraft(expected: fn(u16) -> Vec<u8>, answer: Vec<u8>) -> u16 {
    fake(move |mut stream| {
        let answer = answer.clone();
        async move {
            let expected = expected(stream.local_addr().unwrap().port());
            let mut question = vec![0; expected.len()];
            stream.read_exact(&mut question).await.unwrap();
            if question == expected {
                for piece in answer.chunks(100) {
                    stream.write_all(piece).await.unwrap();
                    stream.flush().await.unwrap();
                }
            }
        }
    })
    .await
}

/// Handshake (any version, a host of nine letters, towards status) and status request, by the documentation.
fn handshake(host: &str, port: u16) -> Vec<u8> {
    let start = b"\x13\x00\xff\xff\xff\xff\x0f\x09";
    [&start[..], host.as_bytes(), &port.to_be_bytes(), b"\x01\x01\x00"].concat()
}

fn by_address(port: u16) -> Vec<u8> {
    handshake("127.0.0.1", port)
}

/// The status, its lengths written in two bytes, which may be more than they need.
fn status(json: &str) -> Vec<u8> {
    let varint = |value: usize| {
        vec![
            u8::try_from(value & 0x7f).unwrap() | 0x80,
            u8::try_from(value >> 7).unwrap(),
        ]
    };
    let text = [varint(json.len()), json.as_bytes().to_vec()].concat();
    [varint(text.len() + 1), vec![0], text].concat()
}

#[tokio::test]
async fn a_minecraft_server_is_up_with_its_players() {
    let picture = "A".repeat(4000);
    let json = format!(
        r#"{{"version":{{"name":"Paper 1.21.4","protocol":769}},"players":{{"max":20,"online":3}},
            "description":{{"text":"§aBlock ","extra":["Castle"]}},"favicon":"data:image/png;base64,{picture}"}}"#
    );
    let port = minecraft(by_address, status(&json)).await;
    let seen = check(
        "minecraft-server",
        port,
        r#","expect":{"version":"*1.21*","name":"block castle"}"#,
        PLENTY,
    )
    .await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert_eq!(
        seen.message,
        "Block Castle: 3 of 20 players; version Paper 1.21.4"
    );
}

#[tokio::test]
async fn a_minecraft_server_of_old_is_asked_its_own_way() {
    let text: Vec<u16> = "§1\u{0}127\u{0}1.4.2\u{0}A Minecraft Server\u{0}0\u{0}20"
        .encode_utf16()
        .collect();
    let mut kick = vec![0xff];
    kick.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    kick.extend(text.into_iter().flat_map(u16::to_be_bytes));
    let port = minecraft(|_| b"\xfe\x01".to_vec(), kick).await;
    let seen = check("minecraft-server", port, r#","protocol":"legacy""#, PLENTY).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert_eq!(seen.message, "A Minecraft Server: 0 of 20 players; version 1.4.2");
}

#[tokio::test]
async fn minecraft_servers_that_misbehave_are_down() {
    for (answer, wanted) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "connection_closed"),
        (b"\xff\xff\xff\xff\x07".to_vec(), "protocol_error"),
        (status("{"), "protocol_error"),
        (Vec::new(), "connection_closed"),
    ] {
        let port = minecraft(by_address, answer).await;
        let seen = check("minecraft-server", port, "", PLENTY).await;
        assert_eq!((seen.status, reason(&seen)), (Status::Down, wanted), "{seen:?}");
    }
}

/// A name server with two SRV records for whatever it is asked (RFC 2782): of priority 9 to port 1, and of priority
/// `priority` to `port`, both of `localhost`.
async fn name_server(priority: u8, port: u16) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut datagram).await.unwrap();
            let question = &datagram[12..length];
            assert!(question.starts_with(b"\x0a_minecraft\x04_tcp\x09localhost\x00\x00\x21\x00\x01"));
            let mut reply = datagram[..12 + 31].to_vec();
            reply[2..12].copy_from_slice(&[0x84, 0, 0, 1, 0, 2, 0, 0, 0, 0]);
            for (priority, port) in [(9, 1), (priority, port)] {
                reply.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 17, 0, priority, 0, 0]);
                reply.extend(port.to_be_bytes());
                reply.extend(b"\x09localhost\x00");
            }
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_minecraft_server_is_found_by_its_service_record() {
    let answer = status(r#"{"version":{"name":"1.21"},"description":"Block Castle"}"#);
    for (priority, found) in [(5, true), (10, false)] {
        let port = minecraft(|port| handshake("localhost", port), answer.clone()).await;
        let server = name_server(priority, port).await;
        let context = || ProbeContext {
            net: Net::with_name_servers(EgressPolicy::default(), &[server]),
            ..context(PLENTY)
        };
        let config = format!(r#"{{"host":"localhost","port":{port},"srv":true}}"#);
        let seen = run("minecraft-server", &config, context).await;
        assert_eq!(seen.status == Status::Up, found, "{seen:?}");
    }
}
