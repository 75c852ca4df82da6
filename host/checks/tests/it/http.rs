//! Kinds `http`, `http-keyword`, `http-json-query`: requests as sent, answers as judged.

use crate::support::{
    Probe, eventually, reason,
    server::{Server, closed_port, ok, reset, status},
    with,
};
use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use bytes::Bytes;
use http::{Response, Version};
use http_body_util::Full;
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{future::pending, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
};

async fn get(server: &Server, more: Value) -> Observation {
    Probe::new()
        .seen("http", with(json!({ "url": server.url("/") }), more))
        .await
}

#[tokio::test]
async fn a_good_answer_is_up_with_peekapings_text_and_measured_phases() {
    let server = Server::http(|_| ok("hello")).await;
    let seen = get(&server, json!({})).await;
    assert_eq!((seen.status, seen.message.as_str()), (Status::Up, "200 - 200 OK"));
    assert_eq!(seen.attributes["http.status"], 200);
    assert_eq!(seen.attributes["http.version"], "HTTP/1.1");
    assert_eq!(seen.attributes["peer"], server.address.to_string());
    let phases: Vec<&str> = seen.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(
        phases,
        ["connect", "send", "first_byte"],
        "no look-up, no TLS, and the body is not read"
    );
    let sum: Duration = seen.phases.iter().map(|phase| phase.elapsed).sum();
    assert!(sum <= seen.latency.unwrap() && seen.latency.unwrap() < Duration::from_secs(5));
    server.drained().await;
}

#[tokio::test]
async fn a_plain_request_carries_the_default_headers() {
    let server = Server::http(|_| ok("")).await;
    get(&server, json!({})).await;
    let seen = server.requests().remove(0);
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("GET", "/"));
    assert_eq!(seen.header("host"), server.address.to_string());
    assert_eq!(
        seen.header("user-agent"),
        format!("lapwing/{}", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(seen.header("accept"), "*/*");
    assert_eq!(seen.header("accept-encoding"), "gzip, deflate, br, zstd");
    assert_eq!(seen.header("content-type"), "application/json");
    assert!(seen.body.is_empty());
}

#[tokio::test]
async fn the_users_headers_win_and_the_body_goes_with_any_method() {
    let server = Server::http(|_| ok("")).await;
    let headers =
        r#"{"Host":"virtual.example","Content-Type":"text/csv","X-Trace":"7","content-length":"999"}"#;
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let config = json!({ "method": method, "headers": headers, "encoding": "form", "body": "a=1" });
        assert_eq!(get(&server, config).await.status, Status::Up, "{method}");
        let seen = server.requests().pop().unwrap();
        assert_eq!((seen.method.as_str(), &seen.body[..]), (method, &b"a=1"[..]));
        assert_eq!(seen.header("host"), "virtual.example");
        assert_eq!(seen.header("content-type"), "text/csv");
        assert_eq!(seen.header("x-trace"), "7");
        assert_eq!(seen.header("content-length"), "3", "framing is ours");
    }
}

#[tokio::test]
async fn the_content_type_follows_the_encoding() {
    let server = Server::http(|_| ok("")).await;
    for (encoding, content) in [
        ("json", "application/json"),
        ("form", "application/x-www-form-urlencoded"),
        ("xml", "application/xml"),
        ("text", "text/plain"),
    ] {
        get(&server, json!({ "encoding": encoding })).await;
        assert_eq!(server.requests().pop().unwrap().header("content-type"), content);
    }
}

#[tokio::test]
async fn statuses_are_judged_by_the_accepted_list() {
    let server = Server::http(|seen| status(seen.uri[1..].parse().unwrap())).await;
    let probe = Probe::new();
    for (code, accepted, up) in [
        (204, json!(["2XX"]), true),
        (500, json!(["2XX"]), false),
        (500, json!(["2XX", "5XX"]), true),
        (404, json!(["404"]), true),
        (403, json!(["400-402", "404"]), false),
        (304, json!(["3XX"]), true),
    ] {
        let config = json!({ "url": server.url(&format!("/{code}")), "accepted_statuscodes": accepted });
        let seen = probe.seen("http", config).await;
        assert_eq!(seen.status == Status::Up, up, "{code} {accepted}");
        if !up {
            assert_eq!(seen.message, format!("HTTP request failed with status: {code}"));
            assert_eq!(reason(&seen), "http_status");
        }
    }
}

