//! WASI's own HTTP, as unmodified programs use it: the same guard, TLS and limits as everything else on the network.

use crate::support::{Bench, PLENTY, context, eventually, fixture, small, unknown};
use lapwing_checks::{
    CheckError, Net, ProbeContext,
    net::{EgressPolicy, policy::Rule},
};
use lapwing_model::{Observation, Reason, Status};
use lapwing_wasm::{PluginHost, PluginSettings, RunLimits, TrialOptions};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer},
};

/// A server that answers by the path it is asked for, and keeps what it was asked.
struct Web {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    open: Arc<()>,
}

impl Web {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = Self {
            port: listener.local_addr().unwrap().port(),
            asked: Arc::default(),
            open: Arc::default(),
        };
        let (asked, open) = (web.asked.clone(), web.open.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (asked, open) = (asked.clone(), open.clone());
                tokio::spawn(async move {
                    // A guest that goes away in the middle is what some of the tests are about.
                    let _ = answer(stream, &asked).await;
                    drop(open);
                });
            }
        });
        web
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.open) == 2
    }

    /// A request for `path`, with `more` in the configuration.
    fn config(&self, path: &str, more: &Value) -> String {
        let mut config = json!({ "authority": format!("127.0.0.1:{}", self.port), "path": path });
        let map = config.as_object_mut().unwrap();
        map.extend(more.as_object().unwrap().clone());
        config.to_string()
    }
}

async fn answer(mut stream: TcpStream, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(request);
    match path.as_str() {
        "/hello?name=x" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world")
                .await
        }
        "/away" => {
            stream
                .write_all(b"HTTP/1.1 302 Found\r\nlocation: /hello?name=x\r\ncontent-length: 0\r\n\r\n")
                .await
        }
        "/large" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n")
                .await?;
            stream.write_all(&vec![b'x'; 1 << 20]).await
        }
        "/early" => loop {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await?;
        },
        "/head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await?;
            loop {
                stream.write_all(&[b'x'; 4096]).await?;
            }
        }
        "/drip" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                .await?;
            loop {
                stream.write_all(b"x").await?;
                sleep(Duration::from_millis(50)).await;
            }
        }
        "/half" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")
                .await?;
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        }
        "/garbage" => stream.write_all(b"220 mail.test ESMTP\r\n").await,
        _ => stream.read_to_end(&mut Vec::new()).await.map(drop),
    }
}

/// A host with the guest, and a server for it.
struct Scene {
    web: Web,
    bench: Bench,
}

impl Scene {
    async fn new() -> Self {
        Self::with(RunLimits::default()).await
    }

    async fn with(limits: RunLimits) -> Self {
        let settings = PluginSettings { limits, ..small() };
        Self {
            web: Web::start().await,
            bench: Bench::with("wasi_http", settings).await,
        }
    }

    async fn fetch(&self, path: &str, more: Value, budget: Duration) -> Result<Observation, CheckError> {
        self.bench.run(&self.web.config(path, &more), budget).await
    }

    /// What the guest was told, of a run in which it had nothing else to complain of.
    async fn told(&self, path: &str, more: Value) -> String {
        let seen = self.fetch(path, more, PLENTY).await.unwrap();
        assert_eq!(seen.status, Status::Down, "{seen:?}");
        seen.message
    }
}

