//! Forward proxies of every kind.

use crate::support::{
    Probe,
    certificates::{Authority, Leaf},
    proxy::Proxy,
    reason,
    server::{Server, closed_port, ok, status},
};
use lapwing_checks::CheckError;
use lapwing_model::Status;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

fn via(protocol: &str, port: u16) -> Value {
    json!({ "id": "p", "protocol": protocol, "host": "127.0.0.1", "port": port })
}

fn with_credentials(protocol: &str, port: u16) -> Value {
    json!({ "id": "p", "protocol": protocol, "host": "127.0.0.1", "port": port, "auth": true, "username": "user", "password": "pass" })
}

#[tokio::test]
async fn plain_http_is_forwarded_in_absolute_form() {
    let proxy = Proxy::start().await;
    for protocol in ["", "http"] {
        let probe = Probe::new().via(with_credentials(protocol, proxy.server.port()));
        let config = json!({ "url": "http://target.example:8080/x?y=1", "keyword": "proxied" });
        let seen = probe.seen("http", config).await;
        assert_eq!(seen.status, Status::Up, "{}", seen.message);
        assert_eq!(seen.attributes["peer"], proxy.server.address.to_string());
    }
    assert_eq!(
        proxy.log()[0],
        "get http://target.example:8080/x?y=1 Basic dXNlcjpwYXNz"
    );
}

#[tokio::test]
async fn https_goes_through_a_tunnel_and_the_certificate_is_the_targets() {
    let authority = Authority::new();
    let target = Server::https(authority.issue(&Leaf::default()).acceptor(), |_| ok("secure")).await;
    let proxy = Proxy::start().await;
    for (protocol, line) in [
        (
            "http",
            format!("connect localhost:{} Basic dXNlcjpwYXNz", target.port()),
        ),
        (
            "socks5",
            format!("socks5 localhost:{} as user:pass", target.port()),
        ),
        (
            "socks5h",
            format!("socks5 localhost:{} as user:pass", target.port()),
        ),
        (
            "socks",
            format!("socks5 localhost:{} as user:pass", target.port()),
        ),
        ("socks4a", format!("socks4a localhost:{} as user", target.port())),
        ("socks4", format!("socks4 127.0.0.1:{} as user", target.port())),
    ] {
        let probe = Probe::new().via(with_credentials(protocol, proxy.server.port()));
        let config = json!({ "url": format!("https://localhost:{}/", target.port()), "tls_ca": authority.pem(), "keyword": "secure" });
        let seen = probe.seen("http", config).await;
        assert_eq!(seen.status, Status::Up, "{protocol}: {}", seen.message);
        assert_eq!(seen.tls.unwrap().chain[0].issuer, "CN=Lapwing Test CA");
        assert_eq!(proxy.log().pop().unwrap(), line, "{protocol}");
        assert_eq!(
            target.requests().pop().unwrap().header("proxy-authorization"),
            "",
            "meant for the proxy only"
        );
    }
    target.drained().await;
    proxy.server.drained().await;
}

#[tokio::test]
async fn plain_http_goes_through_socks_without_credentials_too() {
    let target = Server::http(|_| ok("plain")).await;
    let proxy = Proxy::start().await;
    let probe = Probe::new().via(via("socks5", proxy.server.port()));
    assert_eq!(
        probe
            .seen("http", json!({ "url": target.url("/"), "keyword": "plain" }))
            .await
            .status,
        Status::Up
    );
    assert_eq!(proxy.log(), [format!("socks5 {}", target.address)]);
    assert_eq!(target.requests()[0].uri, "/");
}

#[tokio::test]
async fn a_proxy_one_must_speak_tls_to_is_verified_like_any_server() {
    let proxy = Proxy::encrypted(Leaf::default().self_signed().acceptor()).await;
    let probe = Probe::new().via(via("https", proxy.server.port()));
    let seen = probe
        .seen("http", json!({ "url": "http://target.example/" }))
        .await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "proxy_failed"),
        "{}",
        seen.message
    );
    assert!(
        seen.message.contains("certificate is self-signed"),
        "{}",
        seen.message
    );
    assert!(proxy.log().is_empty());
}