#[tokio::test]
async fn an_unfit_configuration_is_told_and_nothing_is_sent() {
    let server = Server::http(|_| ok("")).await;
    for (more, why) in [
        (json!({ "accepted_statuscodes": [] }), "`accepted_statuscodes`"),
        (json!({ "accepted_statuscodes": ["2X"] }), "`2X`"),
        (json!({ "headers": "[1]" }), "invalid headers json"),
        (json!({ "headers": { "X-A": "a\r\nb" } }), "`X-A`"),
        (json!({ "method": "BREW" }), "`BREW`"),
        (json!({ "url": "not a url" }), "`url`"),
        (json!({ "url": "ftp://example.com/" }), "scheme `ftp`"),
        (json!({ "max_redirects": -1 }), "`max_redirects`"),
        (json!({ "body_must_match": ["("] }), "`body_must_match[0]`"),
        (json!({ "authMethod": "oauth2-cc" }), "`oauth_token_url`"),
        (json!({ "authMethod": "mtls" }), "`tlsCert`"),
        (json!({ "authMethod": "bearer" }), "`bearer_token`"),
        (json!({ "authMethod": "kerberos" }), "`kerberos`"),
        (json!({ "http_version": "3" }), "`http_version`"),
    ] {
        let config = with(json!({ "url": server.url("/") }), more);
        let error = Probe::new().run("http", config).await.unwrap_err();
        assert!(matches!(error, CheckError::InvalidConfig(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_pattern_that_compiles_to_too_much_is_an_unfit_configuration() {
    for more in [
        json!({ "body_must_match": ["\\w{1000}{1000}"] }),
        json!({ "header_must_match": [{ "header": "x", "pattern": "(?:a{1000}){1000}" }] }),
    ] {
        let config = with(json!({ "url": "http://127.0.0.1:9/" }), more);
        let error = Probe::new().run("http", config).await.unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains("once compiled")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_hangs_does_not_hide_a_bad_status() {
    let server = Server::raw(|mut stream| async move {
        let mut heard = vec![0; 4096];
        let _ = stream.read(&mut heard).await;
        let _ = stream
            .write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\nwait")
            .await;
        let _ = stream.read(&mut heard).await;
    })
    .await;
    let seen = get(&server, json!({ "keyword": "x" })).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "http_status"),
        "{}",
        seen.message
    );
    assert_eq!(seen.message, "HTTP request failed with status: 503");
    server.drained().await;
}

#[tokio::test]
async fn keywords_are_looked_for_in_both_polarities() {
    let server = Server::http(|_| ok("all systems nominal")).await;
    let run = async |keyword: &str, invert: bool| {
        let config = json!({ "url": server.url("/"), "keyword": keyword, "invert_keyword": invert });
        Probe::new().seen("http-keyword", config).await
    };
    assert_eq!(run("nominal", false).await.status, Status::Up);
    assert_eq!(run("zzz", true).await.status, Status::Up);
    let seen = run("zzz", false).await;
    assert_eq!(
        seen.message,
        "Keyword check failed: keyword 'zzz' not found in response"
    );
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "assertion_failed"));
    let seen = run("systems", true).await;
    assert_eq!(
        seen.message,
        "Keyword check failed: keyword 'systems' found in response (expected absent)"
    );
    assert_eq!(run("Nominal", false).await.status, Status::Down, "case matters");
}

#[tokio::test]
async fn json_queries_belong_to_their_kind_alone() {
    let server = Server::http(|_| ok(r#"{"queue":{"length":7}}"#)).await;
    let config = json!({ "url": server.url("/"), "json_query": "queue.length", "json_condition": ">", "expected_value": "9" });
    let seen = Probe::new().seen("http-json-query", config.clone()).await;
    assert_eq!(
        seen.message,
        "JSON query validation failed: query 'queue.length' with condition '>' and expected value '9'"
    );
    assert_eq!(reason(&seen), "assertion_failed");
    assert_eq!(Probe::new().seen("http", config).await.status, Status::Up);
}

#[tokio::test]
async fn patterns_and_header_rules_hold_or_fail_with_the_pattern() {
    let server = Server::http(|_| {
        Response::builder()
            .header("x-build", "v1.2.3")
            .body(Full::new(Bytes::from("ready: 12 nodes")))
            .unwrap()
    })
    .await;
    let rule = |pattern: &str| json!([{ "header": "X-Build", "pattern": pattern }]);
    for (more, failure) in [
        (json!({ "body_must_match": ["ready: \\d+", "nodes$"] }), None),
        (
            json!({ "body_must_match": ["error"] }),
            Some("Body check failed: response does not match 'error'"),
        ),
        (
            json!({ "body_must_not_match": ["(?i)READY"] }),
            Some("Body check failed: response matches '(?i)READY'"),
        ),
        (json!({ "header_must_match": rule("^v1\\.") }), None),
        (
            json!({ "header_must_match": rule("^v2") }),
            Some("Header check failed: header 'x-build' does not match '^v2'"),
        ),
        (
            json!({ "header_must_not_match": rule("3$") }),
            Some("Header check failed: header 'x-build' matches '3$'"),
        ),
        (
            json!({ "header_must_not_match": [{ "header": "x-none", "pattern": "" }] }),
            None,
        ),
        (
            json!({ "header_must_match": [{ "header": "x-none", "pattern": "" }] }),
            Some("Header check failed: header 'x-none' does not match ''"),
        ),
    ] {
        let seen = get(&server, more).await;
        assert_eq!(seen.status == Status::Up, failure.is_none(), "{}", seen.message);
        if let Some(failure) = failure {
            assert_eq!(
                (seen.message.as_str(), reason(&seen)),
                (failure, "assertion_failed")
            );
        }
    }
}

macro_rules! packed {
    ($encoder:ident, $text:expr) => {{
        let mut encoder = $encoder::new(Vec::new());
        encoder.write_all($text).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    }};
}

fn encoded(
    encoding: &'static str,
    body: Vec<u8>,
) -> impl Fn(&crate::support::server::Seen) -> Response<Full<Bytes>> {
    move |_| {
        Response::builder()
            .header("content-encoding", encoding)
            .body(Full::new(body.clone().into()))
            .unwrap()
    }
}

#[tokio::test]
async fn every_offered_encoding_is_undone() {
    let text = b"compressed needle";
    for (encoding, body) in [
        ("gzip", packed!(GzipEncoder, text)),
        (
            "GZIP",
            [packed!(GzipEncoder, b"two members, "), packed!(GzipEncoder, text)].concat(),
        ),
        ("deflate", packed!(ZlibEncoder, text)),
        ("deflate", packed!(DeflateEncoder, text)),
        ("br", packed!(BrotliEncoder, text)),
        ("zstd", packed!(ZstdEncoder, text)),
        ("identity", text.to_vec()),
    ] {
        let server = Server::http(encoded(encoding, body)).await;
        let seen = get(&server, json!({ "keyword": "needle" })).await;
        assert_eq!(seen.status, Status::Up, "{encoding}: {}", seen.message);
    }
}

#[tokio::test]
async fn a_wrong_encoding_is_down_and_an_unknown_one_passes_through() {
    let truncated = packed!(GzipEncoder, b"needle")[..12].to_vec();
    for (encoding, body) in [
        ("gzip", b"needle".to_vec()),
        ("br", vec![0xff; 64]),
        ("zstd", b"needle".to_vec()),
        ("gzip", truncated),
        (
            "gzip, gzip",
            packed!(GzipEncoder, &packed!(GzipEncoder, b"needle")),
        ),
    ] {
        let server = Server::http(encoded(encoding, body)).await;
        let seen = get(&server, json!({ "keyword": "needle" })).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "body_invalid"),
            "{encoding}: {}",
            seen.message
        );
    }
    let server = Server::http(encoded("x-rot13", b"needle".to_vec())).await;
    assert_eq!(
        get(&server, json!({ "keyword": "needle" })).await.status,
        Status::Up
    );
    let server = Server::http(encoded("gzip", Vec::new())).await;
    assert_eq!(
        get(&server, json!({ "keyword": "x", "invert_keyword": true }))
            .await
            .status,
        Status::Up,
        "nothing is fine"
    );
}

#[tokio::test]
async fn a_bomb_stops_at_the_cap() {
    let bomb = packed!(GzipEncoder, &vec![0; 64 * 1024 * 1024]);
    assert!(bomb.len() < 128 * 1024);
    let server = Server::http(encoded("gzip", bomb)).await;
    let seen = get(&server, json!({ "keyword": "x", "max_body_bytes": 100_000 })).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "body_too_large"),
        "{}",
        seen.message
    );
    assert!(seen.message.contains("100000 bytes"), "{}", seen.message);
    assert_eq!(
        get(&server, json!({ "max_body_bytes": 1 })).await.status,
        Status::Up,
        "an unread body has no size"
    );
    server.drained().await;
}

#[tokio::test]
async fn an_endless_bomb_stops_at_the_cap_too() {
    let member = packed!(GzipEncoder, &vec![0; 1024 * 1024]);
    let server = Server::raw(move |mut stream| {
        let member = member.clone();
        async move {
            let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&member).await.is_ok() {}
        }
    })
    .await;
    let seen = get(&server, json!({ "keyword": "x" })).await;
    assert_eq!(reason(&seen), "body_too_large", "{}", seen.message);
    server.drained().await;
}