/// What a hindered guest had been told.
fn claim(seen: &Observation) -> String {
    assert_eq!(seen.status, Status::Unknown, "{seen:?}");
    seen.details.as_ref().unwrap()["plugin"]["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_request_is_answered_and_measured() {
    let scene = Scene::new().await;
    let seen = scene.fetch("/hello?name=x", json!({}), PLENTY).await.unwrap();
    assert_eq!(
        (seen.status, seen.message.as_str()),
        (Status::Up, "200 hello world")
    );
    let phases: Vec<_> = seen.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(phases, ["resolve", "connect", "first_byte", "receive"]);
    let asked = scene.web.asked();
    assert!(
        asked[0].starts_with("GET /hello?name=x HTTP/1.1\r\n"),
        "{asked:?}"
    );
    let host = format!("Host: 127.0.0.1:{}\r\n", scene.web.port);
    assert!(
        asked[0].contains(&host) && asked[0].contains("X-Test: yes\r\n"),
        "{asked:?}"
    );
    eventually("the connection is closed", async || scene.web.is_idle()).await;
}

#[tokio::test]
async fn a_trial_run_tells_each_request() {
    let web = Web::start().await;
    let host = PluginHost::new(small()).unwrap();
    let report = host.load_file(fixture("wasi_http")).await;
    let plugin = report.plugin().unwrap();
    let traced = async |path: &str, deny: &[&str]| {
        let policy = EgressPolicy {
            deny: deny.iter().map(|rule| rule.parse::<Rule>().unwrap()).collect(),
            ..EgressPolicy::default()
        };
        let cx = ProbeContext {
            net: Net::new(policy),
            ..context(PLENTY)
        };
        let config = web.config(path, &json!({}));
        let trial = plugin
            .trial(&report.kinds[0], &config, &cx, TrialOptions::default())
            .await;
        let [call] = <[_; 1]>::try_from(trial.unwrap().calls).unwrap();
        assert_eq!((call.call, call.elapsed_us.is_some()), ("wasi-http.send", true));
        assert_eq!(call.detail, format!("GET http://127.0.0.1:{}{path}", web.port));
        (call.failed, call.outcome)
    };
    assert_eq!(traced("/hello?name=x", &[]).await, (false, "200".to_owned()));
    let (failed, why) = traced("/garbage", &[]).await;
    assert!(failed && !why.is_empty(), "{why}");
    let (failed, why) = traced("/hello?name=x", &["127.0.0.0/8"]).await;
    assert!(failed && why.contains("127.0.0.0/8"), "{why}");
}

#[tokio::test]
async fn credentials_in_the_authority_are_no_part_of_the_host() {
    let scene = Scene::new().await;
    let authority = format!("user:secret@127.0.0.1:{}", scene.web.port);
    let seen = scene
        .fetch(
            "/hello?name=x",
            json!({ "authority": authority, "host": "127.0.0.1" }),
            PLENTY,
        )
        .await;
    assert_eq!(seen.unwrap().status, Status::Up);
    assert!(
        !scene.web.asked()[0].contains("secret"),
        "{:?}",
        scene.web.asked()
    );
}

#[tokio::test]
async fn what_is_too_long_for_the_host_is_no_verdict_on_the_target() {
    let scene = Scene::new().await;
    let long = |length| "x".repeat(length);
    for (path, more, part) in [
        (long(17 << 10), json!({}), "a request's path of"),
        (
            "/".to_owned(),
            json!({ "method": long(65) }),
            "a request's method of 65 bytes; 64 at most",
        ),
    ] {
        let seen = scene.fetch(&format!("/{path}"), more, PLENTY).await;
        let (reason, message) = unknown(seen);
        assert_eq!(reason, Reason::LimitHit, "{message}");
        assert!(message.contains(part), "{message}");
    }
    assert!(scene.web.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_is_handed_over_and_not_followed() {
    let scene = Scene::new().await;
    let seen = scene.fetch("/away", json!({}), PLENTY).await.unwrap();
    assert_eq!(seen.message, "302 ");
    assert_eq!(scene.web.asked().len(), 1);
}

#[tokio::test]
async fn a_body_is_sent_as_it_is_written() {
    let scene = Scene::new().await;
    let more = json!({ "method": "POST", "body": 100_000, "first_byte_ms": 500 });
    // The server only reads, to the end.
    assert!(scene.told("/silence", more).await.contains("HttpResponseTimeout"));
    assert!(
        scene.web.asked()[0].contains("Transfer-Encoding: chunked"),
        "{:?}",
        scene.web.asked()
    );
}

#[tokio::test]
async fn a_forbidden_destination_is_no_outage_and_gets_no_packet() {
    let scene = Scene::new().await;
    let bench = &scene.bench;
    let metadata = json!({ "authority": "169.254.169.254" });
    let seen = bench
        .run(&scene.web.config("/", &metadata), PLENTY)
        .await
        .unwrap();
    assert_eq!(seen.reason, Some(Reason::DeniedByPolicy));
    assert!(claim(&seen).contains("DestinationIpProhibited"), "{seen:?}");

    let with = |rule: &str| ProbeContext {
        net: Net::new(EgressPolicy {
            deny: rule
                .split(' ')
                .map(|rule| rule.parse::<Rule>().unwrap())
                .collect(),
            ..EgressPolicy::default()
        }),
        ..context(PLENTY)
    };
    for (rule, authority, told) in [
        ("127.0.0.0/8", "127.0.0.1", "DestinationIpProhibited"),
        ("127.0.0.0/8 ::1", "localhost", "DestinationIpProhibited"),
        ("127.0.0.0/8", "[::ffff:127.0.0.1]", "DestinationIpProhibited"),
        ("localhost", "localhost", "HttpRequestDenied"),
    ] {
        let authority = format!("{authority}:{}", scene.web.port);
        let config = scene
            .web
            .config("/hello?name=x", &json!({ "authority": authority }));
        let seen = bench.executor().execute(&config, &with(rule)).await.unwrap();
        assert_eq!(seen.reason, Some(Reason::DeniedByPolicy), "{authority}: {seen:?}");
        assert!(claim(&seen).contains(told), "{authority}: {seen:?}");
    }
    assert_eq!(scene.web.asked(), Vec::<String>::new());
    assert!(scene.web.is_idle());
}

#[tokio::test]
async fn what_the_target_does_is_told_in_the_words_of_wasi() {
    let scene = Scene::new().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = free.local_addr().unwrap();
    drop(free);
    for (path, more, word) in [
        (
            "/",
            json!({ "authority": closed.to_string() }),
            "ConnectionRefused",
        ),
        ("/", json!({ "authority": "no-such-name.invalid" }), "DnsError"),
        ("/garbage", json!({}), "HttpProtocolError"),
        ("/head", json!({}), "HttpProtocolError"),
        ("/silence", json!({ "first_byte_ms": 100 }), "HttpResponseTimeout"),
        (
            "/half",
            json!({ "between_bytes_ms": 100 }),
            "connection read timeout",
        ),
    ] {
        let told = scene.told(path, more).await;
        assert!(told.contains(word), "{path}: {told}");
    }
}

#[tokio::test]
async fn a_target_that_never_answers_is_down_when_the_budget_ends() {
    let scene = Scene::new().await;
    for path in ["/silence", "/half", "/drip"] {
        let begun = Instant::now();
        let seen = scene
            .fetch(path, json!({}), Duration::from_secs(1))
            .await
            .unwrap();
        assert_eq!(
            (seen.status, seen.reason),
            (Status::Down, Some(Reason::ResponseTimeout)),
            "{path}: {}",
            seen.message
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{path}: {:?}",
            begun.elapsed()
        );
        eventually("the connection is closed", async || scene.web.is_idle()).await;
    }
}

#[tokio::test]
async fn a_guest_that_keeps_its_target_waiting_is_no_outage() {
    let scene = Scene::new().await;
    for (path, more) in [
        (
            "/silence",
            json!({ "method": "POST", "body": 10, "open_body": true }),
        ),
        ("/hello?name=x", json!({ "forget": true })),
        ("/half", json!({ "sleep_ms": 60_000 })),
    ] {
        let probed = scene.fetch(path, more, Duration::from_secs(1)).await;
        assert_eq!(unknown(probed).0, Reason::PluginTimeout, "{path}");
    }
}

#[tokio::test]
async fn bytes_are_counted_whatever_they_carry() {
    let scene = Scene::with(RunLimits {
        network_kib: 64,
        ..RunLimits::default()
    })
    .await;
    for (path, more) in [
        ("/large", json!({})),
        ("/early", json!({})),
        ("/silence", json!({ "method": "POST", "body": 100_000 })),
    ] {
        let (reason, message) = unknown(scene.fetch(path, more, PLENTY).await);
        assert_eq!(reason, Reason::LimitHit, "{path}: {message}");
        assert!(message.contains("limits.network_kib"), "{path}: {message}");
        eventually("the connection is closed", async || scene.web.is_idle()).await;
    }
    let enough = Scene::new().await;
    let seen = enough.fetch("/large", json!({}), PLENTY).await.unwrap();
    assert_eq!(seen.message, "200 1048576 bytes");
}

#[tokio::test]
async fn the_number_of_requests_is_limited() {
    let scene = Scene::new().await;
    let seen = scene
        .fetch("/hello?name=x", json!({ "requests": 40 }), PLENTY)
        .await
        .unwrap();
    assert_eq!(seen.reason, Some(Reason::LimitHit), "{seen:?}");
    assert!(claim(&seen).contains("ConnectionLimitReached"), "{seen:?}");
    assert_eq!(scene.web.asked().len(), 32);
}

#[tokio::test]
async fn nothing_is_smuggled_in_a_request() {
    let scene = Scene::new().await;
    for (more, word) in [
        (json!({ "header": ["x", "a\r\nhost: evil"] }), "InvalidSyntax"),
        (json!({ "header": ["x\r\ny", "a"] }), "InvalidSyntax"),
        (json!({ "header": ["host", "evil"] }), "Forbidden"),
        (json!({ "header": ["transfer-encoding", "chunked"] }), "Forbidden"),
        (json!({ "header": ["connection", "upgrade"] }), "Forbidden"),
        (
            json!({ "header": ["content-length", "7"] }),
            "HttpRequestBodySize",
        ),
        (json!({ "scheme": "file" }), "HttpProtocolError"),
        (json!({ "method": "CONNECT" }), "HttpRequestMethodInvalid"),
        (json!({ "path": "/a b\r\nx: y" }), "path"),
        (json!({ "path": "http://evil/" }), "path"),
        (json!({ "authority": "a b" }), "authority"),
    ] {
        let told = scene.told("/hello?name=x", more.clone()).await;
        assert!(told.contains(word), "{more}: {told}");
    }
    assert_eq!(scene.web.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn floods_of_fields_are_refused_and_never_a_panic() {
    let scene = Scene::new().await;
    for more in [json!({ "times": 32_769 }), json!({ "longer": 1 << 20 })] {
        let seen = scene.fetch("/hello?name=x", more.clone(), PLENTY).await;
        let seen = seen.unwrap_or_else(CheckError::into_observation);
        assert_ne!(seen.status, Status::Up, "{more}: {seen:?}");
        assert_ne!(seen.reason, Some(Reason::Internal), "{more}: {seen:?}");
    }
    assert_eq!(scene.web.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_chain_that_is_not_trusted_is_refused_and_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let config = json!({ "scheme": "https", "authority": format!("localhost:{port}") });
    let bench = Bench::new("wasi_http").await;
    let seen = bench.run(&config.to_string(), PLENTY).await.unwrap();
    assert_eq!(seen.status, Status::Down);
    assert!(seen.message.contains("TlsCertificateError"), "{}", seen.message);
    let tls = seen.tls.unwrap();
    assert!(!tls.verified);
    assert_eq!(tls.chain[0].dns_names, ["localhost"]);
    assert!(
        seen.phases.iter().any(|phase| phase.name == "tls"),
        "{:?}",
        seen.phases
    );
}
