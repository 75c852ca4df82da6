//! The plugin `ntp` against chrony's server, and against servers that lie, stumble, or are none.

use crate::{
    servers::{Folder, Server, free_port, plugin, program},
    support::{Bench, PLENTY},
};
use lapwing_model::{Clock, Observation, Reason, Status, SystemClock};
use std::{net::SocketAddr, time::Duration};
use tokio::{net::UdpSocket, time::timeout};

type Packet = [u8; 48];

/// Chrony, serving the machine's own time as if it came from a clock of this stratum.
async fn chronyd(further: &str) -> Server {
    let (folder, port) = (Folder::new(), free_port().await);
    let pid = folder.path("pid");
    let config = format!(
        "port {port}\nbindaddress 127.0.0.1\nallow 127.0.0.1\ncmdport 0\nbindcmdaddress /\npidfile {}\n{further}\n",
        pid.display()
    );
    let file = folder.write("chrony.conf", config);
    let mut command = program("chronyd");
    // In the foreground, without root (-U), and without touching the machine's clock (-x).
    command.args(["-n", "-x", "-U", "-f"]).arg(file);
    folder.start(port, command, answers).await
}

/// Whether somebody answers a client's packet.
async fn answers(at: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut packet = [0; 48];
    packet[0] = 0x23;
    let asked = socket.connect(at).await.is_ok() && socket.send(&packet).await.is_ok();
    asked
        && timeout(Duration::from_millis(200), socket.recv(&mut packet))
            .await
            .is_ok_and(|received| received.is_ok())
}

async fn check(bench: &Bench, port: u16, rest: &str) -> Observation {
    check_within(bench, PLENTY, port, rest).await
}

async fn check_within(bench: &Bench, budget: Duration, port: u16, rest: &str) -> Observation {
    let config = format!(r#"{{"host":"127.0.0.1","port":{port}{rest}}}"#);
    bench.run(&config, budget).await.unwrap()
}

fn verdict(seen: &Observation) -> (Status, &str) {
    (seen.status, seen.reason.as_ref().map_or("", Reason::as_str))
}

fn metric(seen: &Observation, name: &str) -> f64 {
    seen.metrics
        .iter()
        .find(|metric| metric.name == name)
        .unwrap()
        .value
}

#[tokio::test]
async fn chrony_is_up_with_the_machines_own_time() {
    let (server, bench) = (chronyd("local stratum 3").await, plugin("ntp").await);
    let rest = r#","samples":3,"sample_interval_ms":0,"max_offset_ms":1000,"max_stratum":3"#;
    let seen = check(&bench, server.port, rest).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}\n{}", server.log());
    assert_eq!(seen.attributes["ntp.stratum"], 3);
    assert_eq!(seen.attributes["ntp.leap"], "none");
    assert_eq!(seen.attributes["ntp.refid"], "127.127.1.1");
    // Both read the same clock: the answer lies between our two moments, half a delay from either.
    let (offset, delay) = (metric(&seen, "offset"), metric(&seen, "delay"));
    assert!(
        offset.abs() <= delay / 2.0 + 0.1,
        "offset {offset} ms, delay {delay} ms"
    );
    assert!((metric(&seen, "samples") - 3.0).abs() < f64::EPSILON);
    assert!(seen.latency.is_some());

    let seen = check(&bench, server.port, r#","max_stratum":2"#).await;
    assert_eq!(verdict(&seen), (Status::Degraded, "ntp_stratum"));
}

#[tokio::test]
async fn a_server_without_a_clock_is_down() {
    // Without `local`, and with nobody to take the time from.
    let (server, bench) = (chronyd("").await, plugin("ntp").await);
    let seen = check(&bench, server.port, "").await;
    assert_eq!(verdict(&seen), (Status::Down, "ntp_unsynchronized"), "{seen:?}");
}

/// A server that answers each request with what `answer` makes of it and of its number.
async fn fake(answer: impl Fn(&Packet, usize) -> Vec<Vec<u8>> + Send + 'static) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut request = [0; 48];
        let mut number = 0;
        while let Ok((_, from)) = socket.recv_from(&mut request).await {
            number += 1;
            for datagram in answer(&request, number) {
                let _ = socket.send_to(&datagram, from).await;
            }
        }
    });
    port
}

/// A right answer, by a clock that is `ahead_ms` ahead.
fn right(request: &Packet, ahead_ms: i32) -> Packet {
    let micros = SystemClock.now().as_microsecond() + i64::from(ahead_ms) * 1000;
    let micros = u64::try_from(micros).unwrap();
    let seconds = micros / 1_000_000 + 2_208_988_800;
    let now = (seconds << 32) | (((micros % 1_000_000) << 32) / 1_000_000);
    let mut packet = [0; 48];
    packet[..4].copy_from_slice(&[4 << 3 | 4, 1, 6, 0xec]);
    packet[12..15].copy_from_slice(b"GPS");
    packet[24..32].copy_from_slice(&request[40..]);
    for at in [16, 32, 40] {
        packet[at..at + 8].copy_from_slice(&now.to_be_bytes());
    }
    packet
}

