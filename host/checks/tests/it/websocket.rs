//! Kind `websocket` against tungstenite's server, and against scripted ones for what it would not do.

use crate::support::{
    Probe,
    certificates::{Authority, Leaf},
    eventually,
    proxy::Proxy,
    reason,
    server::{Server, ok, redirect},
    with,
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Reason, Status};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    accept_async, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// What a handshake carried.
type Heads = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// Echoes what is said; `bye` makes it leave with 4401, `greet` sends three messages.
async fn echo(tls: Option<TlsAcceptor>) -> (Server, Heads) {
    let heads = Heads::default();
    let noted = heads.clone();
    let server = Server::raw(move |stream| {
        let (heads, tls) = (noted.clone(), tls.clone());
        async move {
            match tls {
                None => talk(stream, heads).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        talk(stream, heads).await;
                    }
                }
            }
        }
    });
    (server.await, heads)
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, heads: Heads) {
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let note = |request: &Request, mut response: Response| {
        let head = (request.uri().to_string(), request.headers().clone());
        heads.lock().unwrap().push(head);
        let offered = request.headers().get("sec-websocket-protocol");
        if offered.is_some_and(|offered| offered.to_str().unwrap().contains("chat.v2")) {
            response
                .headers_mut()
                .insert("sec-websocket-protocol", "chat.v2".parse().unwrap());
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, note).await else {
        return;
    };
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text == "bye" => {
                let frame = CloseFrame {
                    code: CloseCode::from(4401),
                    reason: "who are you".into(),
                };
                let _ = socket.close(Some(frame)).await;
            }
            Message::Text(text) if text == "greet" => {
                for text in ["hello", r#"{"queue":{"length":7}}"#, "last"] {
                    let _ = socket.send(Message::text(text)).await;
                }
            }
            Message::Text(_) | Message::Binary(_) => _ = socket.send(message).await,
            _ => {}
        }
    }
}

async fn seen(server: &Server, more: Value) -> Observation {
    let url = format!("ws://{}/socket?room=1", server.address);
    Probe::new()
        .seen("websocket", with(json!({ "url": url }), more))
        .await
}

