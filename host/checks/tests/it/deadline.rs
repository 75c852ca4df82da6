//! One deadline over every phase: wherever a target stalls, the verdict comes in time and names the phase.

use crate::support::{
    Probe,
    dns::{Answer, NameServer},
    paused_from, policy_of, reason,
    server::{Server, redirect},
};
use lapwing_checks::Net;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::{self, Instant},
};

const BUDGET: Duration = Duration::from_secs(60);
const SLACK: Duration = Duration::from_millis(50);

/// Runs `config` into its deadline; from `stall` on, time is paused.
async fn stalled(probe: Probe, config: Value, stall: &Notify) -> Observation {
    let start = Instant::now();
    let probe = probe.within(BUDGET);
    let seen = paused_from(stall.notified(), probe.seen("http", config)).await;
    let took = start.elapsed();
    assert_eq!(seen.status, Status::Down, "{}", seen.message);
    assert!(took >= BUDGET && took <= BUDGET + SLACK, "took {took:?}");
    assert!(seen.latency.unwrap() <= BUDGET + SLACK);
    seen
}

/// A server that says `talk`, then a byte each second; `stall` is told when the talking is over.
async fn dripping(talk: &'static str, stall: &Arc<Notify>) -> Server {
    let stall = stall.clone();
    Server::raw(move |mut stream| {
        let stall = stall.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(talk.as_bytes()).await;
            stall.notify_one();
            while stream.write_all(b"x").await.is_ok() {
                time::sleep(Duration::from_secs(1)).await;
            }
        }
    })
    .await
}

/// A server that accepts, and that is all.
async fn mute(stall: &Arc<Notify>) -> Server {
    let stall = stall.clone();
    Server::raw(move |stream| {
        stall.notify_one();
        async move {
            let _held = stream;
            pending::<()>().await;
        }
    })
    .await
}

async fn read_request(stream: &mut TcpStream) {
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut heard).await.unwrap_or_default() == 0 {
            return;
        }
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_a_tls_timeout() {
    let stall = Arc::default();
    let server = mute(&stall).await;
    let config = json!({ "url": format!("https://{}/", server.address) });
    let seen = stalled(Probe::new(), config, &stall).await;
    assert_eq!(reason(&seen), "tls_timeout");
    assert_eq!(seen.phases.last().unwrap().name, "tls");
}

#[tokio::test]
async fn a_body_that_drips_is_a_response_timeout_though_the_head_came() {
    let stall = Arc::default();
    let server = dripping("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", &stall).await;
    let config = json!({ "url": server.url("/"), "keyword": "y" });
    let seen = stalled(Probe::new(), config, &stall).await;
    assert_eq!(reason(&seen), "response_timeout");
    assert_eq!(seen.attributes["http.status"], 200);
    let receive = seen.phases.iter().find(|phase| phase.name == "receive").unwrap();
    assert!(
        receive.elapsed > BUDGET / 2 && seen.latency.unwrap() < BUDGET / 2,
        "the time went into the body, the answer as such was quick: {:?}",
        seen.phases
    );
}

#[tokio::test]
async fn a_head_that_drips_is_a_response_timeout() {
    let stall = Arc::default();
    let server = dripping("HTTP/1.1 200 OK\r\nX: ", &stall).await;
    let seen = stalled(Probe::new(), json!({ "url": server.url("/") }), &stall).await;
    assert_eq!(reason(&seen), "response_timeout");
    assert_eq!(seen.phases.last().unwrap().name, "first_byte");
}

#[tokio::test]
async fn slow_redirects_share_the_one_deadline() {
    let (stall, asked) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    let told = stall.clone();
    let server = Server::raw(move |mut stream| {
        let (stall, last) = (told.clone(), asked.fetch_add(1, Ordering::SeqCst) == 2);
        async move {
            read_request(&mut stream).await;
            if last {
                stall.notify_one();
                pending::<()>().await;
            }
            time::pause();
            time::sleep(Duration::from_secs(20)).await;
            time::resume();
            let _ = stream
                .write_all(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
    })
    .await;
    let seen = stalled(Probe::new(), json!({ "url": server.url("/") }), &stall).await;
    assert_eq!(reason(&seen), "response_timeout");
    assert_eq!(
        (server.accepted(), &seen.attributes["http.status"]),
        (3, &json!(302))
    );
}

/// Paused from the start: whether the question has arrived makes no difference to silence.
#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_answers_is_a_dns_timeout() {
    let names = NameServer::start(|_, _| Answer::Silence).await;
    let net = Net::with_name_servers(policy_of(json!({})), &[names.address]);
    let start = Instant::now();
    let seen = Probe::through(net)
        .within(BUDGET)
        .seen("http", json!({ "url": "http://silent.example/" }))
        .await;
    assert_eq!(reason(&seen), "dns_timeout", "{}", seen.message);
    assert!(start.elapsed() <= BUDGET + SLACK);
}

#[tokio::test]
async fn a_proxy_that_never_opens_its_tunnel_is_the_proxys_fault() {
    let stall = Arc::default();
    let proxy = mute(&stall).await;
    for protocol in ["http", "https", "socks4a", "socks5"] {
        let via = json!({ "id": "p", "protocol": protocol, "host": "127.0.0.1", "port": proxy.port() });
        let config = json!({ "url": "https://target.example/" });
        let seen = stalled(Probe::new().via(via), config, &stall).await;
        assert_eq!(reason(&seen), "proxy_failed", "{protocol}: {}", seen.message);
    }
}

#[tokio::test]
async fn an_endless_chain_of_quick_redirects_ends_too() {
    let server = Server::http(|_| redirect(302, "/again")).await;
    let config = json!({ "url": server.url("/"), "max_redirects": 255 });
    let seen = Probe::new().within(BUDGET).seen("http", config).await;
    assert_eq!(reason(&seen), "too_many_redirects");
    assert_eq!(server.requests().len(), 256);
}
