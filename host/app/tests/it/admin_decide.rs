//! What operators decide about plugins by API: it takes effect at once, and outlives the process.

use crate::support::{
    home::Home,
    process::{Daemon, lapwing},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::fs;

async fn has_kind(daemon: &Daemon, kind: &str) -> bool {
    daemon.get(&format!("/api/v1/kinds/{kind}/schema")).await.0 == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_plugin_serves_nothing_until_it_is_enabled_also_over_a_restart() {
    let home = Home::new(&["smtp.wasm"], "");
    let daemon = home.daemon();
    assert!(has_kind(&daemon, "smtp").await);
    let (code, smtp) = daemon.post("/api/v1/plugins/smtp/disable", &json!(null)).await;
    assert_eq!((code, &smtp["state"]), (200, &json!("disabled")), "{smtp}");
    assert!(!has_kind(&daemon, "smtp").await);
    drop(daemon);
    let daemon = home.daemon();
    assert_eq!(daemon.get("/api/v1/plugins/smtp").await.1["state"], "disabled");
    let (_, smtp) = daemon.post("/api/v1/plugins/smtp/enable", &json!(null)).await;
    assert_eq!(smtp["state"], "active", "{smtp}");
    assert!(has_kind(&daemon, "smtp").await);
    let digest = smtp["digest"].as_str().unwrap();
    for (digest, expected) in [(digest, 200), (&"ab".repeat(32), 409)] {
        let path = format!("/api/v1/plugins/smtp/enable?digest={digest}");
        let (code, answer) = daemon.post(&path, &json!(null)).await;
        assert_eq!(code, expected, "{answer}");
    }
    let (code, answer) = daemon.post("/api/v1/plugins/nobody/enable", &json!(null)).await;
    assert_eq!((code, &answer["error"]["code"]), (404, &json!("unknown_plugin")));
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_typed_add_up_and_can_be_taken_back() {
    let home = Home::new(&["smtp.wasm"], "");
    let daemon = home.daemon();
    let path = "/api/v1/plugins/smtp/grants";
    let wrong = json!({"hosts": "relay", "state": 1, "prots": []});
    let (code, answer) = daemon.ask(Method::PUT, path, Some(&wrong)).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!((code, &answer["error"]["code"]), (422, &json!("invalid_grant")));
    assert!(
        ["hosts", "state", "prots"]
            .iter()
            .all(|field| message.contains(field)),
        "{message}"
    );

    let unknown = json!({"secrets": ["mial"], "reveal": ["mail"]});
    let (code, answer) = daemon.ask(Method::PUT, path, Some(&unknown)).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!(code, 422, "{message}");
    assert!(
        message.contains("there is no secret `mial` in [secrets]; known: `mail`"),
        "{message}"
    );

    for file in 0..17 {
        let grant = json!({"hosts": ["relay.test:25"], "digest": format!("{file:064x}")});
        let (code, answer) = daemon.ask(Method::PUT, path, Some(&grant)).await;
        assert_eq!(code, if file < 16 { 200 } else { 409 }, "{answer}");
    }
    assert_eq!(daemon.ask(Method::DELETE, path, None).await.0, 200);

    let grant = json!({"hosts": ["relay.test:25"], "secrets": ["mail"]});
    let (code, smtp) = daemon.ask(Method::PUT, path, Some(&grant)).await;
    assert_eq!((code, &smtp["granted"]), (200, &grant), "{smtp}");
    drop(daemon);
    let daemon = home.daemon();
    assert_eq!(
        daemon.get("/api/v1/plugins/smtp").await.1["granted_by_api"],
        json!([grant])
    );
    assert!(!daemon.log().contains("no secret"), "{}", daemon.log());
    drop(daemon);
    let config = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), config.replace("[secrets.mail]", "[secrets.post]")).unwrap();
    let daemon = home.daemon();
    let warning = "plugin `smtp` is granted, by API, what is not there: there is no secret `mail` in [secrets]; known: `post`";
    assert!(daemon.log().contains(warning), "{}", daemon.log());
    let (code, smtp) = daemon.ask(Method::DELETE, path, None).await;
    assert_eq!((code, &smtp["granted"]), (200, &json!({})), "{smtp}");
    let kept = fs::read_to_string(home.decisions()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["grants"], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_approved_that_does_not_wait() {
    let home = Home::new(&["smtp.wasm"], "");
    let daemon = home.daemon();
    let (code, answer) = daemon
        .post("/api/v1/plugins/smtp/approve", &json!({"digest": "ab"}))
        .await;
    assert_eq!(
        (code, &answer["error"]["code"]),
        (409, &json!("nothing_to_approve")),
        "{answer}"
    );
    let (code, _) = daemon.post("/api/v1/plugins/smtp/approve", &json!({})).await;
    assert_eq!(code, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_asks_for_more_waits_until_its_very_file_is_approved() {
    let home = Home::new(&["fixtures/greedy.wasm"], "");
    let daemon = home.daemon();
    let (_, plugins) = daemon.get("/api/v1/plugins").await;
    let greedy = &plugins["plugins"][0];
    let (name, digest) = (greedy["name"].as_str().unwrap(), &greedy["digest"]);
    assert_eq!(greedy["state"], "pending-approval", "{greedy}");
    assert!(
        greedy["reason"].as_str().unwrap().contains("relay.test:25"),
        "{greedy}"
    );
    assert!(!has_kind(&daemon, "fixture-greedy").await);

    let path = format!("/api/v1/plugins/{name}/approve");
    let (code, answer) = daemon.post(&path, &json!({"digest": "ab".repeat(32)})).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!((code, &answer["error"]["code"]), (409, &json!("other_digest")));
    assert!(
        message.contains(digest.as_str().unwrap()) && message.contains("relay.test:25"),
        "{message}"
    );

    let (code, greedy) = daemon.post(&path, &json!({ "digest": digest })).await;
    assert_eq!((code, &greedy["state"]), (200, &json!("active")), "{greedy}");
    assert_eq!(greedy["granted"]["hosts"], json!(["relay.test:25"]), "{greedy}");
    drop(daemon);
    let daemon = home.daemon();
    assert!(has_kind(&daemon, "fixture-greedy").await, "over a restart");
    let (_, greedy) = daemon
        .ask(Method::DELETE, &format!("/api/v1/plugins/{name}/grants"), None)
        .await;
    assert_eq!(greedy["state"], "pending-approval", "{greedy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_gets_at_none_of_it() {
    let home = Home::new(&["smtp.wasm"], "");
    let daemon = home.daemon();
    let client = reqwest::Client::new();
    for (path, operations) in crate::support::contract::paths() {
        for method in operations.keys() {
            if path == "/api/v1/health" {
                continue;
            }
            let url = format!(
                "{}{}",
                daemon.admin,
                path.replace("{name}", "smtp").replace("{kind}", "smtp")
            );
            let method: Method = method.to_uppercase().parse().unwrap();
            for (name, value) in [("origin", "https://example.com"), ("host", "rebound.example")] {
                let answer = client
                    .request(method.clone(), &url)
                    .header(name, value)
                    .send()
                    .await
                    .unwrap();
                assert_eq!(answer.status(), 403, "{method} {path} with {name}");
            }
        }
    }
    assert!(has_kind(&daemon, "smtp").await, "nothing was disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_is_told_with_the_plugin_that_would_provide_it() {
    let home = Home::new(&["smtp.wasm", "fixtures/greedy.wasm"], "");
    fs::write(home.plugins().join("imap.wasm"), "(component)").unwrap();
    let daemon = home.daemon();
    daemon.post("/api/v1/plugins/smtp/disable", &json!(null)).await;
    let told = [
        (
            "smtp",
            "/data/plugins.json`; `lapwing plugin enable smtp` or `POST /api/v1/plugins/smtp/enable` lets it serve; known: ",
        ),
        (
            "fixture-greedy",
            "provides it and is pending-approval: kind `fixture-greedy` asks for `net.tcp` to `relay.test:25`",
        ),
        (
            "imap",
            "`imap`: plugin file `imap.wasm` was refused: WebAssembly text",
        ),
        ("htpt", "unknown monitor type `htpt`: did you mean `http`? "),
    ];
    for (kind, part) in told {
        let (code, answer) = daemon.post("/api/v1/checks", &json!({ "kind": kind })).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(code == 404 && message.contains(part), "{kind}: {message}");
        let (_, schema) = daemon.get(&format!("/api/v1/kinds/{kind}/schema")).await;
        assert_eq!(schema["error"]["message"], message);
    }
    // By the command line as well.
    let check = lapwing()
        .args(["check", "smtp", "--settings"])
        .arg(home.config())
        .output()
        .unwrap();
    let out = String::from_utf8(check.stdout).unwrap();
    assert_eq!(check.status.code(), Some(64), "{out}");
    assert!(out.contains("plugin `smtp` provides it and is disabled"), "{out}");
}
