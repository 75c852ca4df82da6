//! Secrets: filled in by the host, or revealed where that is granted; and in no case shown.

use super::{Steps, refusal};
use crate::support::{PLENTY, context};
use lapwing_model::{Reason, Status};
use lapwing_wasm::{SecretSource, Secrets, TrialOptions};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const MORE: &str = "fixture-steps-more";
const TOKEN: &str = "t0ken-of-\"ours\"";

/// Answers with the request it got, and notes it; `/away` leads to `elsewhere`.
async fn mirror(elsewhere: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            noted.lock().unwrap().push(request.to_lowercase());
            let answer = if request.contains(" /away ") {
                format!("302 Found\r\nlocation: http://127.0.0.1:{elsewhere}/\r\ncontent-length: 0\r\n\r\n")
            } else {
                format!("200 OK\r\ncontent-length: {}\r\n\r\n{request}", request.len())
            };
            let _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await;
        }
    });
    (port, heard)
}

async fn steps(grant: Value) -> Steps {
    let steps = Steps::granted(grant).await;
    let mut secrets = Secrets::default();
    let here = || vec!["127.0.0.1".parse().unwrap()];
    secrets.insert("token", SecretSource::Value(TOKEN.into()), here());
    secrets.insert(
        "certificate",
        SecretSource::Value("no certificate".into()),
        Vec::new(),
    );
    secrets.insert("unasked", SecretSource::Value("unasked for".into()), Vec::new());
    steps.host.custody().set_secrets(secrets);
    steps
}

