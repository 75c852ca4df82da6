//! A thousand checks of a kind leave no file descriptor and no task behind, and none unpacks a bomb into memory. In a
//! process of its own, because all of it is counted for the whole process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails so"
)]

#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "it"]
mod it {
    pub(crate) mod support;
}

use async_compression::tokio::write::GzipEncoder;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use it::support::{
    Probe,
    certificates::{Authority, Leaf},
    eventually,
    server::{Server, ok},
    with,
};
use lapwing_model::Status;
use serde_json::{Value, json};
use std::fs;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
    sync::Mutex,
};
use tonic::service::Routes;

const CHECKS: usize = 1000;
const AT_ONCE: usize = 16;
/// Most memory that a bomb may take, in bytes.
const MOST_GROWTH: usize = 16 << 20;
/// Most memory that one answer of many small things may take, in bytes: 16 MiB as it came, or the tree of 1 MiB (half a million
/// items of 72 bytes, and half of that again where the allocator has to move the list as it grows).
const MOST_FOR_ITEMS: usize = 64 << 20;
/// Held by the test that counts.
static ALONE: Mutex<()> = Mutex::const_new(());

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs `config` so many times.
async fn run(probe: &Probe, kind: &str, config: &Value, times: usize) {
    let mut runs = stream::iter(0..times)
        .map(|_| probe.seen(kind, config.clone()))
        .buffer_unordered(AT_ONCE);
    while let Some(seen) = runs.next().await {
        assert_eq!(seen.status, Status::Up, "{kind}: {}", seen.message);
    }
}

