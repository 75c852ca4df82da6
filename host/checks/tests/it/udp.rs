//! Kind `udp`.

use crate::support::{Probe, paused_from, reason, with};
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{net::UdpSocket, sync::Notify, time::Instant};
use tokio_util::task::AbortOnDropHandle;

/// A server that answers each datagram with what `answers` makes of it: any number of datagrams.
pub(crate) struct Datagrams {
    pub(crate) port: u16,
    pub(crate) heard: Arc<Notify>,
    _task: AbortOnDropHandle<()>,
}

impl Datagrams {
    pub(crate) async fn serve(mut answers: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let heard = Arc::new(Notify::new());
        let told = heard.clone();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65_535];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                for answer in answers(&buffer[..length]) {
                    let _ = socket.send_to(&answer, from).await;
                }
                told.notify_one();
            }
        });
        Self {
            port,
            heard,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

async fn seen(server: &Datagrams, more: Value) -> Observation {
    let config = json!({ "host": "127.0.0.1", "port": server.port });
    Probe::new().seen("udp", with(config, more)).await
}

#[tokio::test]
async fn an_answer_is_judged_by_text_and_by_bytes() {
    let server = Datagrams::serve(|asked| vec![[&[0xff, 0x00], asked, b"\n"].concat()]).await;
    for (more, status, says) in [
        (json!({ "payload": "ping" }), Status::Up, "answered with 7 bytes"),
        (json!({}), Status::Up, "answered with 3 bytes"),
        (
            json!({ "payload": "ping", "expect": "(?-u)^.\\x00ping\n$" }),
            Status::Up,
            "",
        ),
        (
            json!({ "payload": { "hex": "0a0d" }, "expect": { "base64": "/wAKDQo=" } }),
            Status::Up,
            "",
        ),
        (
            json!({ "payload": "ping", "expect": "pong" }),
            Status::Down,
            "expected 'pong', heard '\u{fffd}\\0ping\\n'",
        ),
        (
            json!({ "payload": "ping", "expect": { "hex": "beef" } }),
            Status::Down,
            "expected the bytes beef",
        ),
    ] {
        let seen = seen(&server, more).await;
        assert_eq!(seen.status, status, "{}", seen.message);
        assert!(seen.message.contains(says), "{}", seen.message);
        assert!(status == Status::Up || reason(&seen) == "assertion_failed");
    }
}

#[tokio::test]
async fn silence_is_down_unless_it_is_fine_and_a_refusal_is_down_in_any_case() {
    let silent = Datagrams::serve(|_| vec![]).await;
    let config = json!({ "host": "127.0.0.1", "port": silent.port });
    let start = Instant::now();
    let probe = Probe::new().within(Duration::from_secs(60));
    let seen = paused_from(silent.heard.notified(), probe.seen("udp", config.clone())).await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "response_timeout"));
    assert!(start.elapsed() >= Duration::from_secs(60));

    let start = Instant::now();
    let config = with(config, json!({ "answer_optional": true, "wait_ms": 1500 }));
    let seen = paused_from(silent.heard.notified(), probe.seen("udp", config)).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert!(start.elapsed() >= Duration::from_millis(1500) && start.elapsed() < Duration::from_secs(30));

    let port = silent.port;
    drop(silent);
    for optional in [false, true] {
        let config =
            json!({ "host": "127.0.0.1", "port": port, "payload": "x", "answer_optional": optional });
        let seen = Probe::new().seen("udp", config).await;
        assert_eq!((seen.status, reason(&seen)), (Status::Down, "connection_refused"));
    }
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again_where_that_is_asked() {
    let mut lost = 0;
    let server = Datagrams::serve(move |_| {
        lost += 1;
        if lost < 3 { vec![] } else { vec![b"here".to_vec()] }
    })
    .await;
    let config = json!({ "host": "127.0.0.1", "port": server.port, "tries": 3 });
    // The third is sent after two thirds of the time, and answered at once.
    let probe = Probe::new().within(Duration::from_millis(1200));
    let seen = probe.seen("udp", config).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
}

#[tokio::test]
async fn what_another_peer_sends_is_no_answer() {
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let answering = async {
        let (_, from) = socket.recv_from(&mut [0; 16]).await.unwrap();
        other.send_to(b"a lie", from).await.unwrap();
        socket.send_to(b"the truth", from).await.unwrap();
    };
    let config = json!({ "host": "127.0.0.1", "port": port, "expect": "^the truth$" });
    let probe = Probe::new();
    let (seen, ()) = tokio::join!(probe.seen("udp", config), answering);
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
}

#[tokio::test]
async fn the_largest_datagram_comes_through_and_an_ipv6_host_may_be_in_brackets() {
    let socket = UdpSocket::bind("[::1]:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let answering = async {
        let (_, from) = socket.recv_from(&mut [0; 16]).await.unwrap();
        socket.send_to(&vec![b'x'; 65_000], from).await.unwrap();
    };
    let probe = Probe::new();
    let config = json!({ "host": "[::1]", "port": port, "expect": "^x{1000}" });
    let (seen, ()) = tokio::join!(probe.seen("udp", config), answering);
    assert_eq!(
        (seen.status, &*seen.message),
        (Status::Up, &*format!("UDP port {port} answered with 65000 bytes"))
    );
}

#[tokio::test]
async fn a_payload_that_no_datagram_has_room_for_is_an_unfit_configuration() {
    let config = json!({ "host": "127.0.0.1", "port": 9, "payload": "x".repeat(65_508) });
    let error = Probe::new().run("udp", config).await.unwrap_err();
    assert!(
        matches!(&error, lapwing_checks::CheckError::InvalidConfig(text) if text.contains("`payload`")),
        "{error}"
    );
}
