//! Kind `tcp`.

use crate::support::{
    Probe,
    certificates::{Authority, Leaf},
    reason,
    server::{Server, closed_port, reset},
    with,
};
use lapwing_model::Status;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

fn config(port: u16, more: Value) -> Value {
    let config = json!({ "host": "127.0.0.1", "port": port });
    with(config, more)
}

#[tokio::test]
async fn an_open_port_is_up_and_the_connection_is_closed() {
    let server = Server::raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 8]).await;
    })
    .await;
    let seen = Probe::new()
        .seen(
            "tcp",
            config(server.port(), json!({ "check_cert_expiry": false })),
        )
        .await;
    assert_eq!(seen.message, format!("TCP port {} is open", server.port()));
    assert_eq!(
        (seen.status, &seen.attributes["peer"]),
        (Status::Up, &json!(server.address.to_string()))
    );
    assert!(seen.latency.is_some());
    server.drained().await;
}

#[tokio::test]
async fn refused_reset_and_closed_are_told_apart() {
    let port = closed_port().await;
    let seen = Probe::new().seen("tcp", config(port, json!({}))).await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "connection_refused"));
    assert_eq!(
        seen.message,
        format!("TCP connection failed: connection refused: 127.0.0.1:{port}")
    );

    let steps = json!({ "steps": [{ "send": "hello" }, { "expect": "x" }] });
    let resetting = Server::raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 8]).await;
        reset(stream);
    })
    .await;
    assert_eq!(
        reason(
            &Probe::new()
                .seen("tcp", config(resetting.port(), steps.clone()))
                .await
        ),
        "connection_reset"
    );
    let closing = Server::raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 8]).await;
    })
    .await;
    assert_eq!(
        reason(&Probe::new().seen("tcp", config(closing.port(), steps)).await),
        "connection_closed"
    );
}

#[tokio::test]
async fn a_port_of_zero_is_an_invalid_config() {
    let error = Probe::new().run("tcp", config(0, json!({}))).await.unwrap_err();
    assert!(error.to_string().contains("`port`"), "{error}");
}

#[tokio::test]
async fn an_ipv6_address_may_be_in_brackets() {
    let server = Server::bind("[::1]:0", |_| async {}).await;
    for host in ["::1", "[::1]"] {
        let seen = Probe::new()
            .seen("tcp", json!({ "host": host, "port": server.port() }))
            .await;
        assert_eq!(seen.status, Status::Up, "{}", seen.message);
    }
}

#[tokio::test]
async fn a_conversation_is_held_step_by_step_and_remembers_groups() {
    let server = Server::raw(|stream| async move {
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 ready id=").await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(b"77\r\n").await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        stream
            .write_all(format!("250 you said {line}").as_bytes())
            .await
            .unwrap();
    })
    .await;
    let steps = |last: &str| json!({ "steps": [{ "expect": "^220 ready id=(\\d+)\r\n" }, { "send": "AUTH ${1}\r\n" }, { "expect": last }] });
    let seen = Probe::new()
        .seen("tcp", config(server.port(), steps("^250 you said AUTH 77")))
        .await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    let seen = Probe::new()
        .seen("tcp", config(server.port(), steps("^250 welcome")))
        .await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "assertion_failed"));
    assert!(
        seen.message
            .contains("expected '^250 welcome', heard '250 you said AUTH 77"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_peer_that_never_stops_talking_is_cut_off() {
    let server =
        Server::raw(|mut stream| async move { while stream.write_all(&[b'x'; 8192]).await.is_ok() {} }).await;
    let seen = Probe::new()
        .seen(
            "tcp",
            config(server.port(), json!({ "steps": [{ "expect": "y" }] })),
        )
        .await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "assertion_failed"),
        "{}",
        seen.message
    );
    server.drained().await;
}