#[tokio::test]
async fn the_cap_is_exact() {
    let server = Server::http(|_| ok(vec![b'a'; 1000])).await;
    for (cap, verdict) in [(999, Status::Down), (1000, Status::Up)] {
        assert_eq!(
            get(&server, json!({ "keyword": "aaa", "max_body_bytes": cap }))
                .await
                .status,
            verdict,
            "{cap}"
        );
    }
}

#[tokio::test]
async fn head_has_no_body_and_none_is_waited_for() {
    let server = Server::http(|_| ok("needle")).await;
    assert_eq!(
        get(&server, json!({ "method": "HEAD" })).await.message,
        "200 - 200 OK"
    );
    let seen = get(&server, json!({ "method": "HEAD", "keyword": "needle" })).await;
    assert_eq!(reason(&seen), "assertion_failed");
}

#[tokio::test]
async fn basic_and_bearer_authenticate_and_userinfo_counts_as_basic() {
    let server = Server::http(|_| ok("")).await;
    get(&server, json!({ "authMethod": "basic", "basic_auth_user": "zoë", "basic_auth_pass": "s:cret", "headers": { "Authorization": "x" } })).await;
    assert_eq!(
        server.requests().pop().unwrap().header("authorization"),
        "Basic em/DqzpzOmNyZXQ="
    );
    get(&server, json!({ "authMethod": "bearer", "bearer_token": "abc" })).await;
    assert_eq!(
        server.requests().pop().unwrap().header("authorization"),
        "Bearer abc"
    );
    let url = format!("http://us%65r:p%40ss+1@{}/", server.address);
    Probe::new().seen("http", json!({ "url": url })).await;
    assert_eq!(
        server.requests().pop().unwrap().header("authorization"),
        "Basic dXNlcjpwQHNzKzE="
    );
}

