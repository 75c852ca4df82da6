//! The plugin that README.md shows does what it says there.

use crate::support::{Bench, small};
use lapwing_model::Status;
use std::{fs, path::Path, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

/// A server that knows `root` alone.
async fn finger() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (reader, mut writer) = stream.split();
            let asked = BufReader::new(reader).lines().next_line().await.unwrap().unwrap();
            let known = if asked == "root" {
                "Login: root"
            } else {
                "no such user"
            };
            writer.write_all(format!("{known}\r\n").as_bytes()).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn the_plugin_of_the_readmes_runs_without_a_grant() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let source = read("plugins/fixtures/examples/finger.rs");
    for page in ["README.md", "plugins/sdk/README.md"] {
        let text = read(page);
        let (_, shown) = text.split_once("```rust\n").unwrap();
        let (shown, _) = shown.split_once("```").unwrap();
        assert!(
            shown.contains("impl Checker for Finger") && source.contains(shown),
            "{page} shows another plugin than plugins/fixtures/examples/finger.rs"
        );
    }

    let bench = Bench::with("finger", small()).await;
    let port = finger().await;
    for (user, status, reason) in [
        ("root", Status::Up, None),
        ("nobody", Status::Down, Some("finger_user_unknown")),
    ] {
        let config = format!(r#"{{"host":"127.0.0.1","port":{port},"user":"{user}"}}"#);
        let seen = bench.run(&config, Duration::from_secs(5)).await.unwrap();
        let said = seen.reason.as_ref().map(lapwing_model::Reason::as_str);
        assert_eq!((seen.status, said), (status, reason), "{}", seen.message);
    }
}
