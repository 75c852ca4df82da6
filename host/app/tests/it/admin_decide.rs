//! What operators decide about plugins by API: it takes effect at once, and outlives the process.

use crate::support::{
    eventually, plugins,
    process::{Daemon, lapwing},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

/// A folder of plugins, a configuration, and where decisions are kept.
struct Home(tempfile::TempDir);

impl Home {
    fn new(files: &[&str], admin: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("plugins")).unwrap();
        for file in files {
            let name = file.rsplit('/').next().unwrap();
            fs::copy(plugins().join(file), home.path().join("plugins").join(name)).unwrap();
        }
        let config = format!(
            "[admin]\n{admin}\n[plugins]\ndir = \"{}\"\ndata = \"{}\"\n[[monitors]]\nname = \"one\"\nkind = \"tcp\"\ninterval = \"1h\"\n[monitors.config]\nhost = \"127.0.0.1\"\nport = 9\n[secrets.mail]\nvalue = \"x\"\n",
            home.path().join("plugins").display(),
            home.path().join("data").display(),
        );
        let home = Self(home);
        fs::write(home.config(), config).unwrap();
        home
    }

    fn plugins(&self) -> std::path::PathBuf {
        self.0.path().join("plugins")
    }

    fn config(&self) -> std::path::PathBuf {
        self.0.path().join("lapwing.toml")
    }

    fn daemon(&self) -> Daemon {
        let mut command = lapwing();
        command.arg("run").arg("--config").arg(self.config());
        Daemon::start(command)
    }
}

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
    let kept = fs::read_to_string(home.0.path().join("data/plugins.json")).unwrap();
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

