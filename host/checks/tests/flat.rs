//! A thousand checks of a kind leave no file descriptor and no task behind. In a process of its own, because both are
//! counted for the whole process.

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

use futures_util::{StreamExt, stream};
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
};
use lapwing_model::Status;
use serde_json::{Value, json};
use std::fs;
use tokio::runtime::Handle;
use tonic::service::Routes;

const CHECKS: usize = 1000;
const AT_ONCE: usize = 16;

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
