//! The `http`, `dns` and `udp` interfaces, by a guest that behaves.

use crate::support::{Bench, PLENTY, small, unknown};
use lapwing_model::{Reason, Status};
use lapwing_wasm::{PluginSettings, RunLimits};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

/// `/` answers with a body, `/away` redirects to a forbidden address, `/around` to itself.
async fn web() -> u16 {
    counting_web().await.0
}

/// The same, with the number of connections it has had.
async fn counting_web() -> (u16, Arc<AtomicU32>) {
    let connections = Arc::new(AtomicU32::new(0));
    let count = connections.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Relaxed);
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let answer = match request.split(' ').nth(1) {
                Some("/away") => "302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0",
                Some("/around") => "302 Found\r\nlocation: /around\r\ncontent-length: 0",
                _ => "200 OK\r\ncontent-length: 11\r\n\r\nhello world",
            };
            let end = if answer.contains("\r\n\r\n") {
                ""
            } else {
                "\r\n\r\n"
            };
            stream
                .write_all(format!("HTTP/1.1 {answer}{end}").as_bytes())
                .await
                .unwrap();
        }
    });
    (port, connections)
}

/// Answers every question with the address 192.0.2.7, in a copy of the question (RFC 1035 §4.1).
async fn resolver() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut datagram = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
            let question_end = 12 + datagram[12..length].iter().position(|byte| *byte == 0).unwrap() + 5;
            let mut reply = datagram[..question_end].to_vec();
            reply[2..12].copy_from_slice(&[0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn http_answers_with_everything_that_was_measured() {
    let port = web().await;
    let bench = Bench::new("traveller").await;
    let seen = bench
        .run(
            &format!(r#"{{"via":"http","url":"http://127.0.0.1:{port}/"}}"#),
            PLENTY,
        )
        .await
        .unwrap();
    assert_eq!((seen.status, seen.message.as_str()), (Status::Up, "hello world"));
    assert_eq!(seen.attributes["status"], 200);
    assert_eq!(seen.attributes["version"], "HTTP/1.1");
    assert_eq!(seen.attributes["truncated"], false);
    assert!(
        seen.phases.iter().any(|phase| phase.name == "first_byte"),
        "{:?}",
        seen.phases
    );

    let config = format!(r#"{{"via":"http","url":"http://127.0.0.1:{port}/","bytes":5}}"#);
    let cut = bench.run(&config, PLENTY).await.unwrap();
    assert_eq!(
        (cut.message.as_str(), &cut.attributes["truncated"]),
        ("hello", &true.into())
    );
}

#[tokio::test]
async fn redirects_are_judged_hop_by_hop() {
    let port = web().await;
    let bench = Bench::new("traveller").await;
    let go = async |path: &str, redirects: u8| {
        let config =
            format!(r#"{{"via":"http","url":"http://127.0.0.1:{port}{path}","redirects":{redirects}}}"#);
        bench.run(&config, PLENTY).await
    };
    assert_eq!(go("/away", 0).await.unwrap().attributes["status"], 302);
    let (reason, message) = unknown(go("/away", 3).await);
    assert_eq!(reason, Reason::DeniedByPolicy);
    assert!(message.contains("169.254.169.254"), "{message}");
    assert_eq!(go("/around", 3).await.unwrap().status, Status::Down);
}

#[tokio::test]
async fn secrets_are_refused_by_name() {
    let bench = Bench::new("traveller").await;
    let config = r#"{"via":"http","url":"http://127.0.0.1:9/","secret":"token"}"#;
    let (reason, message) = unknown(bench.run(config, PLENTY).await);
    assert_eq!(reason, Reason::DeniedByPolicy);
    assert!(message.contains("authorization"), "{message}");
}

#[tokio::test]
async fn an_unfit_url_is_the_configurations_fault() {
    let bench = Bench::new("traveller").await;
    let long = format!("http://127.0.0.1/{}", "x".repeat(16 << 10));
    for url in ["no url", "ftp://127.0.0.1/", "http://", &long] {
        let (reason, message) = unknown(
            bench
                .run(&format!(r#"{{"via":"http","url":"{url}"}}"#), PLENTY)
                .await,
        );
        assert_eq!(reason, Reason::InvalidConfig, "{url}: {message}");
    }
}

#[tokio::test]
async fn bytes_on_the_network_are_limited() {
    let port = web().await;
    let limits = RunLimits {
        network_kib: 0,
        ..RunLimits::default()
    };
    let bench = Bench::with("traveller", PluginSettings { limits, ..small() }).await;
    let config = format!(r#"{{"via":"http","url":"http://127.0.0.1:{port}/"}}"#);
    let (reason, message) = unknown(bench.run(&config, PLENTY).await);
    assert_eq!(reason, Reason::LimitHit);
    assert!(message.contains("limits.network_kib"), "{message}");
}

#[tokio::test]
async fn connections_are_limited_hop_by_hop() {
    let (port, connections) = counting_web().await;
    let limits = RunLimits {
        connects: 5,
        ..RunLimits::default()
    };
    let bench = Bench::with("traveller", PluginSettings { limits, ..small() }).await;
    let config = format!(r#"{{"via":"http","url":"http://127.0.0.1:{port}/around","redirects":30}}"#);
    let (reason, message) = unknown(bench.run(&config, PLENTY).await);
    assert_eq!(
        (reason, message.as_str()),
        (Reason::LimitHit, "too many connections (`limits.connects`)")
    );
    assert_eq!(connections.load(Relaxed), 5);
}

#[tokio::test]
async fn questions_and_cut_datagrams_count_whole() {
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let chatty = echo.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut datagram = [0; 512];
        while let Ok((_, from)) = echo.recv_from(&mut datagram).await {
            echo.send_to(&[b'x'; 2000], from).await.unwrap();
        }
    });
    let dns = resolver().await;
    let question = format!(r#"{{"via":"dns","name":"x.test","host":"127.0.0.1","port":{dns}}}"#);
    let datagram =
        |text: &str| format!(r#"{{"via":"udp","host":"127.0.0.1","port":{chatty},"text":"{text}"}}"#);
    for (network_kib, config) in [(0, question), (0, datagram("")), (1, datagram("hello"))] {
        let limits = RunLimits {
            network_kib,
            ..RunLimits::default()
        };
        let bench = Bench::with("traveller", PluginSettings { limits, ..small() }).await;
        let (reason, message) = unknown(bench.run(&config, PLENTY).await);
        assert_eq!(
            (reason, message.as_str()),
            (
                Reason::LimitHit,
                "too many bytes sent and received (`limits.network_kib`)"
            ),
            "{config}"
        );
    }
}

#[tokio::test]
async fn a_read_is_whole_or_a_quota_or_the_targets_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(&[b'x'; 2000]).await;
            let _ = stream.write_all(b"\n").await;
        }
    });
    let limits = RunLimits {
        network_kib: 1,
        ..RunLimits::default()
    };
    let poor = Bench::with("traveller", PluginSettings { limits, ..small() }).await;
    let rich = Bench::new("traveller").await;
    let read = async |bench: &Bench, bytes: u32, until: &str| {
        bench
            .run(
                &format!(r#"{{"via":"tcp","host":"127.0.0.1","port":{port},"bytes":{bytes}{until}}}"#),
                PLENTY,
            )
            .await
    };
    let line = r#","until":"\n""#;
    for (bytes, until, message) in [(1500, "", "1500 bytes came"), (2001, line, "2001 bytes came")] {
        assert_eq!(read(&rich, bytes, until).await.unwrap().message, message);
        assert_eq!(unknown(read(&poor, bytes, until).await).0, Reason::LimitHit);
    }
    let long = read(&rich, 2000, line).await.unwrap();
    assert_eq!(
        (long.status, long.reason),
        (Status::Down, Some(Reason::ProtocolError))
    );
    let ended = read(&rich, 5000, "").await.unwrap();
    assert_eq!(
        (ended.status, ended.reason),
        (Status::Down, Some(Reason::ConnectionClosed))
    );
}

#[tokio::test]
async fn a_delimiter_is_short() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let delimiter = "x".repeat(256);
    let line = delimiter.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(line.as_bytes()).await;
        }
    });
    let bench = Bench::new("traveller").await;
    let read = async |until: &str| {
        let config =
            format!(r#"{{"via":"tcp","host":"127.0.0.1","port":{port},"bytes":1000,"until":"{until}"}}"#);
        bench.run(&config, PLENTY).await
    };
    assert_eq!(read(&delimiter).await.unwrap().message, "256 bytes came");
    let (reason, message) = unknown(read(&format!("{delimiter}x")).await);
    assert_eq!(reason, Reason::LimitHit);
    assert!(message.contains("delimiter"), "{message}");
}

#[tokio::test]
async fn dns_asks_the_named_server_as_often_as_allowed() {
    let port = resolver().await;
    let limits = RunLimits {
        dns_queries: 3,
        ..RunLimits::default()
    };
    let bench = Bench::with("traveller", PluginSettings { limits, ..small() }).await;
    let ask = async |times: u32| {
        let config = format!(
            r#"{{"via":"dns","name":"lapwing.test","host":"127.0.0.1","port":{port},"times":{times}}}"#
        );
        bench.run(&config, PLENTY).await
    };
    assert_eq!(ask(3).await.unwrap().message, "192.0.2.7");
    let (reason, message) = unknown(ask(4).await);
    assert_eq!(reason, Reason::LimitHit);
    assert!(message.contains("limits.dns_queries"), "{message}");
}

#[tokio::test]
async fn udp_speaks_with_its_peer() {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = peer.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut datagram = [0; 100];
        let (length, from) = peer.recv_from(&mut datagram).await.unwrap();
        datagram[..length].make_ascii_uppercase();
        peer.send_to(&datagram[..length], from).await.unwrap();
        // The second one gets no answer.
        peer.recv_from(&mut datagram).await.unwrap();
        std::future::pending::<()>().await;
    });
    let bench = Bench::new("traveller").await;
    let config = format!(r#"{{"via":"udp","host":"127.0.0.1","port":{port},"text":"hello"}}"#);
    assert_eq!(bench.run(&config, PLENTY).await.unwrap().message, "HELLO");
    let silent = bench.run(&config, Duration::from_millis(500)).await.unwrap();
    assert_eq!(
        (silent.status, silent.reason),
        (Status::Down, Some(Reason::ResponseTimeout))
    );
}
