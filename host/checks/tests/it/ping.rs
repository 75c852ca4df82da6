//! Kind `ping`, each test in a network namespace of its own: there it may decide who is allowed to ping, and who answers.
//!
//! Needs `unshare`, `setpriv` (util-linux) and `ip` (iproute2), and root or user namespaces.

use crate::{
    support::{
        Probe,
        dns::{Answer, NameServer},
        policy_of, reason,
        servers::program,
        with,
    },
    udp::Datagrams,
};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use hickory_resolver::proto::rr::RecordType;
use lapwing_checks::{CheckError, Net};
use lapwing_model::{Observation, Status};
use rustix::process::geteuid;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    env,
    net::{SocketAddr, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};
use tokio::time;

/// Set in the process that runs within the namespace.
const WITHIN: &str = "LAPWING_TEST_NAMESPACE";
const UNPRIVILEGED: &str = "echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range";
const RAW: &str = "echo '1 0' >/proc/sys/net/ipv4/ping_group_range";
const SILENT: &str = "echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all";

/// Whether this process is within a namespace where `setup` was done and `via` was started through; if not, runs `test`
/// again there, and fails as it does.
fn within(test: &str, setup: &[&str], via: &str) -> bool {
    if env::var_os(WITHIN).is_some() {
        return true;
    }
    let exe = env::current_exe().unwrap();
    let mut unshare: Command = program("unshare");
    if !geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let script = format!(
        "set -e; PATH=$PATH:/usr/sbin:/sbin; ip link set lo up; {} exec {via} \"$@\"",
        [setup, &[""][..]].concat().join("; ")
    );
    unshare.args(["--net", "sh", "-c", &script, "sh"]).arg(exe);
    unshare
        .args(["--exact", &format!("ping::{test}"), "--nocapture"])
        .env(WITHIN, "1");
    let output = unshare.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
    );
    false
}

async fn seen(config: Value) -> Observation {
    Probe::new().seen("ping", config).await
}

/// Within a time that is too short to be patient.
async fn soon(config: Value) -> Observation {
    Probe::new()
        .within(Duration::from_millis(900))
        .seen("ping", config)
        .await
}

fn metric(seen: &Observation, name: &str) -> Option<f64> {
    seen.metrics
        .iter()
        .find(|metric| metric.name == name)
        .map(|metric| metric.value)
}

/// Every size and family, by the sort of socket that is called `socket`.
async fn answers_by(socket: &str) {
    for (config, peer, count) in [
        (json!({ "host": "127.0.0.1" }), "127.0.0.1", 1.0),
        (
            json!({ "host": "127.0.0.1", "count": 5, "interval_ms": 10 }),
            "127.0.0.1",
            5.0,
        ),
        (json!({ "host": "127.0.0.1", "packet_size": 1 }), "127.0.0.1", 1.0),
        (
            json!({ "host": "127.0.0.1", "packet_size": 65_507 }),
            "127.0.0.1",
            1.0,
        ),
        (
            json!({ "host": "[::1]", "count": 2, "interval_ms": 0 }),
            "::1",
            2.0,
        ),
        (json!({ "host": "localhost", "ip_family": "4" }), "127.0.0.1", 1.0),
    ] {
        let seen = seen(config.clone()).await;
        assert_eq!(seen.status, Status::Up, "{config}: {}", seen.message);
        assert!(
            seen.message.starts_with("Ping successful, RTT: ") && seen.message.ends_with('s'),
            "{}",
            seen.message
        );
        assert_eq!(
            (&seen.attributes["peer"], &seen.attributes["icmp.socket"]),
            (&json!(peer), &json!(socket))
        );
        assert_eq!(
            (metric(&seen, "packets_sent"), metric(&seen, "packets_received")),
            (Some(count), Some(count))
        );
        assert!(metric(&seen, "rtt_max") >= metric(&seen, "rtt_min") && seen.latency.is_some());
    }
}

#[tokio::test]
async fn an_unprivileged_socket_comes_first() {
    if within(
        "an_unprivileged_socket_comes_first",
        &[UNPRIVILEGED],
        "setpriv --bounding-set -all",
    ) {
        answers_by("datagram").await;
    }
}

#[tokio::test]
async fn a_raw_socket_comes_second() {
    if within("a_raw_socket_comes_second", &[RAW], "") {
        answers_by("raw").await;
    }
}

#[tokio::test]
async fn without_any_permission_it_is_our_trouble_and_says_what_to_do() {
    let test = "without_any_permission_it_is_our_trouble_and_says_what_to_do";
    if within(test, &[RAW], "setpriv --bounding-set -all") {
        let error = Probe::new()
            .run("ping", json!({ "host": "127.0.0.1" }))
            .await
            .unwrap_err();
        assert!(matches!(&error, CheckError::PermissionDenied(_)), "{error:?}");
        assert!(error.to_string().contains("net.ipv4.ping_group_range"), "{error}");
    }
}

