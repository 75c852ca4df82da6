//! Kind `dns`, against Unbound serving a zone of its own, and against servers that misbehave.

use crate::support::{
    AMPLE, Probe,
    certificates::{Authority, Leaf},
    dns::{Answer, NameServer},
    reason,
    server::Server,
    servers::{Folder, Running, accepts, free_port, program},
    with,
};
use hickory_resolver::proto::op::ResponseCode;
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{fmt::Write, time::Duration};
use tokio::time::Instant;

const ZONE: &str = "\
$ORIGIN lapwing.test.
$TTL 300
@ SOA ns1 admin 7 3600 900 604800 60
@ NS ns1
@ NS ns2
@ MX 20 backup
@ MX 10 mail
@ TXT \"v=spf1 -all\"
@ CAA 0 issue \"ca.example\"
@ CAA 128 iodef \"mailto:x@lapwing.test\"
www A 192.0.2.1
www A 192.0.2.2
www AAAA 2001:db8::1
six AAAA 2001:db8::6
alias CNAME www
parts TXT \"two \" \"parts\"
_sip._tcp SRV 10 5 5060 sip
_sip._tcp SRV 10 50 5061 sip
_sip._tcp SRV 5 1 5062 sip
";

const REVERSE: &str = "\
$TTL 300
@ SOA ns1.lapwing.test. admin.lapwing.test. 7 3600 900 604800 60
@ NS ns1.lapwing.test.
7 PTR www.lapwing.test.
";

/// Unbound with a zone, by UDP, TCP, TLS and HTTPS.
struct Unbound {
    port: u16,
    tls: u16,
    https: u16,
    authority: Authority,
    running: Running,
}

async fn unbound() -> Unbound {
    let (folder, authority) = (Folder::new(), Authority::new());
    let identity = authority.issue(&Leaf::default());
    let (certificate, key) = (
        folder.write("cert.pem", identity.chain),
        folder.write("key.pem", identity.key),
    );
    let (port, tls, https) = (free_port().await, free_port().await, free_port().await);
    let mut zone = ZONE.to_owned();
    for number in 0..40 {
        let _ = writeln!(zone, "big TXT \"{number} {}\"", "x".repeat(100));
    }
    folder.write("zone", zone);
    folder.write("reverse", REVERSE);
    let mut config = format!(
        "server:\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  directory: \"{}\"\n  pidfile: \"\"\n  use-syslog: no\n  \
         logfile: \"\"\n  num-threads: 1\n  do-ip6: no\n  access-control: 127.0.0.0/8 allow\n  do-not-query-localhost: no\n  \
         local-zone: \"test.\" nodefault\n  local-zone: \"2.0.192.in-addr.arpa.\" nodefault\n  \
         tls-port: {tls}\n  https-port: {https}\n  tls-service-pem: \"{}\"\n  tls-service-key: \"{}\"\n",
        folder.path("").display(),
        certificate.display(),
        key.display()
    );
    for port in [port, tls, https] {
        let _ = writeln!(config, "  interface: 127.0.0.1@{port}");
    }
    for (name, file) in [("lapwing.test", "zone"), ("2.0.192.in-addr.arpa", "reverse")] {
        let _ = write!(
            config,
            "auth-zone:\n  name: \"{name}\"\n  zonefile: \"{file}\"\n  for-downstream: yes\n  for-upstream: no\n"
        );
    }
    // A zone that could not be had: what is asked of it fails at once. What is in no zone finds nobody, and no packet
    // leaves the machine.
    config += "auth-zone:\n  name: \"broken.test\"\n  primary: 127.0.0.1@9\n  for-downstream: yes\n  for-upstream: no\n\
               forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@9\nremote-control:\n  control-enable: no\n";
    let config = folder.write("unbound.conf", config);
    let mut command = program("unbound");
    command.arg("-d").arg("-c").arg(config);
    let ready = async || accepts(port).await && accepts(tls).await && accepts(https).await;
    let running = folder.start(command, ready).await;
    Unbound {
        port,
        tls,
        https,
        authority,
        running,
    }
}

impl Unbound {
    fn config(&self, host: &str, kind: &str, more: Value) -> Value {
        let config =
            json!({ "host": host, "resolver_server": "127.0.0.1", "port": self.port, "resolve_type": kind });
        with(config, more)
    }

    async fn seen(&self, host: &str, kind: &str, more: Value) -> Observation {
        Probe::new().seen("dns", self.config(host, kind, more)).await
    }
}

