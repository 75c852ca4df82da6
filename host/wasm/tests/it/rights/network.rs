//! Connections: the own target, what is granted, and everything else.

use super::{Canary, Steps, reached, refusal};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const OWN: &str = "fixture-steps";
const MORE: &str = "fixture-steps-more";

fn tcp(to: &str, port: u16) -> Value {
    json!({ "do": "tcp", "to": to, "port": port })
}

/// Every way to reach `to:port`.
fn ways(to: &str, port: u16) -> [Value; 3] {
    let authority = if to.contains(':') && !to.starts_with('[') {
        format!("[{to}]:{port}")
    } else {
        format!("{to}:{port}")
    };
    [
        tcp(to, port),
        json!({ "do": "udp", "to": to, "port": port }),
        json!({ "do": "http", "to": format!("http://{authority}/") }),
    ]
}

#[tokio::test]
async fn the_own_target_is_reached_and_its_other_ports_are_not() {
    let canary = Canary::start().await;
    let other = Canary::start().await;
    let steps = Steps::new().await;
    let target = json!({ "host": "127.0.0.1", "port": canary.port });
    for step in [
        tcp("127.0.0.1", canary.port),
        json!({ "do": "udp", "to": "127.0.0.1", "port": canary.port }),
    ] {
        reached(&steps.step(OWN, target.clone(), step).await);
    }
    for step in ways("127.0.0.1", other.port) {
        let why = refusal(steps.step(OWN, target.clone(), step).await);
        let place = format!("`127.0.0.1:{}` is not the monitor's target", other.port);
        assert!(
            why.starts_with(&place) && why.contains("does not ask for it"),
            "{why}"
        );
    }
    other.heard_nothing().await;
    crate::support::eventually("the target hears both", async || canary.heard.load(SeqCst) == 2).await;
}

#[tokio::test]
async fn what_is_not_declared_is_refused_even_for_the_target() {
    let canary = Canary::start().await;
    let steps = Steps::granted(json!({ "hosts": ["127.0.0.1"] })).await;
    let target = json!({ "host": "127.0.0.1", "port": canary.port });
    for (step, right) in ways("127.0.0.1", canary.port)
        .into_iter()
        .zip(["net.tcp", "net.udp", "net.http"])
    {
        let why = refusal(steps.step("fixture-steps-bare", target.clone(), step).await);
        assert!(
            why.contains(&format!("`{right}` is not among the plugin's capabilities")),
            "{why}"
        );
    }
    canary.heard_nothing().await;
}

#[tokio::test]
async fn no_spelling_of_this_machine_is_reached_uninvited() {
    let canary = Canary::start().await;
    // Asks for anything and is granted anything, by name.
    let steps = Steps::granted(json!({ "hosts": ["*"] })).await;
    let target = json!({ "host": "target.test", "port": canary.port });
    for host in [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "169.254.169.254",
        "fd00:ec2::254",
        "fe80::1",
        "100.100.100.200",
        "255.255.255.255",
        "LOCALHOST.",
    ] {
        for step in ways(host, canary.port) {
            refusal(steps.step(MORE, target.clone(), step).await);
        }
    }
    // The URL standard reads these as addresses, the other interfaces refuse them.
    for host in [
        "0",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "%31%32%37.0.0.1",
        "127。0。0。1",
    ] {
        let [tcp, udp, http] = ways(host, canary.port);
        refusal(steps.step(MORE, target.clone(), http).await);
        for step in [tcp, udp] {
            let (reason, message) = crate::support::unknown(Ok(steps.step(MORE, target.clone(), step).await));
            assert_eq!(reason, lapwing_model::Reason::InvalidConfig, "{host}: {message}");
        }
    }
    for url in [
        "http://target.test@127.0.0.1:PORT/",
        "http://target.test:PORT@127.0.0.1:PORT/",
    ] {
        let url = url.replace("PORT", &canary.port.to_string());
        refusal(
            steps
                .step(MORE, target.clone(), json!({ "do": "http", "to": url }))
                .await,
        );
    }
    canary.heard_nothing().await;
}

#[tokio::test]
async fn a_grant_counts_from_the_next_run_and_only_as_far_as_it_goes() {
    let canary = Canary::start().await;
    let other = Canary::start().await;
    let steps = Steps::new().await;
    let step = || tcp("127.0.0.1", canary.port);
    let why = refusal(steps.step(MORE, json!({}), step()).await);
    let line = format!(
        "`plugins.grants.fixtures.hosts = [\"127.0.0.1:{}\"]`",
        canary.port
    );
    assert!(why.contains(&line), "{why}");
    steps.grant(json!({ "hosts": [format!("127.0.0.1:{}", canary.port)] }));
    reached(&steps.step(MORE, json!({}), step()).await);
    refusal(steps.step(MORE, json!({}), tcp("127.0.0.1", other.port)).await);
    let why = refusal(steps.step(OWN, json!({}), step()).await);
    assert!(
        why.contains("it is granted, but the plugin does not ask for it"),
        "{why}"
    );
    steps.grant(json!({}));
    refusal(steps.step(MORE, json!({}), step()).await);
    other.heard_nothing().await;
    assert_eq!(canary.heard.load(SeqCst), 1);
}

#[tokio::test]
async fn a_grant_for_one_file_is_for_no_other() {
    let canary = Canary::start().await;
    let steps = Steps::new().await;
    let hosts = json!(["127.0.0.0/8"]);
    steps.grant(json!({ "hosts": hosts, "digest": "00".repeat(32) }));
    refusal(steps.step(MORE, json!({}), tcp("127.0.0.1", canary.port)).await);
    canary.heard_nothing().await;
    let report = steps.host.load_file(crate::support::fixture("steps")).await;
    steps.grant(json!({ "hosts": hosts, "digest": report.digest.unwrap() }));
    reached(&steps.step(MORE, json!({}), tcp("127.0.0.1", canary.port)).await);
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_is_not_permitted() {
    let canary = Canary::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let away = canary.port;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let location = match request.split(' ').nth(1) {
                Some("/port") => format!("http://127.0.0.1:{away}/"),
                Some("/name") => format!("http://localhost:{away}/"),
                Some("/mapped") => format!("http://[::ffff:7f00:1]:{away}/"),
                Some("/decimal") => format!("http://2130706433:{away}/"),
                _ => "/port".to_owned(),
            };
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let steps = Steps::granted(json!({ "hosts": ["*"] })).await;
    for path in ["port", "name", "mapped", "decimal", "twice"] {
        let url = format!("http://127.0.0.1:{port}/{path}");
        let step = json!({ "do": "http", "to": url, "redirects": 5 });
        for kind in [OWN, MORE] {
            refusal(steps.step(kind, json!({ "url": url }), step.clone()).await);
        }
    }
    canary.heard_nothing().await;
}

#[tokio::test]
async fn refusals_are_counted_and_never_an_outage() {
    let steps = Steps::new().await;
    refusal(
        steps
            .step(OWN, json!({ "host": "127.0.0.1" }), tcp("10.0.0.1", 1))
            .await,
    );
    refusal(
        steps
            .step(OWN, json!({ "host": "127.0.0.1" }), tcp("10.0.0.1", 1))
            .await,
    );
    let tally = steps.host.custody().record("fixtures").tally();
    assert_eq!((tally.runs, tally.refusals, tally.faults), (2, 2, 0));
}
