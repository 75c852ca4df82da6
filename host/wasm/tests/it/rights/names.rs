//! Names: decided before anybody is asked about them, and pinned to the addresses that were judged.

use super::{Canary, Steps, asking, reached, refusal};
use serde_json::json;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};
use tokio::net::UdpSocket;

const OWN: &str = "fixture-steps";
const MORE: &str = "fixture-steps-more";

/// A name server (RFC 1035 §4) whose nth answer of an A record is the nth address, around and around, with a TTL of
/// zero; of any other type there is none. Tells what it was asked.
async fn name_server(addresses: Vec<Ipv4Addr>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = asked.clone();
    tokio::spawn(async move {
        let (mut datagram, mut turn) = ([0; 512], 0);
        while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
            let (mut at, mut labels) = (12, Vec::new());
            while datagram[at] > 0 {
                let end = at + 1 + usize::from(datagram[at]);
                labels.push(String::from_utf8_lossy(&datagram[at + 1..end]).into_owned());
                at = end;
            }
            noted.lock().unwrap().push(labels.join("."));
            let is_a = datagram[at + 1..at + 3] == [0, 1];
            let mut reply = datagram[..(at + 5).min(length)].to_vec();
            reply[2..12].copy_from_slice(&[0x84, 0, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                reply.extend(addresses[turn % addresses.len()].octets());
                turn += 1;
            }
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_name_that_is_not_permitted_is_not_even_asked_about() {
    let (server, asked) = name_server(vec![Ipv4Addr::LOCALHOST]).await;
    let steps = Steps::granted(json!({ "hosts": ["api.granted.test:443"], "dns": ["*.asked.test"] })).await;
    let run = async |kind: &str, step: serde_json::Value| {
        let config = json!({ "host": "own.test", "port": 80, "steps": [step], "end": "down" });
        steps.run_in(kind, &config, &asking(server)).await
    };
    for (kind, step) in [
        (
            OWN,
            json!({ "do": "tcp", "to": "secret.attacker.test", "port": 80 }),
        ),
        (
            OWN,
            json!({ "do": "udp", "to": "secret.attacker.test", "port": 80 }),
        ),
        (OWN, json!({ "do": "http", "to": "http://secret.attacker.test/" })),
        (OWN, json!({ "do": "dns", "name": "secret.attacker.test" })),
        (OWN, json!({ "do": "dns", "name": "own.test.attacker.test" })),
        (OWN, json!({ "do": "tcp", "to": "sub.own.test", "port": 80 })),
        (OWN, json!({ "do": "tcp", "to": "own.test", "port": 81 })),
        (
            MORE,
            json!({ "do": "tcp", "to": "other.granted.test", "port": 443 }),
        ),
        (
            MORE,
            json!({ "do": "tcp", "to": "api.granted.test", "port": 444 }),
        ),
        (MORE, json!({ "do": "dns", "name": "granted.test" })),
    ] {
        let why = refusal(run(kind, step).await);
        assert!(why.contains("is not the monitor's target"), "{why}");
    }
    assert_eq!(*asked.lock().unwrap(), [""; 0], "a question left this machine");
    reached(&run(OWN, json!({ "do": "dns", "name": "_dmarc.own.test" })).await);
    reached(&run(MORE, json!({ "do": "dns", "name": "1.2.asked.test" })).await);
    assert_eq!(*asked.lock().unwrap(), ["_dmarc.own.test", "1.2.asked.test"]);
}

#[tokio::test]
async fn a_server_to_ask_is_a_place_like_any_other() {
    let (server, asked) = name_server(vec![Ipv4Addr::new(192, 0, 2, 7)]).await;
    let steps = Steps::new().await;
    let step = json!({ "do": "dns", "name": "own.test", "server": "127.0.0.1", "port": server.port() });
    let why = refusal(
        steps
            .step(MORE, json!({ "host": "own.test" }), step.clone())
            .await,
    );
    assert!(
        why.contains(&format!("hosts = [\"127.0.0.1:{}\"]", server.port())),
        "{why}"
    );
    assert_eq!(*asked.lock().unwrap(), [""; 0]);
    steps.grant(json!({ "hosts": ["127.0.0.1"] }));
    let seen = steps.step(MORE, json!({ "host": "own.test" }), step).await;
    assert_eq!(seen.message, "192.0.2.7");
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused() {
    let (server, _) = name_server(vec![Ipv4Addr::LOCALHOST]).await;
    let canary = Canary::start().await;
    let steps = Steps::granted(json!({ "hosts": ["*"] })).await;
    for (kind, host) in [(OWN, "own.test"), (MORE, "other.test")] {
        let step = json!({ "do": "tcp", "to": host, "port": canary.port });
        let config = json!({ "host": "own.test", "port": canary.port, "steps": [step], "end": "down" });
        let why = refusal(steps.run_in(kind, &config, &asking(server)).await);
        let line = format!("hosts = [\"127.0.0.1:{}\"]", canary.port);
        assert!(why.contains("leads to 127.0.0.1") && why.contains(&line), "{why}");
    }
    canary.heard_nothing().await;
}

#[tokio::test]
async fn the_address_that_was_judged_is_the_one_that_is_dialled() {
    // First a harmless one, then this machine: whoever looks up twice is led astray.
    let (server, _) = name_server(vec![Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::LOCALHOST]).await;
    let canary = Canary::start().await;
    let steps = Steps::new().await;
    for _ in 0..6 {
        let step = json!({ "do": "tcp", "to": "rebind.test", "port": canary.port });
        let config = json!({ "host": "rebind.test", "port": canary.port, "steps": [step], "end": "down" });
        let mut cx = asking(server);
        cx.deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(600);
        // A time-out of 192.0.2.1, or a refusal of 127.0.0.1; the canary knows whether more happened.
        steps.run_in(OWN, &config, &cx).await;
    }
    canary.heard_nothing().await;
}
