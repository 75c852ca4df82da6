//! Digest and NTLM logins: against Apache, and against scripted servers for what Apache would not do.

use crate::support::{
    Probe,
    apache::Apache,
    reason,
    server::{Seen, Server, ok, redirect, status},
    with,
};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};

async fn login(url: String, method: &str, more: Value) -> Observation {
    let config = json!({
        "url": url, "authMethod": method, "basic_auth_user": "me", "basic_auth_pass": "s3cret",
    });
    Probe::new().seen("http", with(config, more)).await
}

#[tokio::test]
async fn apache_takes_our_digest_and_ntlm_and_refuses_wrong_ones() {
    let apache = Apache::start().await;
    digest_is_taken(&apache).await;
    ntlm_is_taken(&apache).await;
}

async fn digest_is_taken(apache: &Apache) {
    let page = || apache.url("/digest/page?x=1");
    let up = login(page(), "digest", json!({ "keyword": "welcome to digest" })).await;
    assert_eq!(up.status, Status::Up, "{}", up.message);
    for more in [
        json!({ "basic_auth_pass": "wrong" }),
        json!({ "basic_auth_user": "you" }),
    ] {
        let down = login(page(), "digest", more).await;
        assert_eq!(down.message, "HTTP request failed with status: 401");
        assert_eq!(reason(&down), "http_status");
    }
}

async fn ntlm_is_taken(apache: &Apache) {
    let page = || apache.url("/ntlm/page");
    let corp = json!({ "authDomain": "CORP", "authWorkstation": "PROBE", "keyword": "welcome to ntlm" });
    let up = login(page(), "ntlm", corp.clone()).await;
    assert_eq!(up.status, Status::Up, "{}", up.message);
    for more in [
        json!({ "basic_auth_pass": "wrong" }),
        json!({ "authDomain": "ELSEWHERE" }),
    ] {
        let down = login(page(), "ntlm", with(corp.clone(), more)).await;
        assert_eq!(down.message, "HTTP request failed with status: 401");
    }
}

fn challenge(value: &str) -> Response<Full<Bytes>> {
    let mut response = status(401);
    response
        .headers_mut()
        .insert("www-authenticate", value.parse().unwrap());
    response
}

/// Asks for a login with `value`, and is content with any.
async fn asking(value: &'static str) -> Server {
    Server::http(move |seen: &Seen| match seen.header("authorization") {
        "" => challenge(value),
        _ => ok("in"),
    })
    .await
}

