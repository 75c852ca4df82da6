//! Kind `mqtt`, against Mosquitto.

use crate::support::{
    AMPLE, Probe,
    daemon::Daemon,
    reason,
    server::{Server, closed_port},
    servers::path,
    with,
};
use bytes::BytesMut;
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use rumqttc::mqttbytes::{
    QoS,
    v4::{Connect, Publish},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

struct Broker {
    daemon: Daemon,
    tls: u16,
}

/// With a user `monitor` that may read everything but `private/#`.
async fn mosquitto() -> Broker {
    let tls = closed_port().await;
    let mut daemon = Daemon::start(|folder, port| {
        folder.write("users", "");
        let passwd = path("mosquitto_passwd");
        folder.run(&passwd, &["-b", "users", "monitor", "hunter2x"]);
        folder.write(
            "acl",
            "user monitor\ntopic readwrite site/#\ntopic deny private/#\n",
        );
        let config = format!(
            "per_listener_settings false\npassword_file users\nacl_file acl\nallow_anonymous false\n\
             listener {port} 127.0.0.1\nlistener {tls} 127.0.0.1\ncertfile server.pem\nkeyfile server.key\n"
        );
        folder.write("mosquitto.conf", &config);
        (
            path("mosquitto"),
            ["-c", "mosquitto.conf"].map(str::to_owned).to_vec(),
        )
    })
    .await;
    daemon.listening(tls).await;
    Broker { daemon, tls }
}

impl Broker {
    /// A retained message.
    async fn retain(&self, topic: &str, payload: &str) {
        let mut buffer = BytesMut::new();
        let mut hello = Connect::new("publisher");
        hello.set_login("monitor", "hunter2x");
        hello.write(&mut buffer).unwrap();
        let mut message = Publish::new(topic, QoS::AtLeastOnce, payload.as_bytes());
        (message.retain, message.pkid) = (true, 1);
        message.write(&mut buffer).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", self.daemon.port)).await.unwrap();
        stream.write_all(&buffer).await.unwrap();
        // CONNACK and PUBACK, of four bytes each.
        stream.read_exact(&mut [0; 8]).await.unwrap();
    }

    async fn seen(&self, topic: &str, more: Value) -> Observation {
        self.seen_by(&Probe::new(), topic, more).await
    }

    async fn seen_by(&self, probe: &Probe, topic: &str, more: Value) -> Observation {
        let config = json!({
            "hostname": "127.0.0.1", "port": self.daemon.port, "topic": topic, "username": "monitor", "password": "hunter2x",
        });
        probe.seen("mqtt", with(config, more)).await
    }
}

#[tokio::test]
async fn a_message_is_looked_at_as_asked() {
    let broker = mosquitto().await;
    broker.retain("site/text", "all is well").await;
    broker
        .retain("site/json", r#"{"status":"ok","n":1000000,"l":[1,2]}"#)
        .await;
    let keyword = |word: &str| json!({ "check_type": "keyword", "success_keyword": word });
    let json_query = |path: &str, value: &str| json!({ "check_type": "json-query", "json_path": path, "expected_value": value });
    for (topic, more, status, text) in [
        (
            "site/text",
            json!({}),
            Status::Up,
            "Topic: site/text; Message received",
        ),
        (
            "site/text",
            json!({ "check_type": "none" }),
            Status::Up,
            "Topic: site/text; Message received",
        ),
        ("site/+", json!({}), Status::Up, "Topic: site/+; Message received"),
        (
            "site/text",
            keyword("well"),
            Status::Up,
            "Topic: site/text; Message: all is well",
        ),
        (
            "site/text",
            keyword("WELL"),
            Status::Down,
            "Message Mismatch - Topic: site/text; Message: all is well",
        ),
        (
            "site/json",
            json_query("status", "ok"),
            Status::Up,
            "Message received, expected value is found",
        ),
        (
            "site/json",
            json_query("n", "1e+06"),
            Status::Up,
            "Message received, expected value is found",
        ),
        (
            "site/json",
            json_query("$sum(l)", "4"),
            Status::Down,
            "Message received but value is not equal to expected value, value was: [3]",
        ),
        (
            "site/json",
            json_query("l", "x"),
            Status::Down,
            "Message received but value is not equal to expected value, value was: [[1 2]]",
        ),
    ] {
        let seen = broker.seen(topic, more.clone()).await;
        assert_eq!((seen.status, seen.message.as_str()), (status, text), "{more}");
    }
    let seen = broker.seen("site/text", json_query("a", "x")).await;
    assert!(
        seen.message.starts_with("Failed to parse JSON message: "),
        "{}",
        seen.message
    );
    let seen = broker.seen("site/json", json_query("$nope(1)", "x")).await;
    assert!(
        seen.message.starts_with("JSONata evaluation failed: "),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_message_that_comes_later_is_waited_for_and_silence_ends_before_the_deadline() {
    let broker = mosquitto().await;
    let probe = Probe::new();
    let later = async {
        tokio::task::yield_now().await;
        // Again and again: when the subscription stands is not known here, and none of these is retained for it.
        loop {
            broker.retain("site/late", "here").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let seen = tokio::select! {
        seen = broker.seen_by(&probe, "site/late", json!({})) => seen,
        () = later => unreachable!(),
    };
    assert_eq!(seen.status, Status::Up, "{}", seen.message);

    let short = Probe::new().within(Duration::from_secs(2));
    let start = tokio::time::Instant::now();
    let seen = broker.seen_by(&short, "site/never", json!({})).await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "response_timeout"));
    assert_eq!(
        seen.message,
        "MQTT connection failed: timeout, message not received within 2s"
    );
    assert!(start.elapsed() >= Duration::from_millis(1600) && start.elapsed() < AMPLE);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so_and_tls_is_verified() {
    let broker = mosquitto().await;
    broker.retain("site/text", "x").await;
    for (more, word, part) in [
        (
            json!({ "password": "wrongpass" }),
            "auth_failed",
            "MQTT connection failed: MQTT connection failed: not authorized",
        ),
        (
            json!({ "username": "", "password": "" }),
            "auth_failed",
            "not authorized",
        ),
        (
            json!({ "hostname": "mqtts://127.0.0.1", "port": broker.tls }),
            "tls_certificate",
            "certificate not accepted",
        ),
        (
            json!({ "hostname": "mqtt://127.0.0.1", "port": closed_port().await }),
            "connection_refused",
            "connection refused",
        ),
    ] {
        let seen = broker.seen("site/text", more.clone()).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, word),
            "{more}: {}",
            seen.message
        );
        assert!(
            seen.message.contains(part) && !seen.message.contains("wrongpass"),
            "{}",
            seen.message
        );
    }
    // Mosquitto hangs up on a ClientHello, one way or another.
    let seen = broker
        .seen("site/text", json!({ "hostname": "mqtts://127.0.0.1" }))
        .await;
    assert!(
        ["connection_closed", "connection_reset"].contains(&reason(&seen)),
        "{}",
        seen.message
    );
    for more in [
        json!({ "tls_ca": broker.daemon.authority.pem() }),
        json!({ "ignore_tls_errors": true }),
    ] {
        let over = with(
            json!({ "hostname": "mqtts://127.0.0.1", "port": broker.tls }),
            more,
        );
        let seen = broker.seen("site/text", over).await;
        assert_eq!(seen.status, Status::Up, "{}", seen.message);
        assert!(seen.tls.is_some());
    }
}

#[tokio::test]
async fn an_empty_message_and_a_topic_refused_are_down() {
    // A stand-in: Mosquitto keeps no empty message, and says of a topic that may not be read only that it is silent.
    let server = Server::raw(|mut stream| async move {
        let mut heard = vec![0; 512];
        let _ = stream.read(&mut heard).await;
        let _ = stream.write_all(&[0x20, 2, 0, 0]).await;
        let length = stream.read(&mut heard).await.unwrap_or_default();
        let refused = heard[..length].windows(7).any(|window| window == b"refused");
        let answer: &[u8] = if refused {
            &[0x90, 3, 0, 1, 0x80]
        } else {
            &[0x90, 3, 0, 1, 0, 0x30, 3, 0, 1, b't']
        };
        let _ = stream.write_all(answer).await;
    })
    .await;
    let config = json!({ "hostname": "127.0.0.1", "port": server.port(), "topic": "t" });
    let seen = Probe::new().seen("mqtt", config.clone()).await;
    assert_eq!(
        (reason(&seen), seen.message.as_str()),
        ("assertion_failed", "Topic: t; No message received")
    );
    let seen = Probe::new()
        .seen("mqtt", with(config, json!({ "topic": "refused" })))
        .await;
    assert_eq!(reason(&seen), "auth_failed");
    assert!(
        seen.message
            .starts_with("MQTT connection failed: MQTT subscription failed: "),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_retained_message_that_is_too_long_is_told_as_such() {
    let broker = mosquitto().await;
    broker.retain("site/long", &"x".repeat(1 << 20)).await;
    let seen = broker.seen("site/long", json!({})).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "body_too_large"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_thousand_checks_leave_no_connection_behind() {
    let server = Server::raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 512]).await;
        let _ = stream.write_all(&[0x20, 2, 0, 0]).await;
        let _ = stream.read(&mut [0; 512]).await;
        let _ = stream
            .write_all(&[0x90, 3, 0, 1, 0, 0x30, 4, 0, 1, b't', b'1'])
            .await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert_eq!(rest, [0xE0, 0], "says goodbye");
    })
    .await;
    let probe = Probe::new();
    let query = json!({ "check_type": "json-query", "json_path": "$", "expected_value": "1" });
    let config = with(
        json!({ "hostname": "127.0.0.1", "port": server.port(), "topic": "t" }),
        query,
    );
    for _ in 0..1000 {
        let seen = probe.seen("mqtt", config.clone()).await;
        assert_eq!(seen.status, Status::Up, "{}", seen.message);
    }
    assert_eq!(server.accepted(), 1000);
    server.drained().await;
}

#[tokio::test]
async fn what_can_never_be_met_is_an_invalid_config() {
    for (more, part) in [
        (
            json!({ "check_type": "keyword", "success_keyword": " " }),
            "Success keyword is empty or invalid",
        ),
        (
            json!({ "check_type": "json-query", "expected_value": "x" }),
            "JSON path is empty or invalid",
        ),
        (
            json!({ "check_type": "json-query", "json_path": "a" }),
            "Expected value is empty or invalid",
        ),
        (
            json!({ "check_type": "json-query", "json_path": "a[", "expected_value": "x" }),
            "Invalid JSONata expression: ",
        ),
        (json!({ "check_type": "other" }), "`check_type`"),
        (json!({ "port": 0 }), "`port`"),
        (json!({ "tls_cert": "x", "hostname": "mqtts://h" }), "`tls_cert`"),
    ] {
        let config = with(json!({ "hostname": "h", "port": 1883, "topic": "t" }), more);
        let error = Probe::new().run("mqtt", config).await.unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(part)),
            "{error}"
        );
    }
}