#[tokio::test]
async fn descriptors_and_tasks_are_flat_over_a_thousand_checks_of_each_kind() {
    let _alone = ALONE.lock().await;
    let authority = Authority::new();
    let plain = Server::http(|_| ok("ok")).await;
    let secure = Server::https(authority.issue(&Leaf::default()).acceptor(), |_| ok("ok")).await;
    let sockets = Server::raw(|stream| async move {
        if let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await {
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
    let (_, health) = tonic_health::server::health_reporter();
    let routes = Routes::new(health).prepare();
    let grpc = Server::raw(move |stream| {
        let service = TowerToHyperService::new(routes.clone());
        async move {
            let connection = http2::Builder::new(TokioExecutor::new());
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    let probe = Probe::new();
    for (name, server, kind, config) in [
        (
            "http",
            &plain,
            "http",
            json!({ "url": plain.url("/"), "keyword": "ok" }),
        ),
        (
            "https",
            &secure,
            "http",
            json!({ "url": format!("https://{}/", secure.address), "tls_ca": authority.pem(), "keyword": "ok" }),
        ),
        (
            "websocket",
            &sockets,
            "websocket",
            json!({ "url": format!("ws://{}/", sockets.address) }),
        ),
        (
            "grpc",
            &grpc,
            "grpc",
            json!({ "host": "127.0.0.1", "port": grpc.port() }),
        ),
    ] {
        let tasks = || Handle::current().metrics().num_alive_tasks();
        // What is made once is made.
        run(&probe, kind, &config, 2 * AT_ONCE).await;
        server.drained().await;
        let before = (descriptors(), tasks());
        run(&probe, kind, &config, CHECKS).await;
        eventually(
            &format!("as before {CHECKS} checks of {name}: {before:?}"),
            || descriptors() <= before.0 && tasks() <= before.1,
        )
        .await;
    }
}

/// A line of this process's `status`, in bytes.
fn memory(line: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    let kibibytes: usize = line.split_whitespace().next().unwrap().parse().unwrap();
    kibibytes << 10
}

/// 128 MiB of blanks, in less than 256 KiB.
async fn bomb() -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    for _ in 0..128 {
        encoder.write_all(&vec![b' '; 1 << 20]).await.unwrap();
    }
    encoder.shutdown().await.unwrap();
    let bomb = encoder.into_inner();
    assert!(bomb.len() < 256 << 10);
    bomb
}

#[tokio::test]
async fn no_kind_unpacks_a_bomb_into_memory() {
    let _alone = ALONE.lock().await;
    let bomb = bomb().await;
    let packed = |code: u16| {
        let bomb = bomb.clone();
        Server::http(move |_| {
            let answer = Response::builder()
                .status(code)
                .header("content-encoding", "gzip");
            answer.body(Full::from(bomb.clone())).unwrap()
        })
    };
    let (good, bad) = (packed(200).await, packed(503).await);
    let length = u32::try_from(bomb.len()).unwrap().to_be_bytes();
    let message = [&[1][..], &length, &bomb].concat();
    let grpc = Server::http2(move |_| {
        let answer = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-encoding", "gzip");
        answer.body(Full::from(message.clone())).unwrap()
    })
    .await;
    let url = |server: &Server| format!("http://{}/", server.address);
    let definition = "syntax = \"proto3\"; message E {} service S { rpc M(E) returns (E); }";
    let probe = Probe::new();
    // The system's roots are read once, and are no kind's doing.
    let secure = json!({ "url": format!("https://{}/", good.address) });
    assert_eq!(probe.seen("http", secure).await.status, Status::Down);
    for (kind, config) in [
        ("http", json!({ "url": url(&good), "keyword": "x" })),
        ("websocket", json!({ "url": format!("ws://{}/", bad.address) })),
        (
            "docker",
            json!({ "container_id": "c", "connection_type": "tcp", "docker_daemon": format!("tcp://{}", good.address) }),
        ),
        (
            "rabbitmq",
            json!({ "nodes": [url(&bad)], "username": "u", "password": "p" }),
        ),
        ("grpc", json!({ "host": "127.0.0.1", "port": grpc.port() })),
        (
            "grpc-keyword",
            json!({
                "grpcUrl": grpc.address.to_string(), "grpcServiceName": "S", "grpcMethod": "M",
                "grpcProtobuf": definition,
            }),
        ),
    ] {
        // The peak is forgotten: `man 5 proc_pid_clear_refs`.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = memory("VmRSS:");
        let seen = probe.seen(kind, config).await;
        let growth = memory("VmHWM:").saturating_sub(before);
        assert_eq!(seen.status, Status::Down, "{kind}: {}", seen.message);
        assert!(growth < MOST_GROWTH, "{kind}: {growth} bytes, {}", seen.message);
    }
}

/// What `kind` takes to judge one answer of very many very small things, and what it says.
async fn growth(probe: &Probe, kind: &str, config: Value) -> (usize, String) {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    // Without the pages of this program: how many of those are there is a matter of what else the machine does.
    let before = memory("RssAnon:");
    let said = match probe.run(kind, config).await {
        Ok(seen) => seen.message,
        Err(error) => error.to_string(),
    };
    let peak = memory("VmHWM:").saturating_sub(memory("RssFile:"));
    (peak.saturating_sub(before), said)
}

/// A BSON document of these elements.
fn document(elements: &[u8]) -> Vec<u8> {
    let length = u32::try_from(elements.len() + 5).unwrap().to_le_bytes();
    [&length[..], elements, &[0]].concat()
}

/// An OP_MSG in answer to the request of this number.
fn message(request: u32, document: &[u8]) -> Bytes {
    let length = u32::try_from(21 + document.len()).unwrap();
    let head = [length, 9, request, 2013, 0].map(u32::to_le_bytes).concat();
    Bytes::from([&head[..], &[0], document].concat())
}

#[tokio::test]
async fn no_kind_makes_much_of_very_many_small_things() {
    let _alone = ALONE.lock().await;
    // A million brokers without a name, then no topic.
    let brokers = [
        &[0; 4][..],
        &1_000_000_u32.to_be_bytes(),
        &vec![0; 14 * 1_000_000],
        &[0; 10],
    ];
    let brokers = Bytes::from(brokers.concat());
    let kafka = Server::raw(move |mut stream| {
        let brokers = brokers.clone();
        async move {
            let mut head = [0; 12];
            let _ = stream.read_exact(&mut head).await;
            let length = u32::try_from(brokers.len() + 4).unwrap().to_be_bytes();
            let _ = stream.write_all(&[&length[..], &head[8..]].concat()).await;
            let _ = stream.write_all(&brokers).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    // Five million nulls in a list.
    let well = b"\x01ok\0\0\0\0\0\0\0\xf0\x3f";
    let nulls = document(&b"\x0ax\0".repeat(5_000_000));
    let replies = [
        message(1, &document(well)),
        message(2, &document(&[&well[..], b"\x04l\0", &nulls].concat())),
    ];
    let mongo = Server::raw(move |mut stream| {
        let replies = replies.clone();
        async move {
            for reply in replies {
                let length = stream.read_u32_le().await.unwrap();
                let _ = stream.read_exact(&mut vec![0; length as usize - 4]).await;
                let _ = stream.write_all(&reply).await;
            }
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let mongodb = |more: Value| {
        let config = json!({ "connectionString": format!("mongodb://{}/db", mongo.address) });
        with(config, more)
    };
    let list = format!("[{}0]", "0,".repeat(500_000));
    let http = Server::http(move |_| ok(list.clone())).await;
    let probe = Probe::new();
    for (kind, verdict, config) in [
        (
            "kafka-producer",
            "protocol",
            json!({ "brokers": [kafka.address.to_string()], "topic": "t", "message": "m" }),
        ),
        ("mongodb", "executed successfully", mongodb(json!({}))),
        ("mongodb", "a result", mongodb(json!({ "jsonPath": "l" }))),
        (
            "mongodb",
            "more than is compared",
            mongodb(json!({ "jsonPath": "l", "expectedValue": "x" })),
        ),
        (
            "http-json-query",
            "path not found",
            json!({ "url": http.url("/"), "json_query": "$[?@ > 1]" }),
        ),
    ] {
        let (growth, said) = growth(&probe, kind, config).await;
        assert!(said.contains(verdict), "{kind}: {said}");
        assert!(growth < MOST_FOR_ITEMS, "{kind}: {growth} bytes, {said}");
    }
}