/// `POST /api/v1/plugins`.
async fn upload(daemon: &Daemon, token: Option<&str>, file: Vec<u8>) -> (u16, Value) {
    let request = reqwest::Client::new()
        .post(format!("{}/api/v1/plugins", daemon.admin))
        .body(file);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let (code, body) = (answer.status().as_u16(), answer.json().await.unwrap());
    crate::support::contract::holds("POST", "/api/v1/plugins", code, &body);
    (code, body)
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// The same without the marks of uploads.
fn unmarked(folder: &Path) -> Vec<String> {
    let mut names = files(folder);
    names.retain(|name| !name.starts_with(".uploaded-"));
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_needs_its_own_token_and_lands_disabled() {
    let home = Home::new(
        &[],
        "token = \"admin\"\nupload = true\nupload_token = \"courier\"",
    );
    let daemon = home.daemon();
    let smtp = fs::read(plugins().join("smtp.wasm")).unwrap();
    for token in [None, Some("admin"), Some("courie")] {
        assert_eq!(upload(&daemon, token, smtp.clone()).await.0, 401, "{token:?}");
    }
    for (file, code, word) in [
        (b"(module)".to_vec(), 422, "not_a_plugin"),
        (vec![0; 33 << 20], 413, "payload_too_large"),
    ] {
        let (got, answer) = upload(&daemon, Some("courier"), file).await;
        assert_eq!((got, &answer["error"]["code"]), (code, &json!(word)), "{answer}");
    }
    assert_eq!(
        files(&home.plugins()),
        [""; 0],
        "nothing is left of what was refused"
    );

    let (code, answer) = upload(&daemon, Some("courier"), smtp.clone()).await;
    assert_eq!(
        (code, &answer["name"], &answer["state"]),
        (201, &json!("smtp"), &json!("disabled")),
        "{answer}"
    );
    let mark = format!(".uploaded-{}", answer["digest"].as_str().unwrap());
    assert_eq!(files(&home.plugins()), [&mark, "smtp.wasm"]);
    assert_eq!(fs::read(home.plugins().join("smtp.wasm")).unwrap(), smtp);
    let (code, answer) = upload(&daemon, Some("courier"), smtp).await;
    assert_eq!(
        (code, &answer["error"]["code"]),
        (409, &json!("already_exists")),
        "{answer}"
    );
    let client = reqwest::Client::new();
    let enable = format!("{}/api/v1/plugins/smtp/enable", daemon.admin);
    assert_eq!(
        client
            .post(&enable)
            .bearer_auth("courier")
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    let enabled = client.post(&enable).bearer_auth("admin").send().await.unwrap();
    assert_eq!(enabled.json::<Value>().await.unwrap()["state"], "active");
    assert_eq!(files(&home.plugins()), ["smtp.wasm"]);
    assert!(!daemon.log().contains("courier"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_no_say_over_what_operators_put_there() {
    let home = Home::new(
        &[],
        "token = \"admin\"\nupload = true\nupload_token = \"courier\"",
    );
    let daemon = home.daemon();
    let smtp = fs::read(plugins().join("smtp.wasm")).unwrap();
    assert_eq!(upload(&daemon, Some("courier"), smtp.clone()).await.0, 201);
    // The operator's own, of the same name: with one more custom section it is another file.
    let own = home.plugins().join("operators-smtp.wasm");
    fs::write(&own, [&smtp[..], &[0, 3, 1, b'n', 0]].concat()).unwrap();
    let client = reqwest::Client::new();
    let ask = |path: &str| {
        client
            .post(format!("{}/api/v1/{path}", daemon.admin))
            .bearer_auth("admin")
    };
    assert!(ask("plugins/reload").send().await.unwrap().status().is_success());
    let list = client
        .get(format!("{}/api/v1/plugins", daemon.admin))
        .bearer_auth("admin");
    let list: Value = list.send().await.unwrap().json().await.unwrap();
    let states: BTreeMap<_, _> = list["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| {
            (
                plugin["path"].as_str().unwrap().rsplit('/').next().unwrap(),
                &plugin["state"],
            )
        })
        .collect();
    let (active, disabled) = (json!("active"), json!("disabled"));
    let expected = BTreeMap::from([("operators-smtp.wasm", &active), ("smtp.wasm", &disabled)]);
    assert_eq!(states, expected, "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_folder_refuses_leaves_nothing_behind() {
    let home = Home::new(
        &[],
        "token = \"admin\"\nupload = true\nupload_token = \"courier\"",
    );
    fs::write(home.plugins().join("plugins.lock"), "# nothing is pinned\n").unwrap();
    let daemon = home.daemon();
    let smtp = fs::read(plugins().join("smtp.wasm")).unwrap();
    let (code, answer) = upload(&daemon, Some("courier"), smtp).await;
    assert_eq!(
        (code, &answer["error"]["code"]),
        (422, &json!("not_a_plugin")),
        "{answer}"
    );
    assert_eq!(files(&home.plugins()), ["plugins.lock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_uploads_wait_than_somebody_can_look_at() {
    let home = Home::new(
        &[],
        "token = \"admin\"\nupload = true\nupload_token = \"courier\"",
    );
    let daemon = home.daemon();
    let file = |name: &str| fs::read(plugins().join(name)).unwrap();
    let (code, answer) = upload(&daemon, Some("courier"), file("fixtures/empty.wasm")).await;
    assert_eq!(code, 201, "{answer}");
    let uploaded = home
        .plugins()
        .join(format!("{}.wasm", answer["name"].as_str().unwrap()));
    for number in 1..64 {
        fs::copy(&uploaded, home.plugins().join(format!("copy-{number}.wasm"))).unwrap();
    }
    let client = reqwest::Client::new();
    let reload = client.post(format!("{}/api/v1/plugins/reload", daemon.admin));
    assert!(
        reload
            .bearer_auth("admin")
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let (code, answer) = upload(&daemon, Some("courier"), file("smtp.wasm")).await;
    assert_eq!(
        (code, &answer["error"]["code"]),
        (409, &json!("too_many_disabled")),
        "{answer}"
    );
    assert_eq!(unmarked(&home.plugins()).len(), 64, "and nothing is left of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_client_hangs_up_is_taken_all_the_same() {
    let home = Home::new(&[], "upload = true\nupload_token = \"courier\"");
    let daemon = home.daemon();
    let smtp = fs::read(plugins().join("smtp.wasm")).unwrap();
    let mut stream = TcpStream::connect(daemon.admin.trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /api/v1/plugins HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer courier\r\ncontent-length: {}\r\n\r\n",
        smtp.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&smtp).unwrap();
    // It has all of it once it is at work with the only draft.
    let whole = |name: &String| {
        fs::metadata(home.plugins().join(name)).is_ok_and(|file| file.len() == smtp.len() as u64)
    };
    eventually("the whole file", Duration::from_secs(20), async || {
        files(&home.plugins()).iter().any(whole)
    })
    .await;
    drop(stream);
    eventually("a plugin that is disabled", Duration::from_secs(20), async || {
        let (_, answer) = daemon.get("/api/v1/plugins").await;
        answer["plugins"][0]["state"] == "disabled"
    })
    .await;
    assert_eq!(unmarked(&home.plugins()), ["smtp.wasm"]);
}

/// An upload that stops after its first byte; it has come as far as the daemon asking for the body.
fn stalled(daemon: &Daemon) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.admin.trim_start_matches("http://")).unwrap();
    let head = "POST /api/v1/plugins HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer courier\r\n\
                content-length: 1000\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"\0").unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_upload_holds_up_no_other() {
    let home = Home::new(
        &[],
        "token = \"admin\"\nupload = true\nupload_token = \"courier\"",
    );
    let daemon = home.daemon();
    let smtp = fs::read(plugins().join("smtp.wasm")).unwrap();
    let mut halves: Vec<_> = (0..3).map(|_| stalled(&daemon)).collect();
    let (code, answer) = upload(&daemon, Some("courier"), smtp.clone()).await;
    assert_eq!((code, &answer["state"]), (201, &json!("disabled")), "{answer}");
    halves.push(stalled(&daemon));
    let (code, answer) = upload(&daemon, Some("courier"), smtp).await;
    assert_eq!(
        (code, &answer["error"]["code"]),
        (429, &json!("too_many_uploads")),
        "{answer}"
    );
    drop(halves);
    eventually(
        "nothing is left of the stalled ones",
        Duration::from_secs(20),
        async || unmarked(&home.plugins()) == ["smtp.wasm"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_can_be_uploaded() {
    let home = Home::new(&[], "");
    let daemon = home.daemon();
    let (code, answer) = upload(&daemon, Some("x"), b"\0asm".to_vec()).await;
    assert_eq!(
        (code, &answer["error"]["code"]),
        (403, &json!("upload_disabled")),
        "{answer}"
    );
    eventually("the folder stays empty", Duration::from_secs(1), async || {
        files(&home.plugins()).is_empty()
    })
    .await;
}

#[test]
fn an_upload_token_must_be_there_and_be_another() {
    for (admin, why) in [
        ("upload = true", "is missing"),
        (
            "token = \"a\"\nupload = true\nupload_token = \"a\"",
            "is the admin token",
        ),
    ] {
        let home = Home::new(&[], admin);
        let mut command = lapwing();
        let output = command
            .arg("run")
            .arg("--config")
            .arg(home.config())
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{err}");
        assert!(err.contains("admin.upload_token") && err.contains(why), "{err}");
    }
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