#[tokio::test]
async fn an_upgrade_is_up_with_its_phases_and_the_connection_closed() {
    let (server, heads) = echo(None).await;
    let seen = seen(&server, json!({})).await;
    assert_eq!(
        (seen.status, seen.message.as_str()),
        (Status::Up, "WebSocket is open")
    );
    assert_eq!(seen.attributes["http.status"], 101);
    let phases: Vec<&str> = seen.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(&phases[..2], ["connect", "first_byte"]);
    server.drained().await;
    let (uri, headers) = heads.lock().unwrap().remove(0);
    assert_eq!(uri, "/socket?room=1");
    assert_eq!(headers["host"], server.address.to_string());
    assert_eq!(headers["sec-websocket-version"], "13");
    assert_eq!(
        headers["user-agent"],
        format!("lapwing/{}", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn headers_and_userinfo_go_along_and_the_protocols_own_are_refused() {
    let (server, heads) = echo(None).await;
    let url = format!("ws://me:s3cr%65t@{}/", server.address);
    let config =
        json!({ "url": url, "headers": { "Host": "virtual.example", "Origin": "https://a.example" } });
    assert_eq!(Probe::new().seen("websocket", config).await.status, Status::Up);
    let (_, headers) = heads.lock().unwrap().remove(0);
    assert_eq!(headers["host"], "virtual.example");
    assert_eq!(headers["origin"], "https://a.example");
    assert_eq!(headers["authorization"], "Basic bWU6czNjcmV0");

    for (more, why) in [
        (
            json!({ "headers": { "Sec-WebSocket-Key": "x" } }),
            "`sec-websocket-key`",
        ),
        (
            json!({ "headers": { "Sec-WebSocket-Protocol": "x" } }),
            "`subprotocols` sets it",
        ),
        (json!({ "headers": { "Upgrade": "h2c" } }), "`upgrade`"),
        (json!({ "subprotocols": ["a b"] }), "`a b` is no subprotocol"),
        (
            json!({ "url": "https://127.0.0.1/" }),
            "scheme `https`, expected `ws://`",
        ),
        (json!({ "url": "nowhere" }), "`url`"),
        (json!({ "steps": [{ "close": 1005 }] }), "`close`: no side may"),
        (json!({ "steps": [{ "expect": "(" }] }), "`steps[0]"),
        (json!({ "steps": [{ "send_bytes": "???" }] }), "`steps[0]"),
        (
            json!({ "steps": [{ "expect_json": { "query": "$[" } }] }),
            "`steps`",
        ),
        (json!({ "tls_cert": "x" }), "`tls_key`"),
    ] {
        let config = with(json!({ "url": format!("ws://{}/", server.address) }), more);
        let error = Probe::new().run("websocket", config).await.unwrap_err();
        assert!(matches!(error, CheckError::InvalidConfig(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_offered_subprotocol_must_be_chosen() {
    let (server, _) = echo(None).await;
    let up = seen(&server, json!({ "subprotocols": ["chat.v1", "chat.v2"] })).await;
    assert_eq!(up.status, Status::Up, "{}", up.message);
    let down = seen(&server, json!({ "subprotocols": ["chat.v1"] })).await;
    assert_eq!((down.status, reason(&down)), (Status::Down, "protocol_error"));
    assert!(
        down.message.contains("none of the subprotocols"),
        "{}",
        down.message
    );
}

#[tokio::test]
async fn a_conversation_is_held_step_by_step() {
    let (server, _) = echo(None).await;
    let steps = json!([
        { "send": "one" }, { "expect": "^o.e$" },
        { "send_bytes": "AP8=" }, { "expect_bytes": "AP8=" },
        "ping",
        { "send": "greet" }, { "expect_json": { "query": "queue.length", "condition": "<", "value": "10" } },
        { "expect": "last" },
        { "close": 1001 },
    ]);
    let seen = seen(&server, json!({ "steps": steps })).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert_eq!(seen.attributes["websocket.close_code"], 1001);
    server.drained().await;
}

#[tokio::test]
async fn a_message_beyond_what_a_query_looks_at_says_nothing() {
    let (server, _) = echo(None).await;
    let deep = format!(r#"{{"s":"ok","t":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let long = format!(r#"["ok",{}0]"#, "0,".repeat(600_000));
    let fine = format!(r#"{{"s":"ok"{}}}"#, " ".repeat(20_000));
    for (query, said) in [("s", &deep), ("$[0]", &long)] {
        let wanted = json!({ "expect_json": { "query": query, "value": "ok" } });
        let run = async |then: &str| {
            let steps = json!([{ "send": said }, { "send": then }, wanted]);
            let config = json!({
                "url": format!("ws://{}/", server.address), "steps": steps, "max_message_bytes": 2_000_000,
            });
            Probe::new().run("websocket", config).await
        };
        let error = run("bye").await.unwrap_err();
        assert_eq!(error.reason(), Reason::LimitHit, "{error}");
        assert!(
            error.to_string().contains("more than a JSON query looks at"),
            "{error}"
        );
        if query == "s" {
            let seen = run(&fine).await.unwrap();
            assert_eq!(
                seen.status,
                Status::Up,
                "a later one is as asked: {}",
                seen.message
            );
        }
    }
}

#[tokio::test]
async fn a_goodbye_is_judged_by_its_code() {
    let (server, _) = echo(None).await;
    let ends = async |code: u16| {
        seen(
            &server,
            json!({ "steps": [{ "send": "bye" }, { "expect_close": code }] }),
        )
        .await
    };
    assert_eq!(ends(4401).await.status, Status::Up);
    let other = ends(1000).await;
    assert_eq!((other.status, reason(&other)), (Status::Down, "assertion_failed"));
    assert!(
        other.message.contains("4401 ('who are you')"),
        "{}",
        other.message
    );
    let early = seen(
        &server,
        json!({ "steps": [{ "send": "bye" }, { "expect": "x" }] }),
    )
    .await;
    assert_eq!(
        (early.status, reason(&early)),
        (Status::Down, "connection_closed")
    );
    assert_eq!(early.attributes["websocket.close_code"], 4401);
}

#[tokio::test]
async fn a_message_that_never_matches_is_told_at_the_deadline() {
    let (server, heads) = echo(None).await;
    let config = json!({
        "url": format!("ws://{}/", server.address),
        "steps": [{ "send": "tick" }, { "expect": "tock" }],
    });
    let probe = Probe::new().within(std::time::Duration::from_secs(2));
    let seen = probe.seen("websocket", config).await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "assertion_failed"));
    assert!(
        seen.message
            .contains("expected a message that matches 'tock', heard 'tick'"),
        "{}",
        seen.message
    );
    assert_eq!(heads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_past_the_cap_is_down() {
    let (server, _) = echo(None).await;
    let more = json!({ "max_message_bytes": 8, "steps": [{ "send": "123456789" }, { "expect": "9" }] });
    let seen = seen(&server, more).await;
    assert_eq!(seen.status, Status::Down);
    assert!(seen.message.contains("`max_message_bytes`"), "{}", seen.message);
}

#[tokio::test]
async fn what_is_no_upgrade_is_down_with_its_status() {
    for (answer, status, word) in [
        (200, 200, "http_status"),
        (302, 302, "http_status"),
        (401, 401, "auth_failed"),
    ] {
        let server = Server::http(move |_| match answer {
            302 => redirect(302, "/elsewhere"),
            code => {
                let mut response = ok("hello");
                *response.status_mut() = code.try_into().unwrap();
                response
            }
        })
        .await;
        let seen = seen(&server, json!({})).await;
        assert_eq!((seen.status, reason(&seen)), (Status::Down, word));
        assert_eq!(
            seen.message,
            format!("WebSocket handshake failed with status: {status}")
        );
    }
}

/// Answers every handshake with `head`.
async fn scripted(head: &'static str) -> Server {
    Server::raw(move |mut stream| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await.unwrap_or_default() == 0 {
                return;
            }
        }
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.read_buf(&mut request).await;
    })
    .await
}

#[tokio::test]
async fn a_false_upgrade_is_no_upgrade() {
    const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let false_key = format!("{UPGRADE}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n").leak();
    let no_key = format!("{UPGRADE}\r\n").leak();
    for (head, what) in [
        (&*false_key, "accept key"),
        (&*no_key, "accept key"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            "Upgrade",
        ),
        ("SSH-2.0-OpenSSH_9.2p1\r\n\r\n", ""),
    ] {
        let server = scripted(head).await;
        let seen = seen(&server, json!({})).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "protocol_error"),
            "{}",
            seen.message
        );
        assert!(
            seen.message.to_lowercase().contains(&what.to_lowercase()),
            "{}",
            seen.message
        );
        server.drained().await;
    }
}

#[tokio::test]
async fn wss_verifies_the_certificate_and_can_be_told_not_to() {
    let authority = Authority::new();
    let (server, _) = echo(Some(authority.issue(&Leaf::default()).acceptor())).await;
    let probe = async |more| {
        let url = format!("wss://localhost:{}/", server.port());
        Probe::new()
            .seen("websocket", with(json!({ "url": url, "ip_family": "4" }), more))
            .await
    };
    let steps = json!([{ "send": "x" }, { "expect": "x" }]);
    let trusted = probe(json!({ "tls_ca": authority.pem(), "steps": steps })).await;
    assert_eq!(trusted.status, Status::Up, "{}", trusted.message);
    assert!(trusted.tls.unwrap().verified);
    let unknown = probe(json!({})).await;
    assert_eq!(
        (unknown.status, reason(&unknown)),
        (Status::Down, "tls_certificate")
    );
    assert_eq!(unknown.tls.unwrap().chain.len(), 1);
    let ignored = probe(json!({ "ignore_tls_errors": true })).await;
    assert_eq!(ignored.status, Status::Up);
    assert!(!ignored.tls.unwrap().verified);
    let wrong = probe(json!({ "tls_ca": authority.pem(), "server_name": "other.example" })).await;
    assert_eq!(reason(&wrong), "tls_certificate");
}

#[tokio::test]
async fn a_proxy_opens_a_tunnel_though_nothing_is_encrypted() {
    let (server, _) = echo(None).await;
    let proxy = Proxy::start().await;
    for (protocol, said) in [("http", "connect"), ("socks5", "socks5")] {
        let via =
            json!({ "id": "p", "protocol": protocol, "host": "127.0.0.1", "port": proxy.server.port() });
        let config = json!({ "url": format!("ws://{}/", server.address) });
        let seen = Probe::new().via(via).seen("websocket", config).await;
        assert_eq!(seen.status, Status::Up, "{}", seen.message);
        assert_eq!(proxy.log().pop().unwrap(), format!("{said} {}", server.address));
    }
}

#[tokio::test]
async fn a_server_that_pings_is_answered_while_a_message_is_awaited() {
    let ponged = Arc::new(Mutex::new(false));
    let noted = ponged.clone();
    let server = Server::raw(move |stream| {
        let ponged = noted.clone();
        async move {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                return;
            };
            let _ = socket.send(Message::Ping(Bytes::from_static(b"?"))).await;
            while let Some(Ok(message)) = socket.next().await {
                if message == Message::Pong(Bytes::from_static(b"?")) {
                    *ponged.lock().unwrap() = true;
                    let _ = socket.send(Message::text("thanks")).await;
                }
            }
        }
    })
    .await;
    let seen = seen(&server, json!({ "steps": [{ "expect": "thanks" }] })).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    eventually("ponged", || *ponged.lock().unwrap()).await;
}

#[tokio::test]
async fn a_cap_without_bounds_is_refused() {
    for bytes in [0, 67_108_865] {
        let config = json!({ "url": "ws://127.0.0.1:9/", "max_message_bytes": bytes });
        let error = Probe::new()
            .run("websocket", config)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("`max_message_bytes`"), "{error}");
    }
}

#[tokio::test]
async fn a_flood_of_frames_that_say_nothing_is_the_targets_and_ends_in_time() {
    for (start, frame) in [
        (&b""[..], &b"\x89\x00"[..]),
        (b"\x01\x01a", b"\x00\x00"),
        (b"", b"\x81\x00"),
    ] {
        let server = Server::raw(move |stream| async move {
            let mut stream = accept_async(stream).await.unwrap().into_inner();
            let _ = stream.write_all(start).await;
            let flood = frame.repeat(30_000);
            while stream.write_all(&flood).await.is_ok() {}
        })
        .await;
        let config = json!({ "url": format!("ws://{}/", server.address), "steps": [{ "expect": "nope" }] });
        let probe = Probe::new().within(Duration::from_secs(1));
        // Our own deadline is cut 50 ms later, as `unknown`.
        let seen = probe.seen("websocket", config).await;
        assert_eq!(seen.status, Status::Down, "{frame:?}: {}", seen.message);
        assert!(!seen.message.contains("nothing"), "{frame:?}: {}", seen.message);
    }
}