#[tokio::test]
async fn starttls_shows_the_certificate_and_refuses_what_was_injected_before() {
    let authority = Authority::new();
    let acceptor = authority.issue(&Leaf::default()).acceptor();
    for (greeting, rest, expect, status) in [
        ("220 go\r\n", "", "^220 go\r\n", Status::Up),
        ("220 go\r\n", "", "^220", Status::Up),
        ("220 go", " on\r\n", "^220 ", Status::Up),
        // The injected line must have arrived with the greeting: the expectation makes sure of it.
        (
            "220 go\r\ninjected\r\nmore\r\n",
            "",
            "^220 go\r\ninj",
            Status::Down,
        ),
    ] {
        let acceptor = acceptor.clone();
        let server = Server::raw(move |mut stream| {
            let acceptor = acceptor.clone();
            async move {
                let _ = stream.write_all(greeting.as_bytes()).await;
                if !rest.is_empty() {
                    // As a line comes that is sent in two pieces.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let _ = stream.write_all(rest.as_bytes()).await;
                }
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.write_all(b"250 secure\r\n").await;
                }
            }
        })
        .await;
        let steps = json!([{ "expect": expect }, "starttls", { "expect": "^250 secure" }]);
        let more = json!({ "steps": steps, "tls_ca": authority.pem() });
        let probe = Probe::new().within(Duration::from_secs(3));
        let seen = probe.seen("tcp", config(server.port(), more)).await;
        assert_eq!(seen.status, status, "{}", seen.message);
        if status == Status::Up {
            let tls = seen.tls.unwrap();
            assert!(tls.verified && tls.protocol == "TLSv1.3");
            assert!(seen.phases.iter().any(|phase| phase.name == "tls"));
        } else {
            assert_eq!(reason(&seen), "protocol_error");
        }
    }
}

#[tokio::test]
async fn steps_may_send_and_expect_bytes() {
    let server = Server::raw(|mut stream| async move {
        let mut heard = [0; 4];
        let _ = stream.read_exact(&mut heard).await;
        assert_eq!(heard, [0, 0xff, b'$', b'{']);
        let _ = stream.write_all(&[0x80, 0, b'\n', 0xfe]).await;
    })
    .await;
    let steps = |last: Value| {
        json!({ "steps": [
            { "send": { "hex": "00ff" } }, { "send": { "base64": "JHs=" } },
            { "expect": { "hex": "80 00 0a" } }, { "expect": last },
        ] })
    };
    for (last, status) in [
        (json!({ "hex": "fe" }), Status::Up),
        (json!({ "hex": "80" }), Status::Down),
    ] {
        let seen = Probe::new().seen("tcp", config(server.port(), steps(last))).await;
        assert_eq!(seen.status, status, "{}", seen.message);
        assert!(
            status == Status::Up || seen.message.contains("expected the bytes 80, heard"),
            "{}",
            seen.message
        );
    }
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_degraded_and_an_old_tls_version_refused() {
    let authority = Authority::new();
    let acceptor = authority
        .issue(&Leaf::default())
        .acceptor_with(&[], None, &[&rustls::version::TLS12]);
    let server = Server::raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let _ = acceptor.accept(stream).await;
        }
    })
    .await;
    let more = |more: Value| with(json!({ "steps": ["starttls"], "tls_ca": authority.pem() }), more);
    // More days than any certificate of these tests has.
    for (option, status, reason_word) in [
        (json!({}), Status::Up, ""),
        (
            json!({ "cert_expiry_warn_days": 100_000 }),
            Status::Degraded,
            "certificate_expiring",
        ),
        (json!({ "min_tls_version": "1.3" }), Status::Down, "tls_failed"),
    ] {
        let seen = Probe::new()
            .seen("tcp", config(server.port(), more(option)))
            .await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (status, reason_word),
            "{}",
            seen.message
        );
        assert!(status == Status::Down || seen.message.starts_with("TCP port "));
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_a_connection_attempt_is_told_from_the_others() {
    // A queue of connections that is full: further attempts are dropped without a word.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let patience = Duration::from_millis(200);
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, patience) {
        queued.push(stream);
    }
    let probe = Probe::new().within(Duration::from_millis(500));
    let seen = probe.seen("tcp", config(address.port(), json!({}))).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "connection_timeout"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_peer_that_drips_is_held_to_the_deadline() {
    let server = Server::raw(|mut stream| async move {
        while stream.write_all(b"2").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let start = Instant::now();
    let budget = Duration::from_millis(700);
    let steps = json!({ "steps": [{ "expect": "^220 " }] });
    let seen = Probe::new()
        .within(budget)
        .seen("tcp", config(server.port(), steps))
        .await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "assertion_failed"),
        "{}",
        seen.message
    );
    assert!(
        seen.message.ends_with("and nothing more in time"),
        "{}",
        seen.message
    );
    assert!(start.elapsed() >= budget);
    server.drained().await;
}