#[tokio::test]
async fn a_proxy_that_fails_is_told_from_a_target_that_fails() {
    let dead = closed_port().await;
    for protocol in ["http", "https", "socks4a", "socks5"] {
        let seen = Probe::new()
            .via(via(protocol, dead))
            .seen("http", json!({ "url": "https://target.example/" }))
            .await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "proxy_failed"),
            "{protocol}: {}",
            seen.message
        );
        assert!(
            seen.message
                .contains(&format!("127.0.0.1:{dead}: connection refused")),
            "{}",
            seen.message
        );
    }
    for code in [403, 407, 502] {
        let proxy = Proxy::refusing(code).await;
        let probe = Probe::new().via(via("http", proxy.server.port()));
        let seen = probe
            .seen("http", json!({ "url": "https://target.example/" }))
            .await;
        assert_eq!(reason(&seen), "proxy_failed");
        assert!(
            seen.message.contains(&format!("answered CONNECT with {code}")),
            "{}",
            seen.message
        );
    }
    // A SOCKS5 proxy says what the target did.
    let proxy = Proxy::start().await;
    let probe = Probe::new().via(via("socks5", proxy.server.port()));
    let seen = probe
        .seen("http", json!({ "url": format!("http://127.0.0.1:{dead}/") }))
        .await;
    assert_eq!(reason(&seen), "connection_refused", "{}", seen.message);
}

#[tokio::test]
async fn a_forwarding_proxy_that_wants_credentials_or_breaks_off_has_failed_itself() {
    let wants = Server::http(|_| status(407)).await;
    let breaks = Server::raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    for proxy in [&wants, &breaks] {
        let probe = Probe::new().via(via("http", proxy.port()));
        let seen = probe
            .seen("http", json!({ "url": "http://target.example/" }))
            .await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "proxy_failed"),
            "{}",
            seen.message
        );
    }
}

#[tokio::test]
async fn an_unknown_protocol_is_an_invalid_config() {
    let error = Probe::new()
        .via(via("gopher", 1))
        .run("http", json!({ "url": "http://x.example/" }))
        .await
        .unwrap_err();
    let CheckError::InvalidConfig(text) = error else {
        panic!("{error:?}")
    };
    assert!(text.contains("`gopher`") && text.contains("socks5h"), "{text}");
}

#[tokio::test]
async fn the_policy_judges_the_proxy_and_what_it_is_asked_for() {
    let proxy = Proxy::start().await;
    let port = proxy.server.port();
    for protocol in ["http", "socks4a", "socks5"] {
        for (policy, url) in [
            (json!({ "deny": ["127.0.0.0/8"] }), "http://target.example/"),
            (json!({}), "http://169.254.169.254/latest"),
            (json!({}), "http://[::ffff:a9fe:a9fe]/latest"),
            (json!({}), "http://metadata.google.internal/"),
            (json!({ "deny": ["*.corp"] }), "http://git.corp/"),
        ] {
            let error = Probe::under(policy)
                .via(via(protocol, port))
                .run("http", json!({ "url": url }))
                .await
                .unwrap_err();
            assert!(
                matches!(error, CheckError::Denied(_)),
                "{protocol} {url}: {error:?}"
            );
        }
    }
    assert_eq!(proxy.server.accepted(), 0);
}

#[tokio::test]
async fn http2_goes_through_an_http_proxy_by_a_tunnel() {
    let server = Server::http2(|_| ok("needle")).await;
    let proxy = Proxy::start().await;
    let via = json!({ "id": "p", "protocol": "http", "host": "127.0.0.1", "port": proxy.server.port() });
    let config = json!({ "url": server.url("/"), "http_version": "2", "keyword": "needle" });
    let seen = Probe::new().via(via).seen("http", config).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert_eq!(seen.attributes["http.version"], "HTTP/2.0");
    assert_eq!(proxy.log(), [format!("connect {}", server.address)]);
}
