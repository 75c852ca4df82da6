//! Components of other languages' toolchains: by the network their languages know (JavaScript's `fetch`, Python's
//! `socket`), and by ours; and whether their instances can serve again.

use crate::support::{Bench, PLENTY, unknown};
use lapwing_model::{Reason, Status};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Hears one connection to its end, or to the end of an HTTP head, and gives `answer`.
async fn server(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n") && stream.read_buf(&mut heard).await.unwrap() > 0 {}
            stream.write_all(answer).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn fetch_of_javascript_works_within_the_rights() {
    let bench = Bench::new("fetch").await;
    let port = server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let config = json!({ "url": format!("http://127.0.0.1:{port}/") }).to_string();
    let seen = bench.run(&config, PLENTY).await.unwrap();
    assert_eq!(
        (seen.status, seen.message.as_str()),
        (Status::Up, "200 hello"),
        "{seen:?}"
    );
    assert!(
        seen.phases.iter().any(|phase| phase.name == "connect"),
        "{:?}",
        seen.phases
    );

    let metadata = json!({ "url": "http://169.254.169.254/" }).to_string();
    let (reason, message) = unknown(bench.run(&metadata, PLENTY).await);
    assert_eq!(reason, Reason::DeniedByPolicy, "{message}");
}

#[tokio::test]
async fn an_interpreter_is_started_once_for_many_runs() {
    let port = server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").await;
    let config = json!({ "url": format!("http://127.0.0.1:{port}/") }).to_string();
    for name in ["fetch", "visit"] {
        let bench = Bench::new(name).await;
        for _ in 0..10 {
            let seen = bench.run(&config, PLENTY).await.unwrap();
            assert_eq!(
                (seen.status, seen.message.as_str()),
                (Status::Up, "200 hello"),
                "{seen:?}"
            );
        }
        let tally = bench.host.custody().record(&format!("fixture-{name}")).tally();
        assert_eq!((tally.runs, tally.reused), (10, 9), "{name}");
    }
}

#[tokio::test]
async fn sockets_of_python_work_within_the_rights() {
    let bench = Bench::new("sockets").await;
    let port = server(b"hello back").await;
    let config = json!({ "host": "localhost", "port": port }).to_string();
    let seen = bench.run(&config, PLENTY).await.unwrap();
    assert_eq!(
        (seen.status, seen.message.as_str()),
        (Status::Up, "hello back"),
        "{seen:?}"
    );

    let metadata = json!({ "host": "169.254.169.254", "port": 80 }).to_string();
    let (reason, message) = unknown(bench.run(&metadata, PLENTY).await);
    assert_eq!(reason, Reason::DeniedByPolicy, "{message}");
}