#[tokio::test]
async fn silence_is_down_at_the_deadline_and_no_route_at_once() {
    let test = "silence_is_down_at_the_deadline_and_no_route_at_once";
    if !within(test, &[RAW, SILENT, "ip route add unreachable 192.0.2.0/24"], "") {
        return;
    }
    for (config, sent) in [
        (json!({ "host": "127.0.0.1" }), 1.0),
        (
            json!({ "host": "127.0.0.1", "count": 4, "interval_ms": 60_000 }),
            4.0,
        ),
    ] {
        let start = Instant::now();
        let seen = soon(config).await;
        assert_eq!((seen.status, reason(&seen)), (Status::Down, "response_timeout"));
        assert_eq!(seen.message, "Ping failed: no response received");
        assert!(start.elapsed() >= Duration::from_millis(900));
        assert_eq!(
            metric(&seen, "packets_sent"),
            Some(sent),
            "as many packets as when it is up"
        );
    }
    let seen = seen(json!({ "host": "192.0.2.1" })).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "network_unreachable"),
        "{}",
        seen.message
    );
}

/// A raw ICMP socket that sends from `address`.
fn raw(address: &str) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    let address: SocketAddr = format!("{address}:0").parse().unwrap();
    socket.bind(&address.into()).unwrap();
    socket.into()
}

/// An echo reply: the checksum is put right.
fn reply(identifier: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0];
    packet.extend(identifier.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(payload);
    let mut sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap();
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Answers in the kernel's stead, until the process ends: `answers` is given identifier, sequence number and payload of each
/// request to 127.0.0.1, and what it gives is sent from there, or from 127.0.0.2.
fn respond(answers: impl Fn(u16, u16, &[u8]) -> Vec<(bool, Vec<u8>)> + Send + 'static) {
    let (own, other) = (raw("127.0.0.1"), raw("127.0.0.2"));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = own.recv_from(&mut buffer) {
            // Behind the IP header.
            let packet = &buffer[20..length];
            if packet[0] != 8 {
                continue;
            }
            let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
            for (from_us, answer) in answers(word(4), word(6), &packet[8..]) {
                let sender = if from_us { &own } else { &other };
                let _ = sender.send_to(&answer, from);
            }
        }
    });
}