#[tokio::test]
async fn unbounds_records_are_told_in_peekapings_words() {
    let unbound = unbound().await;
    for (host, kind, message) in [
        ("www.lapwing.test", "a", "A records: 192.0.2.1, 192.0.2.2"),
        ("www.lapwing.test", "AAAA", "AAAA records: 2001:db8::1"),
        ("alias.lapwing.test", "A", "A records: 192.0.2.1, 192.0.2.2"),
        ("alias.lapwing.test", "CNAME", "CNAME: www.lapwing.test."),
        ("www.lapwing.test", "CNAME", "CNAME: www.lapwing.test."),
        ("six.lapwing.test", "CNAME", "CNAME: six.lapwing.test."),
        (
            "lapwing.test",
            "MX",
            "MX records: mail.lapwing.test. (priority: 10), backup.lapwing.test. (priority: 20)",
        ),
        (
            "lapwing.test",
            "NS",
            "NS records: ns1.lapwing.test., ns2.lapwing.test.",
        ),
        ("lapwing.test", "TXT", "TXT records: v=spf1 -all"),
        ("parts.lapwing.test", "TXT", "TXT records: two parts"),
        ("192.0.2.7", "PTR", "PTR records: www.lapwing.test."),
        (
            "_sip._tcp.lapwing.test",
            "SRV",
            "SRV records (cname: _sip._tcp.lapwing.test.): sip.lapwing.test.:5062 (priority: 5, weight: 1), \
             sip.lapwing.test.:5061 (priority: 10, weight: 50), sip.lapwing.test.:5060 (priority: 10, weight: 5)",
        ),
        (
            "lapwing.test",
            "CAA",
            "CAA records: 0 issue \"ca.example\"; 128 iodef \"mailto:x@lapwing.test\"",
        ),
        (
            "lapwing.test",
            "SOA",
            "SOA: Primary NS: ns1.lapwing.test., Admin: admin.lapwing.test., Serial: 7, Refresh: 3600, Retry: 900, \
             Expire: 604800, Min TTL: 60",
        ),
    ] {
        let seen = unbound.seen(host, kind, json!({})).await;
        assert_eq!(
            seen.status,
            Status::Up,
            "{kind} {host}: {}\n{}",
            seen.message,
            unbound.running.log()
        );
        // A server may turn equal records round.
        let sorted = |text: &str| {
            let mut words: Vec<String> = text.split([' ', ',', ';']).map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(sorted(&seen.message), sorted(message), "{}", seen.message);
        assert!(
            kind == "A" || kind == "a" || kind == "NS" || kind == "CAA" || seen.message == message,
            "{}",
            seen.message
        );
        assert_eq!(seen.attributes["dns.transport"], "udp");
        assert_eq!(
            seen.attributes["dns.resolver"],
            json!(format!("127.0.0.1:{}", unbound.port))
        );
    }
}

#[tokio::test]
async fn unbound_answers_by_every_transport() {
    let unbound = unbound().await;
    for (transport, port) in [
        ("tcp", unbound.port),
        ("tls", unbound.tls),
        ("https", unbound.https),
    ] {
        let more = json!({ "port": port, "transport": transport, "tls_ca": unbound.authority.pem() });
        let seen = unbound.seen("www.lapwing.test", "AAAA", more.clone()).await;
        assert_eq!(
            seen.message,
            "AAAA records: 2001:db8::1",
            "{transport}\n{}",
            unbound.running.log()
        );
        assert_eq!(seen.attributes["dns.transport"], transport);
        assert_eq!(
            seen.tls.is_some_and(|tls| tls.verified),
            transport != "tcp",
            "{transport}"
        );
        if transport != "tcp" {
            let stranger = with(more, json!({ "tls_ca": Authority::new().pem() }));
            let seen = unbound.seen("www.lapwing.test", "AAAA", stranger).await;
            assert_eq!(
                (seen.status, reason(&seen)),
                (Status::Down, "tls_certificate"),
                "{transport}"
            );
        }
    }
    let wrong_path = json!({ "port": unbound.https, "transport": "https", "https_path": "/else", "ignore_tls_errors": true });
    let seen = unbound.seen("www.lapwing.test", "A", wrong_path).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "dns_failed"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn an_answer_that_does_not_fit_a_datagram_comes_by_tcp() {
    let unbound = unbound().await;
    let seen = unbound
        .seen("big.lapwing.test", "TXT", json!({ "min_records": 40 }))
        .await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert_eq!(seen.attributes["dns.transport"], "tcp");
    assert_eq!(seen.attributes["dns.records"].as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn what_is_not_there_is_down_unless_it_is_asked_for() {
    let unbound = unbound().await;
    let empty = || json!({ "allow_empty": true });
    for (host, kind, more, expected, message) in [
        (
            "gone.lapwing.test",
            "A",
            json!({}),
            "dns_not_found",
            "no such host",
        ),
        (
            "gone.lapwing.test",
            "CNAME",
            json!({}),
            "dns_not_found",
            "no such host",
        ),
        (
            "six.lapwing.test",
            "A",
            json!({}),
            "dns_not_found",
            "No A records found for six.lapwing.test",
        ),
        (
            "parts.lapwing.test",
            "CNAME",
            json!({}),
            "dns_not_found",
            "No CNAME records found",
        ),
        (
            "six.lapwing.test",
            "A",
            empty(),
            "",
            "No A records found for six.lapwing.test",
        ),
        (
            "www.broken.test",
            "A",
            json!({}),
            "dns_failed",
            "the server answered SERVFAIL",
        ),
        (
            "gone.lapwing.test",
            "A",
            json!({ "expected_rcode": "NXDOMAIN" }),
            "",
            "NXDOMAIN as expected",
        ),
        (
            "www.lapwing.test",
            "A",
            json!({ "expected_rcode": "NXDOMAIN" }),
            "assertion_failed",
            "expected NXDOMAIN, got NOERROR",
        ),
    ] {
        let seen = unbound.seen(host, kind, more).await;
        assert_eq!(reason(&seen), expected, "{host} {kind}: {}", seen.message);
        assert_eq!(
            seen.status,
            if expected.is_empty() {
                Status::Up
            } else {
                Status::Down
            }
        );
        assert!(seen.message.contains(message), "{}", seen.message);
    }
}

#[tokio::test]
async fn conditions_on_records_are_judged_and_told() {
    let unbound = unbound().await;
    for (host, kind, more, expected, message) in [
        (
            "www.lapwing.test",
            "A",
            json!({ "records_contain": ["192.0.2.2"] }),
            "",
            "",
        ),
        (
            "www.lapwing.test",
            "A",
            json!({ "records_contain": ["192.0.2.3"] }),
            "assertion_failed",
            "`192.0.2.3` is not among",
        ),
        (
            "www.lapwing.test",
            "A",
            json!({ "records_equal": ["192.0.2.2", "192.0.2.1"] }),
            "",
            "",
        ),
        (
            "www.lapwing.test",
            "A",
            json!({ "records_equal": ["192.0.2.1"] }),
            "assertion_failed",
            "expected 192.0.2.1, found",
        ),
        (
            "lapwing.test",
            "MX",
            json!({ "records_contain": ["10 MAIL.lapwing.test"] }),
            "",
            "",
        ),
        (
            "lapwing.test",
            "TXT",
            json!({ "records_match": "^v=spf1 " }),
            "",
            "",
        ),
        (
            "lapwing.test",
            "TXT",
            json!({ "records_match": "^v=DKIM" }),
            "assertion_failed",
            "none matches",
        ),
        (
            "www.lapwing.test",
            "A",
            json!({ "min_records": 3 }),
            "assertion_failed",
            "expected at least 3, found 2",
        ),
    ] {
        let seen = unbound.seen(host, kind, more).await;
        assert_eq!(reason(&seen), expected, "{host} {kind}: {}", seen.message);
        assert_eq!(
            seen.status,
            if expected.is_empty() {
                Status::Up
            } else {
                Status::Down
            }
        );
        assert!(seen.message.contains(message), "{}", seen.message);
    }
}

#[tokio::test]
async fn the_first_of_several_servers_that_answers_is_the_one_that_is_told() {
    let unbound = unbound().await;
    let silent = NameServer::start(|_, _| Answer::Silence).await;
    let broken = NameServer::start(|_, _| Answer::Code(ResponseCode::ServFail)).await;
    let dead = free_port().await;
    let more = json!({
        "resolver_server": silent.address.to_string(),
        "more_resolvers": [broken.address.to_string(), format!("127.0.0.1:{dead}"), "127.0.0.1"],
    });
    let seen = unbound.seen("six.lapwing.test", "AAAA", more).await;
    assert_eq!(seen.message, "AAAA records: 2001:db8::6");
    assert_eq!(
        seen.attributes["dns.resolver"],
        json!(format!("127.0.0.1:{}", unbound.port))
    );

    let only_bad = json!({
        "host": "x.example", "resolver_server": broken.address.to_string(), "resolve_type": "A",
        "more_resolvers": [format!("127.0.0.1:{dead}")],
    });
    let seen = Probe::new().seen("dns", only_bad).await;
    assert_eq!(
        reason(&seen),
        "dns_failed",
        "what a server said goes before silence: {}",
        seen.message
    );
}

#[tokio::test]
async fn replies_to_other_questions_and_lost_ones_are_not_taken_for_the_answer() {
    let names = NameServer::start(|name, _| match name {
        "forged.example" => Answer::AfterForgery(vec!["127.0.0.7".parse().unwrap()]),
        "long.example" => Answer::Truncated(vec!["127.0.0.8".parse().unwrap()]),
        _ => Answer::Silence,
    })
    .await;
    let config = |host: &str| json!({ "host": host, "resolver_server": names.address.to_string(), "resolve_type": "A" });
    for (host, message) in [
        ("forged.example", "A records: 127.0.0.7"),
        ("long.example", "A records: 127.0.0.8"),
    ] {
        assert_eq!(Probe::new().seen("dns", config(host)).await.message, message);
    }
    let (start, budget) = (Instant::now(), Duration::from_millis(2500));
    let seen = Probe::new()
        .within(budget)
        .seen("dns", config("silent.example"))
        .await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "dns_timeout"),
        "{}",
        seen.message
    );
    assert!(start.elapsed() >= budget && start.elapsed() < AMPLE);
    let asked = names
        .asked()
        .iter()
        .filter(|asked| asked.starts_with("silent.example"))
        .count();
    assert_eq!(asked, 2, "a question that is not answered is asked again");
}

#[tokio::test]
async fn a_server_that_knows_no_edns_is_asked_without() {
    let names = NameServer::start(|name, _| match name {
        "old.example" => Answer::WithoutEdns(vec!["127.0.0.7".parse().unwrap()]),
        _ => Answer::Code(ResponseCode::FormErr),
    })
    .await;
    for transport in ["udp", "tcp"] {
        let ask = async |host: &str| {
            let config = json!({
                "host": host, "resolver_server": "127.0.0.1", "port": names.address.port(), "resolve_type": "A",
                "transport": transport,
            });
            Probe::new().seen("dns", config).await
        };
        let old = ask("old.example").await;
        assert_eq!(old.message, "A records: 127.0.0.7", "{transport}");
        let broken = ask("broken.example").await;
        assert_eq!((broken.status, reason(&broken)), (Status::Down, "dns_failed"));
        assert!(
            broken.message.ends_with("the server answered FORMERR"),
            "{}",
            broken.message
        );
    }
    assert_eq!(names.asked().len(), 8, "each twice: {:?}", names.asked());
}

#[tokio::test]
async fn a_server_of_another_protocol_is_down() {
    let talking = Server::raw(|mut stream| async move {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"\x00\x05hello, this is no DNS").await;
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 512]).await;
    })
    .await;
    for (transport, expected) in [
        ("tcp", "protocol_error"),
        ("tls", "tls_failed"),
        ("https", "tls_failed"),
    ] {
        let config = json!({
            "host": "x.example", "resolver_server": "127.0.0.1", "port": talking.port(), "resolve_type": "A",
            "transport": transport,
        });
        let seen = Probe::new().seen("dns", config).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, expected),
            "{transport}: {}",
            seen.message
        );
    }
    talking.drained().await;
    let config = json!({ "host": "x.example", "resolver_server": "127.0.0.1", "port": free_port().await, "resolve_type": "A" });
    let seen = Probe::new().seen("dns", config).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "connection_refused"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn unfit_questions_are_told_before_they_are_asked() {
    for (more, field) in [
        (json!({ "resolve_type": "Z" }), "unsupported record type: Z"),
        (json!({ "resolve_type": "PTR" }), "`host`"),
        (json!({ "host": "192.0.2.1" }), "`host`"),
        (json!({ "host": "a..b" }), "`host`"),
        (json!({ "expected_rcode": "OOPS" }), "`expected_rcode`"),
        (
            json!({ "more_resolvers": vec!["127.0.0.1"; 9] }),
            "`more_resolvers`",
        ),
    ] {
        let config = json!({ "host": "x.example", "resolver_server": "127.0.0.1", "resolve_type": "A" });
        let error = Probe::new().run("dns", with(config, more)).await.unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(field)),
            "{error}"
        );
    }
    let denied = Probe::under(json!({ "mode": "open", "deny": ["*.secret.example"] }));
    let config = json!({ "host": "x.secret.example", "resolver_server": "127.0.0.1", "resolve_type": "A" });
    let error = denied.run("dns", config).await.unwrap_err();
    assert!(matches!(&error, CheckError::Denied(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_drips_its_answer_is_held_to_the_deadline() {
    let server = Server::raw(|mut stream| async move {
        while tokio::io::AsyncWriteExt::write_all(&mut stream, b"\x01")
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let config = json!({
        "host": "x.example", "resolver_server": "127.0.0.1", "port": server.port(), "resolve_type": "A", "transport": "tcp",
    });
    let (start, budget) = (Instant::now(), Duration::from_millis(700));
    let seen = Probe::new().within(budget).seen("dns", config).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "dns_timeout"),
        "{}",
        seen.message
    );
    assert!(start.elapsed() >= budget);
    server.drained().await;
}
