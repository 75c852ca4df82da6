//! The plugin `domain-expiry` against an RDAP server that answers as RFC 9083 and RFC 7480 have it, and otherwise.

use crate::{
    servers::{free_port, plugin},
    support::PLENTY,
};
use jiff::{SignedDuration, Timestamp};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Reason, Status};
use lapwing_wasm::Grant;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

/// An HTTP server that answers each path as `answer` says, and notes what it was asked.
struct Registrar {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Status line, headers (each with its end of line) and body.
type Page = (&'static str, String, String);

const RDAP: &str = "content-type: application/rdap+json\r\n";

impl Registrar {
    async fn new(answer: impl Fn(&str, u16) -> Page + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let mut lines = String::new();
                while !lines.ends_with("\r\n\r\n")
                    && stream.read_line(&mut lines).await.is_ok_and(|length| length > 0)
                {}
                let Some(path) = lines.split(' ').nth(1) else {
                    continue;
                };
                notes.lock().unwrap().push(lines.clone());
                let (status, headers, body) = answer(path, port);
                let page = format!(
                    "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(page.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { port, asked }
    }

    /// One run for `example.com` with this server as the registry's, and `more` in the configuration.
    async fn check(&self, more: &str) -> Observation {
        let url = format!("http://127.0.0.1:{}/rdap/", self.port);
        check(&format!(r#"{{"domain":"example.com","rdap_url":"{url}"{more}}}"#)).await
    }
}

async fn check(config: &str) -> Observation {
    let probed = plugin("domain-expiry").await.run(config, PLENTY).await;
    probed.unwrap_or_else(CheckError::into_observation)
}

fn reason(observation: &Observation) -> &str {
    observation.reason.as_ref().map_or("", Reason::as_str)
}

/// An answer for a domain that ends in so many days and an hour.
fn ending(days: i64, status: &str) -> Page {
    #[expect(clippy::disallowed_methods, reason = "the plugin's clock is the machine's")]
    let end = Timestamp::now() + SignedDuration::from_hours(24 * days + 1);
    let body = format!(
        r#"{{"rdapConformance":["rdap_level_0"],"objectClassName":"domain","ldhName":"EXAMPLE.COM","status":[{status}],
            "events":[{{"eventAction":"registration","eventDate":"1995-08-14T04:00:00Z"}},
                {{"eventAction":"expiration","eventDate":"{end:.0}"}}],
            "entities":[{{"objectClassName":"entity","roles":["registrar"],
                "vcardArray":["vcard",[["version",{{}},"text","4.0"],["fn",{{}},"text","Example Registrar"]]]}}]}}"#
    );
    ("200 OK", RDAP.to_owned(), body)
}

#[tokio::test]
async fn the_days_until_the_end_decide() {
    for (days, status, wanted, message) in [
        (400, Status::Up, "", "the domain expires in 400 days, at "),
        (
            29,
            Status::Degraded,
            "domain_expires_soon",
            "the domain expires in 29 days, at ",
        ),
        (
            6,
            Status::Down,
            "domain_expires_soon",
            "the domain expires in 6 days, at ",
        ),
        (-3, Status::Down, "domain_expired", "the domain expired at "),
    ] {
        let registry = Registrar::new(move |_, _| ending(days, "")).await;
        let seen = registry.check("").await;
        assert_eq!((seen.status, reason(&seen)), (status, wanted), "{seen:?}");
        assert!(seen.message.starts_with(message), "{}", seen.message);
        assert_eq!(seen.attributes["domain.registrar"], "Example Registrar");
        let asked = registry.asked.lock().unwrap();
        assert!(
            asked[0].starts_with("GET /rdap/domain/example.com HTTP/1.1\r\n"),
            "{asked:?}"
        );
        assert!(asked[0].contains("Accept: application/rdap+json"), "{asked:?}");
    }
}

#[tokio::test]
async fn status_and_registrar_are_looked_at() {
    let held = Registrar::new(|_, _| ending(400, r#""client hold""#)).await;
    let seen = held.check("").await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "domain_status"),
        "{seen:?}"
    );
    let seen = held
        .check(r#","forbidden_status":[],"required_status":["clientHold"],"registrar":"example""#)
        .await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    let seen = held.check(r#","forbidden_status":[],"registrar":"Other""#).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "assertion_failed"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn only_a_registry_can_say_that_a_domain_is_not_registered() {
    let registry = Registrar::new(|_, _| {
        let body = r#"{"errorCode":404,"title":"Not Found"}"#;
        ("404 Not Found", RDAP.to_owned(), body.to_owned())
    })
    .await;
    let seen = registry.check("").await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "domain_not_registered"),
        "{seen:?}"
    );
    let web = Registrar::new(|_, _| {
        (
            "404 Not Found",
            "content-type: text/html\r\n".into(),
            "<html>".into(),
        )
    })
    .await;
    let seen = web.check("").await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Unknown, "rdap_unavailable"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn trouble_of_the_rdap_server_says_nothing_of_the_domain() {
    let busy = Registrar::new(|_, _| {
        (
            "429 Too Many Requests",
            "retry-after: 120\r\n".into(),
            String::new(),
        )
    })
    .await;
    let seen = busy.check("").await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Unknown, "rdap_rate_limited")
    );
    assert!(seen.message.ends_with("until 120"), "{}", seen.message);
    assert_eq!(
        busy.asked.lock().unwrap().len(),
        1,
        "who wants to be asked less is not asked again"
    );
    let broken = Registrar::new(|_, _| ("503 Service Unavailable", String::new(), String::new())).await;
    assert_eq!(reason(&broken.check("").await), "rdap_unavailable");
    let html = Registrar::new(|_, _| ("200 OK", String::new(), "<html>".into())).await;
    assert_eq!(reason(&html.check("").await), "rdap_malformed");
    let endless = Registrar::new(|_, _| ("200 OK", RDAP.into(), " ".repeat(600 << 10))).await;
    let seen = endless.check("").await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Unknown, "rdap_malformed"),
        "{seen:?}"
    );
    let silent = Registrar::new(|_, _| {
        let body = r#"{"objectClassName":"domain","ldhName":"example.com"}"#;
        ("200 OK", RDAP.into(), body.into())
    })
    .await;
    assert_eq!(reason(&silent.check("").await), "rdap_no_expiration");
    let nowhere = Registrar {
        port: free_port().await,
        asked: Arc::default(),
    };
    let seen = nowhere.check("").await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Unknown, "rdap_unreachable"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn redirects_are_followed_and_not_for_ever() {
    let moved = Registrar::new(|path, port| match path {
        "/rdap/domain/example.com" => {
            let to = format!("location: http://127.0.0.1:{port}/other/domain/example.com\r\n");
            ("302 Found", to, String::new())
        }
        "/other/domain/example.com" => ending(400, ""),
        other => panic!("asked for {other}"),
    })
    .await;
    let seen = moved.check("").await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    let round = Registrar::new(|path, port| {
        (
            "302 Found",
            format!("location: http://127.0.0.1:{port}{path}\r\n"),
            String::new(),
        )
    })
    .await;
    let seen = round.check("").await;
    assert_eq!(seen.status, Status::Unknown, "{seen:?}");
    assert_eq!(
        round.asked.lock().unwrap().len(),
        4,
        "three redirects, and no more"
    );
}

#[tokio::test]
async fn the_registrys_server_is_looked_up() {
    let both = Registrar::new(|path, port| match path {
        "/dns.json" => {
            let body = format!(
                r#"{{"version":"1.0","services":[[["net","com"],["http://127.0.0.1:{port}/found/"]]]}}"#
            );
            ("200 OK", "content-type: application/json\r\n".into(), body)
        }
        "/found/domain/example.com" => ending(400, ""),
        other => panic!("asked for {other}"),
    })
    .await;
    let list = format!(r#""bootstrap_url":"http://127.0.0.1:{}/dns.json""#, both.port);
    let seen = check(&format!(r#"{{"domain":"Example.COM.",{list}}}"#)).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    let unlisted = check(&format!(r#"{{"domain":"example.test",{list}}}"#)).await;
    assert_eq!(
        (unlisted.status, unlisted.reason),
        (Status::Unknown, Some(Reason::InvalidConfig))
    );
    assert!(
        unlisted.message.contains("no RDAP server is listed"),
        "{}",
        unlisted.message
    );
}

#[tokio::test]
async fn a_registry_is_asked_once_where_the_plugin_may_remember() {
    let registrar = Registrar::new(|_, _| ending(400, "")).await;
    let config = |more: &str| {
        let url = format!("http://127.0.0.1:{}/rdap/", registrar.port);
        format!(r#"{{"domain":"example.com","rdap_url":"{url}"{more}}}"#)
    };
    let asked = || registrar.asked.lock().unwrap().len();
    let bench = plugin("domain-expiry").await;
    for _ in 0..2 {
        let seen = bench.run(&config(""), PLENTY).await.unwrap();
        assert_eq!(seen.status, Status::Up, "{seen:?}");
    }
    assert_eq!(asked(), 2, "nothing is remembered without a grant");

    let grant = Grant {
        state: true,
        ..Grant::default()
    };
    let grants = BTreeMap::from([("domain-expiry".to_owned(), vec![grant])]);
    bench.host.custody().grants().replace(grants);
    bench.run(&config(""), PLENTY).await.unwrap();
    let again = bench.run(&config(""), PLENTY).await.unwrap();
    assert_eq!((again.status, asked()), (Status::Up, 3), "{again:?}");
    assert_eq!(again.attributes["rdap.remembered"], true);
    let never = bench.run(&config(r#","cache_minutes":0"#), PLENTY).await.unwrap();
    assert_eq!((never.status, asked()), (Status::Up, 4));
    // What is bad is looked at again.
    for _ in 0..2 {
        let low = bench
            .run(&config(r#","warn_days":500,"min_days":450"#), PLENTY)
            .await
            .unwrap();
        assert_eq!(reason(&low), "domain_expires_soon", "{low:?}");
    }
    assert_eq!(asked(), 6);
}