#[tokio::test]
async fn http2_is_spoken_with_prior_knowledge() {
    let server = Server::http2(|_| ok("needle")).await;
    let more = json!({ "http_version": "2", "keyword": "needle", "headers": { "Host": "virtual.example", "Connection": "close" } });
    let seen = get(&server, more).await;
    assert_eq!(
        (seen.status, &seen.attributes["http.version"]),
        (Status::Up, &json!("HTTP/2.0")),
        "{}",
        seen.message
    );
    let request = server.requests().remove(0);
    assert_eq!(request.version, Version::HTTP_2);
    assert_eq!(request.uri, "http://virtual.example/");
    server.drained().await;
}

#[tokio::test]
async fn an_http2_exchange_leaves_no_task_behind_even_when_its_peer_stops_reading() {
    // SETTINGS and WINDOW_UPDATE that invite to send without end (RFC 9113 §6.5.2, §6.9).
    const INVITATION: &[u8] =
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x7f\xff\xff\xff\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\x00\x00";
    let server = Server::raw(|mut stream| async move {
        let _ = stream.write_all(INVITATION).await;
        pending::<()>().await;
    })
    .await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let with_its_connection = tasks() + 1;
    let body = "x".repeat(16 << 20);
    let config = json!({ "url": server.url("/"), "http_version": "2", "method": "PUT", "body": body });
    let seen = Probe::new()
        .within(Duration::from_secs(2))
        .seen("http", config)
        .await;
    assert_eq!(reason(&seen), "response_timeout", "{}", seen.message);
    eventually("only the server's tasks are left", || {
        tasks() == with_its_connection
    })
    .await;
}