#[tokio::test]
async fn replies_are_matched_by_identifier_number_payload_and_peer() {
    let test = "replies_are_matched_by_identifier_number_payload_and_peer";
    if !within(test, &[RAW, SILENT], "") {
        return;
    }
    respond(|identifier, sequence, payload| {
        let mut changed = payload.to_vec();
        changed[0] ^= 1;
        vec![
            (true, reply(!identifier, sequence, payload)),
            (true, reply(identifier, sequence + 7, payload)),
            (true, reply(identifier, sequence, &changed)),
            (true, reply(identifier, sequence, &payload[1..])),
            (false, reply(identifier, sequence, payload)),
            (true, vec![0; 3]),
        ]
    });
    let seen = soon(json!({ "host": "127.0.0.1" })).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "response_timeout"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn loss_is_judged_by_its_thresholds_and_duplicates_are_no_replies() {
    let test = "loss_is_judged_by_its_thresholds_and_duplicates_are_no_replies";
    if !within(test, &[RAW, SILENT], "") {
        return;
    }
    // Of four packets the first is answered twice, and the last one is lost.
    respond(|identifier, sequence, payload| match sequence {
        0 => vec![(true, reply(identifier, sequence, payload)); 2],
        3 => vec![],
        _ => vec![(true, reply(identifier, sequence, payload))],
    });
    let config = |degraded: u8, down: u8| {
        json!({
            "host": "127.0.0.1", "count": 4, "interval_ms": 20,
            "degraded_loss_percent": degraded, "down_loss_percent": down,
        })
    };
    // At once, as each waits for the packet that is lost.
    let cases = [
        (100, 100, Status::Up),
        (26, 100, Status::Up),
        (25, 100, Status::Degraded),
        (25, 26, Status::Degraded),
        (1, 25, Status::Down),
    ];
    let pings = cases.map(async |(degraded, down, status)| (status, soon(config(degraded, down)).await));
    for (status, seen) in join_all(pings).await {
        assert_eq!(seen.status, status, "{}", seen.message);
        assert!(seen.message.ends_with("1 of 4 packets lost"), "{}", seen.message);
        assert_eq!(
            seen.message.starts_with("Ping successful, RTT: "),
            status != Status::Down
        );
        assert_eq!(metric(&seen, "packets_received"), Some(3.0));
    }
}

#[tokio::test]
async fn concurrent_pings_never_satisfy_each_other() {
    for permission in [RAW, UNPRIVILEGED] {
        if !within(
            "concurrent_pings_never_satisfy_each_other",
            &[permission, SILENT],
            "",
        ) {
            continue;
        }
        // Only the longer ones are answered.
        respond(|identifier, sequence, payload| match payload.len() {
            40 => vec![(true, reply(identifier, sequence, payload))],
            _ => vec![],
        });
        let probe = Probe::new();
        let ping = async |number| {
            let config = json!({ "host": "127.0.0.1", "packet_size": 39 + number % 2 });
            (number % 2 == 1, probe.seen("ping", config).await)
        };
        let mut pings: FuturesUnordered<_> = (0..40).map(ping).collect();
        let mut ended = 0;
        while let Some((answered, seen)) = pings.next().await {
            let status = if answered { Status::Up } else { Status::Down };
            assert_eq!(seen.status, status, "{}", seen.message);
            ended += 1;
            if ended == 20 {
                // The others have only their deadline to wait for.
                time::pause();
            }
        }
        return;
    }
}

#[tokio::test]
async fn an_address_without_a_route_gives_way_to_the_next() {
    let test = "an_address_without_a_route_gives_way_to_the_next";
    for no_way in [&[][..], &["ip -6 route add unreachable 2001:db8::/64"]] {
        if !within(test, no_way, "") {
            continue;
        }
        let (six, four) = ("2001:db8::1".parse().unwrap(), "127.0.0.1".parse().unwrap());
        let names = NameServer::start(move |_, rtype| {
            Answer::Addresses(vec![if rtype == RecordType::AAAA { six } else { four }])
        })
        .await;
        // A request becomes its own answer by the type of its PDU.
        let server = Datagrams::serve(|asked| {
            let mut answer = asked.to_vec();
            if let Some(kind) = answer.get_mut(8) {
                *kind = 0xa2;
            }
            vec![answer]
        })
        .await;
        let probe = || {
            let policy = policy_of(json!({ "mode": "open" }));
            Probe::through(Net::with_name_servers(policy, &[names.address]))
        };
        let at = json!({ "host": "both.example", "port": server.port });
        let snmp = json!({ "snmp_version": "v2c", "community": "c", "oid": "1.3.6.1" });
        for (kind, config) in [
            (
                "ping",
                json!({ "host": "both.example", "count": 3, "interval_ms": 1 }),
            ),
            ("udp", with(at.clone(), json!({ "payload": "ping" }))),
            ("snmp", with(at, snmp)),
        ] {
            let seen = probe().seen(kind, config.clone()).await;
            assert_eq!(seen.status, Status::Up, "{kind}: {}", seen.message);
            let peer = seen.attributes["peer"].as_str().unwrap();
            assert!(peer.starts_with("127.0.0.1"), "{kind}: {peer}");
            // There is no other to give way to.
            let config = with(config, json!({ "ip_family": "6" }));
            let seen = probe().seen(kind, config).await;
            assert_eq!(
                (seen.status, reason(&seen)),
                (Status::Down, "network_unreachable"),
                "{kind}: {}",
                seen.message
            );
        }
        return;
    }
}

/// A network of which nobody is there but us, and room for all that waits for somebody.
const DESERTED: &str = "ip link add near type veth peer name far; ip link set near up; ip link set far up; \
                        ip -6 addr add 2001:db8::2/64 dev near nodad; \
                        echo 100000000 >/proc/sys/net/ipv6/neigh/near/unres_qlen_bytes";

#[tokio::test]
async fn datagrams_that_do_not_leave_are_held_to_the_deadline() {
    let test = "datagrams_that_do_not_leave_are_held_to_the_deadline";
    if !within(test, &[DESERTED], "") {
        return;
    }
    // Until somebody is there each waits, and the socket has no room for all.
    let config = json!({ "host": "2001:db8::1", "port": 9, "payload": "x".repeat(65_000), "tries": 10 });
    let probe = Probe::new().within(Duration::from_millis(900));
    let seen = probe.seen("udp", config).await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "response_timeout"));
    assert!(seen.message.contains("has not left"), "{}", seen.message);
}

#[tokio::test]
async fn unfit_configurations_name_their_fields() {
    for (more, field) in [
        (json!({ "packet_size": 65_508 }), "`packet_size`"),
        (json!({ "count": 0 }), "`count`"),
        (json!({ "down_loss_percent": 101 }), "`down_loss_percent`"),
        (json!({ "host": "0x7f.1" }), "0x7f.1"),
    ] {
        let config = with(json!({ "host": "127.0.0.1" }), more);
        let error = Probe::new().run("ping", config).await.unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(field)),
            "{error}"
        );
    }
}