#[tokio::test]
async fn a_header_is_filled_in_and_stays_out_of_sight() {
    let (port, heard) = mirror(0).await;
    let steps = steps(json!({ "secrets": ["token"] })).await;
    let url = format!("http://127.0.0.1:{port}/");
    let request = json!({ "do": "http", "to": url, "secret": "token" });
    let seen = steps.run(MORE, json!({ "url": url, "steps": [request] })).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    let heard = heard.lock().unwrap().clone();
    assert!(
        heard[0].contains(&format!("authorization: {TOKEN}\r\n")),
        "{heard:?}"
    );
    // The target sends it back, and the plugin repeats it.
    assert!(
        seen.message.to_lowercase().contains("authorization: ***") && !seen.message.contains("ours"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_secret_does_not_follow_to_another_origin() {
    let (elsewhere, heard_elsewhere) = mirror(0).await;
    let (port, heard) = mirror(elsewhere).await;
    let steps = steps(json!({ "secrets": ["token"], "hosts": ["127.0.0.1"] })).await;
    let url = format!("http://127.0.0.1:{port}/away");
    let request = json!({ "do": "http", "to": url, "secret": "token", "redirects": 3 });
    let seen = steps.run(MORE, json!({ "url": url, "steps": [request] })).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert!(heard.lock().unwrap()[0].contains(TOKEN));
    let heard = heard_elsewhere.lock().unwrap().clone();
    assert!(
        heard.len() == 1 && !heard[0].contains("authorization"),
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_secret_takes_a_request_a_grant_and_a_permitted_place() {
    let (port, heard) = mirror(0).await;
    let url = format!("http://127.0.0.1:{port}/");
    let fill = |name: &str| json!({ "do": "http", "to": url, "secret": name });
    let reveal = |name: &str| json!({ "do": "reveal", "name": name });
    let target = json!({ "url": url });
    let poor = steps(json!({})).await;
    for (step, part) in [
        (
            fill("token"),
            "secret `token` for header `authorization`: it is not granted; to permit it: `plugins.grants.fixtures.secrets = [\"token\"]`",
        ),
        (reveal("token"), "`plugins.grants.fixtures.reveal = [\"token\"]`"),
        (fill("unasked"), "the plugin does not ask for it"),
        (
            json!({ "do": "tls", "to": "127.0.0.1", "port": port, "identity": "certificate" }),
            "secret `certificate` for the client certificate: it is not granted",
        ),
    ] {
        let target = json!({ "url": url, "host": "127.0.0.1" });
        let why = refusal(poor.step(MORE, target, step).await);
        assert!(why.contains(part), "{why}");
    }
    let rich = steps(json!({ "secrets": ["token", "unasked", "missing"] })).await;
    for (step, part) in [
        (reveal("token"), "`plugins.grants.fixtures.reveal = [\"token\"]`"),
        (fill("unasked"), "the plugin does not ask for it"),
        (fill("missing"), "there is none of that name"),
    ] {
        let why = refusal(rich.step(MORE, target.clone(), step).await);
        assert!(why.contains(part), "{why}");
    }
    let mut secrets = Secrets::default();
    let hosts = vec!["api.example.com:443".parse().unwrap()];
    secrets.insert("token", SecretSource::Value(TOKEN.into()), hosts);
    rich.host.custody().set_secrets(secrets);
    let why = refusal(rich.step(MORE, target.clone(), fill("token")).await);
    assert!(
        why.contains(&format!(
            "it must not go to `127.0.0.1:{port}`; \
             to permit it: `secrets.token.hosts = [\"api.example.com:443\", \"127.0.0.1:{port}\"]`"
        )),
        "{why}"
    );
    // The handshake's own connection aside, nobody was sent a request.
    assert!(heard.lock().unwrap().iter().all(String::is_empty), "{heard:?}");
}

/// No packet leaves: the name is nobody's, and what is refused is refused before it is looked up.
#[tokio::test]
async fn a_secret_is_not_sent_for_others_to_read() {
    let steps = steps(json!({ "secrets": ["token"] })).await;
    let mut secrets = Secrets::default();
    let hosts = vec!["nobody.invalid".parse().unwrap()];
    secrets.insert("token", SecretSource::Value(TOKEN.into()), hosts);
    steps.host.custody().set_secrets(secrets);
    let url = "http://nobody.invalid:8080/";
    let target = json!({ "url": url });
    let fill = json!({ "do": "http", "to": url, "secret": "token" });
    let why = refusal(steps.step(MORE, target, fill).await);
    assert!(
        why.contains("secret `token` for header `authorization`: it must not go out by plain HTTP")
            && why.contains("`secrets.token.plain = true`"),
        "{why}"
    );
}

/// What would lead it to another site behind the same address, or have it sent back.
#[tokio::test]
async fn a_secret_keeps_no_company_that_leads_it_astray() {
    let (port, heard) = mirror(0).await;
    let steps = steps(json!({ "secrets": ["token"] })).await;
    let url = format!("http://127.0.0.1:{port}/");
    // Loopback needs no leave to be read; a name does.
    let tls = "https://nobody.invalid/";
    for (step, part) in [
        (json!({ "method": "TRACE" }), "a secret in a `TRACE` request"),
        (
            json!({ "as_host": "evil.test" }),
            "with a `host` header of its own",
        ),
        (
            json!({ "to": tls, "server_name": "evil.test" }),
            "to a peer whose certificate is not verified",
        ),
    ] {
        let mut request = json!({ "do": "http", "to": url, "secret": "token" });
        request
            .as_object_mut()
            .unwrap()
            .extend(step.as_object().unwrap().clone());
        let mut secrets = Secrets::default();
        let hosts = vec!["127.0.0.1".parse().unwrap(), "nobody.invalid".parse().unwrap()];
        secrets.insert("token", SecretSource::Value(TOKEN.into()), hosts);
        steps.host.custody().set_secrets(secrets);
        let target = json!({ "url": request["to"] });
        let why = refusal(steps.step(MORE, target, request).await);
        assert!(why.contains(part), "{why}");
    }
    assert!(heard.lock().unwrap().iter().all(String::is_empty), "{heard:?}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_no_verdict_on_the_target() {
    let steps = steps(json!({ "reveal": ["token"] })).await;
    let mut secrets = Secrets::default();
    let none = tempfile::tempdir().unwrap().path().join("none");
    secrets.insert("token", SecretSource::File(none), Vec::new());
    steps.host.custody().set_secrets(secrets);
    let reveal = json!({ "steps": [{ "do": "reveal", "name": "token" }], "end": "down" });
    let seen = steps.run(MORE, reveal).await;
    assert_eq!(
        (seen.status, &seen.reason),
        (Status::Unknown, &Some(Reason::Internal)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_secret_without_hosts_goes_where_the_operator_lets_the_plugin_go_and_to_no_monitors_target() {
    let (port, heard) = mirror(0).await;
    let url = format!("http://127.0.0.1:{port}/");
    let target = json!({ "url": url, "host": "127.0.0.1" });
    let fill = json!({ "do": "http", "to": url, "secret": "token" });
    let identity = json!({ "do": "tls", "to": "127.0.0.1", "port": port, "identity": "certificate" });
    let steps = steps(json!({ "secrets": ["token", "certificate"] })).await;
    let mut secrets = Secrets::default();
    for name in ["token", "certificate"] {
        secrets.insert(name, SecretSource::Value(TOKEN.into()), Vec::new());
    }
    steps.host.custody().set_secrets(secrets);
    for (name, step) in [("token", &fill), ("certificate", &identity)] {
        let why = refusal(steps.step(MORE, target.clone(), step.clone()).await);
        assert!(
            why.contains(&format!(
                "it must not go to `127.0.0.1:{port}`: it has no `hosts`, and the plugin is not granted that place; \
                 to permit it: `secrets.{name}.hosts = [\"127.0.0.1:{port}\"]`"
            )),
            "{why}"
        );
    }
    assert!(heard.lock().unwrap().iter().all(String::is_empty), "{heard:?}");
    for (hosts, permitted) in [
        (json!(["127.0.0.1:1", "*.test"]), false),
        (json!([format!("127.0.0.1:{port}")]), true),
    ] {
        steps.grant(json!({ "secrets": ["token"], "hosts": hosts }));
        let seen = steps.step(MORE, target.clone(), fill.clone()).await;
        assert_eq!(seen.status == Status::Down, permitted, "{seen:?}");
    }
    assert!(
        heard
            .lock()
            .unwrap()
            .iter()
            .any(|request| request.contains(TOKEN))
    );
}

/// Every text a run leaves behind.
async fn traces_of(steps: &Steps, config: &Value) -> String {
    let seen = steps.run(MORE, config.clone()).await;
    let trial = steps
        .plugin
        .trial(
            MORE,
            &config.to_string(),
            &context(PLENTY),
            TrialOptions::default(),
        )
        .await
        .unwrap();
    let log = steps.host.custody().record("fixtures").log();
    assert!(!log.is_empty());
    serde_json::to_string(&(seen, trial, log)).unwrap()
}

#[tokio::test]
async fn an_echoed_secret_is_masked_wherever_it_turns_up() {
    let steps = steps(json!({ "reveal": ["token"] })).await;
    let reveal = json!({ "do": "reveal", "name": "token" });
    for end in ["up", "down", "fail", "trap"] {
        let config = json!({ "steps": [reveal, { "do": "echo" }], "end": end });
        let text = traces_of(&steps, &config).await;
        assert!(text.contains("***"), "{text}");
        assert!(
            text.contains("log says ***") && text.contains("stderr says ***"),
            "{text}"
        );
        // Whole or in part: the message is cut in the midst of it.
        for part in ["t0ken", "ours"] {
            assert!(!text.contains(part), "{end}: `{part}` in {text}");
        }
    }
}

#[tokio::test]
async fn sensitive_configuration_is_masked_as_well() {
    let steps = Steps::new().await;
    for end in ["up", "down", "fail", "trap"] {
        let config = json!({ "password": "hunter22", "steps": [{ "do": "echo" }], "end": end });
        let text = traces_of(&steps, &config).await;
        assert!(
            text.contains("log says ***") && !text.contains("hunter"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn granted_is_what_is_truly_usable() {
    let steps = steps(json!({ "secrets": ["token", "missing"] })).await;
    let ask = async |kind: &str, target: Value, name: &str| {
        let mut config = target;
        config["steps"] = json!([{ "do": "granted", "name": name }]);
        steps.run(kind, config).await.message
    };
    let (own, none) = (json!({ "host": "127.0.0.1" }), json!({}));
    for (kind, target, name, expected) in [
        ("fixture-steps", &own, "net.tcp", "true"),
        ("fixture-steps", &none, "net.tcp", "false"),
        ("fixture-steps", &own, "net.wasi-sockets", "false"),
        ("fixture-steps-bare", &own, "net.tcp", "false"),
        (MORE, &none, "secret", "true"),
        (MORE, &none, "secret:token", "true"),
        (MORE, &none, "secret:missing", "false"),
        (MORE, &none, "secret:unasked", "false"),
        (MORE, &none, "state", "false"),
        (MORE, &none, "nonsense", "false"),
    ] {
        assert_eq!(ask(kind, target.clone(), name).await, expected, "{kind} {name}");
    }
}