#[tokio::test]
async fn a_message_is_one_line_of_text_whatever_it_quotes() {
    let server = Server::http(|_| ok("")).await;
    let config = json!({ "url": server.url("/"), "keyword": "\u{1b}[2J\nfine" });
    let seen = Probe::new().seen("http-keyword", config).await;
    assert_eq!(reason(&seen), "assertion_failed");
    assert!(seen.message.contains(r"\u{1b}[2J\nfine"), "{}", seen.message);
}

#[tokio::test]
async fn each_way_a_connection_fails_has_its_own_reason() {
    let port = closed_port().await;
    let seen = Probe::new()
        .seen(
            "http",
            json!({ "url": format!("http://127.0.0.1:{port}/x?token=secret") }),
        )
        .await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "connection_refused"));
    assert_eq!(
        seen.message,
        format!("Get \"http://127.0.0.1:{port}/x\": connection refused: 127.0.0.1:{port}")
    );

    let resetting = Server::raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        reset(stream);
    });
    assert_eq!(
        reason(&get(&resetting.await, json!({})).await),
        "connection_reset"
    );

    for (answer, expected) in [
        ("", "connection_closed"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "connection_closed"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
            "connection_closed",
        ),
        ("SSH-2.0-OpenSSH_9.6\r\n", "protocol_error"),
        ("HTTP/1.1 999999 Huh\r\n\r\n", "protocol_error"),
    ] {
        let server = Server::raw(move |mut stream| async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let seen = get(&server.await, json!({ "keyword": "x" })).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, expected),
            "{answer:?}: {}",
            seen.message
        );
    }
}

#[tokio::test]
async fn a_family_the_target_has_not_is_told_from_a_dead_target() {
    let server = Server::http(|_| ok("")).await;
    assert_eq!(get(&server, json!({ "ip_family": "4" })).await.status, Status::Up);
    let error = Probe::new()
        .run("http", json!({ "url": server.url("/"), "ip_family": "6" }))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        CheckError::InvalidConfig("`127.0.0.1` is no IPv6 address".to_owned())
    );
}

#[tokio::test]
async fn a_flood_of_interim_heads_is_a_protocol_error_long_before_the_deadline() {
    let server = Server::raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let flood = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(4096);
        while stream.write_all(&flood).await.is_ok() {}
    })
    .await;
    let seen = get(&server, json!({})).await;
    assert_eq!(reason(&seen), "protocol_error", "{}", seen.message);
    server.drained().await;
}

#[tokio::test]
async fn a_query_of_a_large_body_holds_up_nothing_else() {
    // One thread runs all, and a millisecond's clock shows when it was held up.
    let body = format!(
        r#"[{}{{"a":"end"}}]"#,
        r#"{"a":{"a":{"a":[1,2,3]}}},"#.repeat(350_000)
    );
    let body = Bytes::from(body);
    let server = Server::http(move |_| ok(body.clone())).await;
    let clock = tokio::spawn(async {
        let (mut ticks, mut worst) = (tokio::time::interval(Duration::from_millis(1)), Duration::ZERO);
        loop {
            let due = ticks.tick().await;
            worst = worst.max(due.elapsed());
            if worst > Duration::from_millis(400) {
                return worst;
            }
        }
    });
    let probe = Probe::new().within(Duration::from_secs(30));
    for (query, expected) in [("350000.a", "end"), ("#", "350001")] {
        let config = json!({ "url": server.url("/"), "json_query": query, "expected_value": expected });
        let seen = probe.seen("http-json-query", config).await;
        assert_eq!(seen.status, Status::Up, "{}", seen.message);
    }
    let config = json!({ "url": server.url("/"), "json_query": "$..a", "expected_value": "1" });
    let error = probe.run("http-json-query", config).await.unwrap_err();
    assert_eq!(error.reason(), lapwing_model::Reason::LimitHit, "{error}");
    assert!(!clock.is_finished(), "held up for {:?}", clock.await);
}
