//! Redirects: how far they are followed, and what is not carried along.

use crate::support::{
    Probe, reason,
    server::{Seen, Server, ok, redirect, status},
};
use http::{Method, Response};
use http_body_util::Full;
use lapwing_checks::CheckError;
use lapwing_model::Status;
use serde_json::json;

#[tokio::test]
async fn relative_locations_are_followed_and_counted() {
    let server = Server::http(|seen| match seen.uri.as_str() {
        "/a/b" => redirect(302, "../c?x=1"),
        "/c?x=1" => redirect(301, "/d"),
        "/d" => ok("there"),
        _ => status(404),
    })
    .await;
    let seen = Probe::new()
        .seen("http", json!({ "url": server.url("/a/b"), "keyword": "there" }))
        .await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert_eq!(seen.attributes["http.redirects"], 2);
    assert_eq!(seen.attributes["http.final_url"], server.url("/d"));
    assert_eq!(server.accepted(), 3, "one connection a hop");
    server.drained().await;
}

#[tokio::test]
async fn a_loop_ends_at_the_limit_with_the_last_code() {
    let server = Server::http(|_| redirect(302, "/again")).await;
    let seen = Probe::new()
        .seen("http", json!({ "url": server.url("/"), "max_redirects": 3 }))
        .await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "too_many_redirects"),
        "{}",
        seen.message
    );
    assert_eq!(seen.attributes["http.status"], 302);
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn an_endless_address_is_not_even_read() {
    let server = Server::http(|_| redirect(302, &format!("http://{}/", "a.".repeat(10_000)))).await;
    let seen = Probe::new().seen("http", json!({ "url": server.url("/") })).await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "redirect_invalid"));
    assert!(
        seen.message
            .ends_with("an address of 20008 bytes; 16384 at most are followed"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn with_no_redirects_allowed_the_redirect_is_the_answer() {
    let server = Server::http(|_| redirect(301, "/elsewhere")).await;
    let config =
        |accepted| json!({ "url": server.url("/"), "max_redirects": 0, "accepted_statuscodes": [accepted] });
    assert_eq!(
        Probe::new().seen("http", config("3XX")).await.message,
        "301 - 301 Moved Permanently"
    );
    assert_eq!(
        reason(&Probe::new().seen("http", config("2XX")).await),
        "http_status"
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_is_down_and_one_without_a_location_is_an_answer() {
    for location in [
        "http://0x7f..1/",
        "ftp://127.0.0.1/",
        "http://",
        "http://[::1",
        "javascript:alert(1)",
        "file:///etc/passwd",
    ] {
        let server = Server::http(move |_| redirect(302, location)).await;
        let seen = Probe::new().seen("http", json!({ "url": server.url("/") })).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "redirect_invalid"),
            "{location}: {}",
            seen.message
        );
    }
    let server = Server::http(|_| status(302)).await;
    let seen = Probe::new()
        .seen(
            "http",
            json!({ "url": server.url("/"), "accepted_statuscodes": ["302"] }),
        )
        .await;
    assert_eq!(seen.status, Status::Up);
}

#[tokio::test]
async fn see_other_becomes_a_bare_get_and_temporary_keeps_method_and_body() {
    for (code, first, then, body) in [
        (301, "POST", Method::GET, ""),
        (302, "PUT", Method::GET, ""),
        (303, "DELETE", Method::GET, ""),
        (302, "HEAD", Method::HEAD, "x=1"),
        (307, "POST", Method::POST, "x=1"),
        (308, "PUT", Method::PUT, "x=1"),
    ] {
        let server = Server::http(move |seen| {
            if seen.uri == "/" {
                redirect(code, "/next")
            } else {
                ok("")
            }
        })
        .await;
        let config = json!({ "url": server.url("/"), "method": first, "body": "x=1", "encoding": "form" });
        assert_eq!(Probe::new().seen("http", config).await.status, Status::Up);
        let next = server.requests().pop().unwrap();
        assert_eq!(
            (next.method.clone(), &next.body[..]),
            (then, body.as_bytes()),
            "{code} {first}"
        );
        assert_eq!(next.header("content-type").is_empty(), body.is_empty());
    }
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_host_or_port_and_do_not_come_back() {
    let home = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let back = home.clone();
    // 127.0.0.1 and localhost are two hosts on one machine: the canary listens on another port, too.
    let canary = Server::http(move |_| redirect(302, &format!("{}/end", back.get().unwrap()))).await;
    let away = format!("http://localhost:{}/canary", canary.port());
    let server = Server::http(move |seen| {
        if seen.uri == "/end" {
            ok("")
        } else {
            redirect(307, &away)
        }
    })
    .await;
    home.set(server.url("")).unwrap();
    let config = json!({
        "url": server.url("/"), "ip_family": "4",
        "authMethod": "basic", "basic_auth_user": "u", "basic_auth_pass": "p",
        "headers": { "Cookie": "s=1", "X-Api-Key": "k", "Host": "virtual.example", "X-Vault": "v", "Accept-Language": "stays" },
    });
    assert_eq!(Probe::new().seen("http", config).await.status, Status::Up);
    let first = server.requests().remove(0);
    assert_eq!(
        (first.header("authorization"), first.header("x-api-key")),
        ("Basic dTpw", "k")
    );
    let back = server.requests().remove(1);
    for seen in [canary.requests().remove(0), back] {
        for name in ["authorization", "cookie", "x-api-key", "x-vault"] {
            assert_eq!(seen.header(name), "", "{name} leaked to {}", seen.uri);
        }
        assert_eq!(seen.header("accept-language"), "stays");
        assert_ne!(seen.header("host"), "virtual.example");
    }
}

#[tokio::test]
async fn cookies_are_kept_across_the_hops_of_one_check_only() {
    let login = |seen: &Seen| match seen.uri.as_str() {
        "/" => Response::builder()
            .status(302)
            .header("location", "/home")
            .header("set-cookie", "sid=42; Path=/; HttpOnly")
            .body(Full::default())
            .unwrap(),
        _ if seen.header("cookie") == "mine=1; sid=42" => ok("welcome"),
        _ => status(401),
    };
    let server = Server::http(login).await;
    let config = json!({ "url": server.url("/"), "headers": { "Cookie": "mine=1" } });
    let probe = Probe::new();
    for _ in 0..2 {
        assert_eq!(probe.seen("http", config.clone()).await.status, Status::Up);
    }
    assert_eq!(
        server.requests()[2].header("cookie"),
        "mine=1",
        "the second check starts afresh"
    );
}

#[tokio::test]
async fn a_redirect_to_a_denied_address_stops_there() {
    let canary = Server::http(|_| ok("metadata")).await;
    let inner = format!("http://[::ffff:127.0.0.1]:{}/", canary.port());
    let server = Server::bind("127.0.0.2:0", {
        let inner = inner.clone();
        move |mut stream| {
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: {inner}\r\nContent-Length: 0\r\n\r\n");
            async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    })
    .await;
    let probe = Probe::under(json!({ "mode": "public-only", "allow": ["127.0.0.2"] }));
    let error = probe
        .run("http", json!({ "url": server.url("/") }))
        .await
        .unwrap_err();
    assert!(matches!(error, CheckError::Denied(_)), "{error:?}");
    // Nobody is to allow an address that only the target knows of without knowing whose wish it is.
    let says = format!("`{}` redirects to where it may not: ", server.url("/"));
    assert!(error.to_string().starts_with(&says), "{error}");
    assert_eq!((server.accepted(), canary.accepted()), (1, 0));
}