fn kiss(request: &Packet, code: [u8; 4]) -> Packet {
    let mut packet = right(request, 0);
    packet[0] |= 3 << 6;
    packet[1] = 0;
    packet[12..16].copy_from_slice(&code);
    packet
}

#[tokio::test]
async fn a_clock_that_lies_is_measured_and_degraded() {
    let bench = plugin("ntp").await;
    for ahead in [-1_500, 2_500, 86_400_000] {
        let port = fake(move |request, _| vec![right(request, ahead).to_vec()]).await;
        let seen = check(&bench, port, r#","max_offset_ms":1000"#).await;
        assert_eq!(verdict(&seen), (Status::Degraded, "ntp_offset"), "{seen:?}");
        let error = (metric(&seen, "offset") - f64::from(ahead)).abs();
        assert!(error <= metric(&seen, "delay") / 2.0 + 1.0, "{seen:?}");
        assert_eq!(seen.attributes["ntp.refid"], "GPS");
    }
}

#[tokio::test]
async fn only_the_answer_to_our_own_request_counts() {
    let bench = plugin("ntp").await;
    let port = fake(|request, _| {
        let mut forged = right(request, 60_000);
        forged[24] ^= 1;
        let reflected = request.to_vec();
        vec![
            forged.to_vec(),
            b"short".to_vec(),
            reflected,
            Vec::new(),
            right(request, 0).to_vec(),
        ]
    })
    .await;
    let seen = check(&bench, port, r#","max_offset_ms":10000"#).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");

    let port = fake(|request, _| {
        let mut forged = right(request, 0);
        forged[31] ^= 1;
        vec![forged.to_vec()]
    })
    .await;
    let seen = check_within(&bench, Duration::from_secs(1), port, "").await;
    assert_eq!(verdict(&seen), (Status::Down, "protocol_error"), "{seen:?}");
    assert!(seen.message.contains("another request"), "{}", seen.message);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let bench = plugin("ntp").await;
    let port = fake(|request, number| match number {
        1 => Vec::new(),
        _ => vec![right(request, 0).to_vec()],
    })
    .await;
    let seen = check(&bench, port, r#","step_timeout_ms":300"#).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert!((metric(&seen, "lost") - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn silence_is_down() {
    let bench = plugin("ntp").await;
    let port = fake(|_, _| Vec::new()).await;
    let seen = check_within(&bench, Duration::from_secs(1), port, "").await;
    assert_eq!(verdict(&seen), (Status::Down, "response_timeout"), "{seen:?}");
    assert!(seen.message.contains("asked 3 times"), "{}", seen.message);

    let closed = free_port().await;
    let seen = check(&bench, closed, "").await;
    assert_eq!(verdict(&seen), (Status::Down, "connection_refused"), "{seen:?}");
}

#[tokio::test]
async fn a_kiss_of_death_ends_the_asking() {
    let bench = plugin("ntp").await;
    for (code, status, reason) in [
        (*b"RATE", Status::Unknown, "ntp_rate_limited"),
        (*b"DENY", Status::Down, "ntp_denied"),
        (*b"INIT", Status::Down, "ntp_unsynchronized"),
    ] {
        let port = fake(move |request, number| {
            assert_eq!(number, 1, "asked again after a kiss of death");
            vec![kiss(request, code).to_vec()]
        })
        .await;
        let seen = check(&bench, port, r#","samples":3,"sample_interval_ms":0"#).await;
        assert_eq!(verdict(&seen), (status, reason), "{seen:?}");
    }
    // With an answer in hand, the kiss is only told of.
    let port = fake(|request, number| match number {
        1 => vec![right(request, 0).to_vec()],
        _ => vec![kiss(request, *b"RATE").to_vec()],
    })
    .await;
    let seen = check(&bench, port, r#","samples":3,"sample_interval_ms":0"#).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert_eq!(seen.attributes["ntp.kiss"], "RATE");
}

#[tokio::test]
async fn a_pause_that_does_not_fit_is_left_out() {
    let bench = plugin("ntp").await;
    let port = fake(|request, _| vec![right(request, 0).to_vec()]).await;
    let rest = r#","samples":8,"sample_interval_ms":60000"#;
    let seen = check(&bench, port, rest).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert!((metric(&seen, "samples") - 1.0).abs() < f64::EPSILON);
}
