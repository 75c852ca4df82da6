//! Uploads: with a token of their own, and disabled until an operator says otherwise.

use crate::support::{
    eventually,
    home::Home,
    plugins,
    process::{Daemon, lapwing},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

/// Lines of `[admin]`.
const UPLOADS: &str = "token = \"admin\"\nupload = true\nupload_token = \"courier\"";

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
    let home = Home::new(&[], UPLOADS);
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
    let home = Home::new(&[], UPLOADS);
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
    let home = Home::new(&[], UPLOADS);
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
    let home = Home::new(&[], UPLOADS);
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
    let home = Home::new(&[], UPLOADS);
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