#[tokio::test]
async fn a_digest_is_computed_with_the_algorithm_and_protection_asked_for() {
    for (value, parts) in [
        (
            r#"Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth""#,
            &["algorithm=SHA-256", "qop=auth,", "nc=00000001", "cnonce="][..],
        ),
        (
            r#"Digest realm="r", nonce="n", qop="auth-int""#,
            &["qop=auth-int"],
        ),
        (
            r#"Basic realm="b", Digest realm="r", nonce="n""#,
            &["nonce=\"n\""],
        ),
        (
            r#"Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth", opaque="o""#,
            &["opaque=\"o\""],
        ),
    ] {
        let server = asking(value).await;
        let config = json!({ "method": "POST", "body": "{\"a\":1}" });
        let seen = login(server.url("/p?q=1"), "digest", config).await;
        assert_eq!(seen.status, Status::Up, "{}", seen.message);
        let requests = server.requests();
        assert_eq!(
            (requests.len(), server.accepted()),
            (2, 1),
            "one connection is enough"
        );
        assert!(
            requests.iter().all(|request| request.body == "{\"a\":1}"),
            "the body goes with each"
        );
        let answer = requests[1].header("authorization");
        assert!(
            answer.starts_with("Digest ") && answer.contains(r#"uri="/p?q=1""#),
            "{answer}"
        );
        for part in parts {
            assert!(answer.contains(part), "{part} in {answer}");
        }
        assert!(!answer.contains("s3cret"));
    }
}

#[tokio::test]
async fn a_stale_nonce_is_answered_once_more_and_a_refusal_is_not() {
    let stale = Server::http(|seen: &Seen| match seen.header("authorization") {
        "" => challenge(r#"Digest realm="r", nonce="old", qop="auth""#),
        answer if answer.contains("\"old\"") => {
            challenge(r#"Digest realm="r", nonce="new", qop="auth", stale=true"#)
        }
        _ => ok("in"),
    })
    .await;
    assert_eq!(
        login(stale.url("/"), "digest", json!({})).await.status,
        Status::Up
    );
    assert_eq!(stale.requests().len(), 3);
    for value in [
        r#"Digest realm="r", nonce="n", qop="auth""#,
        r#"Digest realm="r", nonce="n", qop="auth", stale=true"#,
    ] {
        let never = Server::http(move |_| challenge(value)).await;
        let seen = login(never.url("/"), "digest", json!({})).await;
        assert_eq!(seen.message, "HTTP request failed with status: 401");
        assert!(never.requests().len() <= 3);
    }
}

#[tokio::test]
async fn a_challenge_nobody_can_answer_is_the_answer() {
    for value in [
        "Bearer realm=\"x\"",
        "Digest realm=\"r\", nonce=\"n\", algorithm=ROT13",
        "Digest",
        "\"",
        "Negotiate",
    ] {
        let server = Server::http(move |_| challenge(value)).await;
        let seen = login(server.url("/"), "digest", json!({})).await;
        assert_eq!(seen.message, "HTTP request failed with status: 401", "{value}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_closes_after_its_challenge_is_asked_anew() {
    is_asked_anew(r#"Digest realm="r", nonce="n""#, "digest").await;
}

/// A server that closes after `value` is answered, by a login of this `method`, on a second connection.
async fn is_asked_anew(value: &'static str, method: &str) {
    let server = Server::http(move |seen: &Seen| match seen.header("authorization") {
        "" => {
            let mut response = challenge(value);
            response
                .headers_mut()
                .insert("connection", "close".parse().unwrap());
            response
        }
        _ => ok("in"),
    })
    .await;
    let seen = login(server.url("/"), method, json!({})).await;
    assert_eq!(
        (seen.status, server.accepted()),
        (Status::Up, 2),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn another_origin_is_not_answered() {
    let thief = asking(r#"Digest realm="r", nonce="n""#).await;
    let place = thief.url("/");
    let server = Server::http(move |_| redirect(302, &place)).await;
    for method in ["digest", "ntlm"] {
        let seen = login(server.url("/"), method, json!({})).await;
        assert_eq!(seen.message, "HTTP request failed with status: 401");
    }
    assert!(
        thief
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_empty())
    );
}

#[tokio::test]
async fn ntlm_shows_basic_credentials_only_where_they_are_asked_for() {
    let server = asking("Basic realm=\"b\"").await;
    assert_eq!(login(server.url("/"), "ntlm", json!({})).await.status, Status::Up);
    assert_eq!(server.requests()[1].header("authorization"), "Basic bWU6czNjcmV0");
    let other = asking("Bearer").await;
    assert_eq!(
        reason(&login(other.url("/"), "ntlm", json!({})).await),
        "http_status"
    );
    assert_eq!(other.requests().len(), 1);
}

#[tokio::test]
async fn basic_credentials_need_no_connection_of_their_own() {
    is_asked_anew("Basic realm=\"b\"", "ntlm").await;
}

#[tokio::test]
async fn a_challenge_whose_body_hangs_leaves_time_to_answer_it() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::raw(|mut stream| async move {
        let mut heard = vec![0; 4096];
        let length = stream.read(&mut heard).await.unwrap_or_default();
        let shown = String::from_utf8_lossy(&heard[..length])
            .to_ascii_lowercase()
            .contains("authorization:");
        let answer: &[u8] = if shown {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nin"
        } else {
            b"HTTP/1.1 401 No\r\nwww-authenticate: Basic realm=\"b\"\r\ncontent-length: 9\r\n\r\n"
        };
        let _ = stream.write_all(answer).await;
        while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let config = json!({
        "url": format!("http://{}/", server.address), "authMethod": "ntlm", "basic_auth_user": "me", "basic_auth_pass": "s3cret",
    });
    let probe = Probe::new().within(std::time::Duration::from_secs(4));
    let seen = probe.seen("http", config).await;
    assert_eq!(
        (seen.status, server.accepted()),
        (Status::Up, 2),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_broken_ntlm_challenge_is_a_broken_protocol() {
    for token in ["NTLM AAAA", "NTLM ???", "NTLM TlRMTVNTUAACAAAA"] {
        let server = Server::http(move |seen: &Seen| match seen.header("authorization") {
            "" => challenge("NTLM"),
            _ => challenge(token),
        })
        .await;
        let seen = login(server.url("/"), "ntlm", json!({})).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "protocol_error"),
            "{}",
            seen.message
        );
        assert!(
            seen.message.contains("NTLM challenge is broken"),
            "{}",
            seen.message
        );
    }
}

#[tokio::test]
async fn a_login_without_a_user_or_over_http2_is_an_unfit_configuration() {
    for (more, why) in [
        (
            json!({ "authMethod": "digest", "basic_auth_user": "" }),
            "`basic_auth_user`",
        ),
        (
            json!({ "authMethod": "ntlm", "basic_auth_user": "" }),
            "`basic_auth_user`",
        ),
        (
            json!({ "authMethod": "ntlm", "http_version": "2" }),
            "`http_version`: `ntlm` needs HTTP/1.1",
        ),
    ] {
        let config = with(
            json!({ "url": "http://127.0.0.1:9/", "basic_auth_user": "me" }),
            more,
        );
        let error = Probe::new().run("http", config).await.unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(why)),
            "{error:?}"
        );
    }
}
