//! Kind `snmp`, against Net-SNMP's snmpd, and against agents that misbehave.

use crate::{
    support::{
        Probe, paused_from, reason,
        servers::{Folder, Running, free_port, program},
        with,
    },
    udp::Datagrams,
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{fmt::Write, time::Duration};

const DESCRIPTION: &str = "1.3.6.1.2.1.1.1.0";
const SERVICES: &str = "1.3.6.1.2.1.1.7.0";

/// The users of the test agent: name, proof, cipher; passwords are `<name>-auth` and `<name>-priv`.
const USERS: [(&str, &str, &str); 9] = [
    ("plainuser", "", ""),
    ("md5user", "MD5", ""),
    ("sha512user", "SHA512", ""),
    ("md5des", "MD5", "DES"),
    ("shaaes", "SHA", "AES"),
    ("sha224aes", "SHA224", "AES"),
    ("sha256aes192", "SHA256", "AES192"),
    ("sha384aes256", "SHA384", "AES256"),
    ("shaaes256", "SHA", "AES256"),
];

struct Agent {
    port: u16,
    running: Running,
}

async fn agent() -> Agent {
    let port = free_port().await;
    let folder = Folder::new();
    let mut conf = format!(
        "agentaddress udp:127.0.0.1:{port}\nrocommunity let-me-in\nsysDescr a test agent\nsysServices 72\n\
         sysObjectID 1.3.6.1.4.1.8072.9\n"
    );
    for (name, auth, privacy) in USERS {
        // Net-SNMP spells them with a dash.
        let (auth, privacy) = (
            auth.replace("SHA2", "SHA-2")
                .replace("SHA3", "SHA-3")
                .replace("SHA5", "SHA-5"),
            privacy.replace("AES1", "AES-1").replace("AES2", "AES-2"),
        );
        let (secrets, level) = match (auth.as_str(), privacy.as_str()) {
            ("", _) => (String::new(), "noauth"),
            (auth, "") => (format!("{auth} {name}-auth"), "auth"),
            (auth, privacy) => (format!("{auth} {name}-auth {privacy} {name}-priv"), "priv"),
        };
        let _ = write!(conf, "createUser {name} {secrets}\nrouser {name} {level}\n");
    }
    let conf = folder.write("snmpd.conf", conf);
    let state = folder.make("state");
    let mut command = program("snmpd");
    command.args(["-f", "-Lo", "-r", "-C", "-c"]).arg(conf);
    command.env("SNMP_PERSISTENT_DIR", state).env("MIBS", "");
    let ready = async || {
        let config = json!({ "host": "127.0.0.1", "port": port, "snmp_version": "v2c", "community": "let-me-in", "oid": SERVICES });
        let probe = Probe::new().within(Duration::from_millis(300));
        probe.seen("snmp", config).await.status == Status::Up
    };
    let running = folder.start(command, ready).await;
    Agent { port, running }
}

impl Agent {
    fn config(&self, more: Value) -> Value {
        let config = json!({ "host": "127.0.0.1", "port": self.port, "community": "let-me-in", "snmp_version": "v2c", "oid": DESCRIPTION });
        with(config, more)
    }

    async fn seen(&self, more: Value) -> Observation {
        Probe::new().seen("snmp", self.config(more)).await
    }

    /// As [`Self::seen`], within a time that is too short to be patient.
    async fn soon(&self, more: Value) -> Observation {
        let probe = Probe::new().within(Duration::from_millis(700));
        probe.seen("snmp", self.config(more)).await
    }
}

fn user(name: &str, auth: &str, privacy: &str) -> Value {
    let mut config = json!({ "snmp_version": "v3", "username": name });
    if !auth.is_empty() {
        config = with(
            config,
            json!({ "auth_protocol": auth, "auth_password": format!("{name}-auth") }),
        );
    }
    if !privacy.is_empty() {
        config = with(
            config,
            json!({ "priv_protocol": privacy, "priv_password": format!("{name}-priv") }),
        );
    }
    config
}

#[tokio::test]
async fn snmpd_answers_every_version_with_the_value_as_text() {
    let agent = agent().await;
    for version in ["v1", "v2c"] {
        for (oid, value) in [
            (DESCRIPTION, "a test agent"),
            (".1.3.6.1.2.1.1.7.0", "72"),
            ("1.3.6.1.2.1.1.2.0", ".1.3.6.1.4.1.8072.9"),
        ] {
            let seen = agent.seen(json!({ "snmp_version": version, "oid": oid })).await;
            assert_eq!(
                seen.message,
                format!("SNMP query successful, received value: {value}")
            );
            assert_eq!(seen.status, Status::Up);
            assert_eq!(
                seen.attributes["peer"],
                json!(format!("127.0.0.1:{}", agent.port))
            );
        }
    }
}

#[tokio::test]
async fn snmpd_lets_every_sort_of_user_in() {
    let agent = agent().await;
    for (name, auth, privacy) in USERS {
        let seen = agent.seen(user(name, auth, privacy)).await;
        assert_eq!(
            seen.message,
            "SNMP query successful, received value: a test agent",
            "{name}\n{}",
            agent.running.log()
        );
    }
}

#[tokio::test]
async fn a_user_who_is_not_let_in_is_told_why() {
    let agent = agent().await;
    for (more, says) in [
        (user("nobody-at-all", "", ""), "does not know the user"),
        (user("md5user", "", ""), "OID"),
        (
            with(
                user("md5user", "MD5", ""),
                json!({ "auth_password": "something-else" }),
            ),
            "password or protocol",
        ),
        (user("md5user", "SHA", ""), "password or protocol"),
        (user("md5user", "MD5", "AES"), "security level"),
    ] {
        let seen = agent.soon(more).await;
        assert_eq!(seen.status, Status::Down, "{}", seen.message);
        if says == "OID" {
            // Known, but without proof not allowed to see anything: the agent answers `authorizationError`.
            assert!(seen.message.contains("authorizationError"), "{}", seen.message);
        } else {
            assert_eq!(reason(&seen), "auth_failed", "{}", seen.message);
            assert!(seen.message.contains(says), "{}", seen.message);
        }
        assert!(!seen.message.contains("something-else"));
    }
}

#[tokio::test]
async fn a_password_that_cannot_decrypt_is_down() {
    let agent = agent().await;
    for (name, auth, privacy) in [("shaaes", "SHA", "AES"), ("md5des", "MD5", "DES")] {
        let wrong = with(
            user(name, auth, privacy),
            json!({ "priv_password": "something-else" }),
        );
        let seen = agent.soon(wrong).await;
        assert_eq!(seen.status, Status::Down, "{}", seen.message);
        assert!(
            ["auth_failed", "response_timeout"].contains(&reason(&seen)),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn an_object_that_is_not_there_is_down_in_every_version() {
    let agent = agent().await;
    for (more, what) in [
        (json!({ "oid": "1.3.6.1.2.1.1.99.0" }), "object"),
        (json!({ "oid": "1.3.6.1.2.1.1.1.7" }), "instance"),
        (
            json!({ "oid": "1.3.6.1.2.1.1.1.7", "snmp_version": "v1" }),
            "object",
        ),
        (
            with(
                user("shaaes", "SHA", "AES"),
                json!({ "oid": "1.3.6.1.2.1.1.1.7" }),
            ),
            "instance",
        ),
    ] {
        let oid = more["oid"].clone();
        let seen = agent.seen(more).await;
        assert_eq!((seen.status, reason(&seen)), (Status::Down, "assertion_failed"));
        assert_eq!(
            seen.message,
            format!(
                "The SNMP query returned that no {what} exists for OID {}",
                oid.as_str().unwrap()
            )
        );
    }
}

#[tokio::test]
async fn a_value_is_compared_only_with_both_fields_set() {
    let agent = agent().await;
    let compared = |path: &str, operator: &str, expected: &str| json!({ "oid": SERVICES, "json_path": path, "json_path_operator": operator, "expected_value": expected });
    for (more, status, message) in [
        (
            compared("", "eq", "1"),
            Status::Up,
            "SNMP query successful, received value: 72",
        ),
        (
            compared("$", "eq", ""),
            Status::Up,
            "SNMP query successful, received value: 72",
        ),
        (
            compared("$", "lt", "100"),
            Status::Up,
            "SNMP condition passes (comparing 72 lt 100)",
        ),
        (
            compared("$", "", "72"),
            Status::Up,
            "SNMP condition passes (comparing 72 eq 72)",
        ),
        (
            compared("$", "gt", "72"),
            Status::Down,
            "SNMP condition does not pass (comparing 72 gt 72)",
        ),
    ] {
        let seen = agent.seen(more).await;
        assert_eq!((seen.status, &*seen.message), (status, message));
    }
}

#[tokio::test]
async fn a_wrong_community_is_answered_with_silence_and_the_message_says_so() {
    let agent = agent().await;
    let seen = agent.soon(json!({ "community": "hunter2" })).await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "response_timeout"));
    assert!(seen.message.starts_with("SNMP GET failed: ") && seen.message.contains("wrong community"));
    assert!(!seen.message.contains("hunter2"));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_refused() {
    let port = free_port().await;
    let config = json!({ "host": "127.0.0.1", "port": port, "community": "c", "snmp_version": "v1", "oid": DESCRIPTION });
    let seen = Probe::new().seen("snmp", config).await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "connection_refused"));
}

#[tokio::test]
async fn unfit_configurations_name_their_fields() {
    for (more, field) in [
        (json!({ "oid": "sysDescr.0" }), "`oid`"),
        (json!({ "snmp_version": "v4" }), "`snmp_version`"),
        (json!({ "snmp_version": "v3" }), "`username`"),
        (
            json!({ "snmp_version": "v3", "username": "u", "auth_password": "short" }),
            "`auth_password`",
        ),
        (
            json!({ "snmp_version": "v3", "username": "u", "priv_password": "long-enough" }),
            "`auth_password`",
        ),
    ] {
        let config = with(
            json!({ "host": "127.0.0.1", "snmp_version": "v2c", "oid": DESCRIPTION }),
            more,
        );
        let error = Probe::new().run("snmp", config).await.unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(field)),
            "{error}"
        );
    }
}

/// The request id of a GET in a version 2c message with the community `c`, and the message made its answer by changing the
/// kind of its PDU: the value is null.
fn answer_to(request: &[u8]) -> Vec<u8> {
    let mut answer = request.to_vec();
    let at = answer.iter().position(|byte| *byte == 0xa0).unwrap();
    answer[at] = 0xa2;
    answer
}

#[tokio::test]
async fn answers_to_other_questions_and_garbage_are_passed_over() {
    let answered = Datagrams::serve(|request| {
        let right = answer_to(request);
        let mut other_id = right.clone();
        let at = other_id.iter().position(|byte| *byte == 0xa2).unwrap() + 4;
        other_id[at] ^= 0x01;
        let mut other_community = right.clone();
        let at = other_community.iter().position(|byte| *byte == b'c').unwrap();
        other_community[at] = b'd';
        vec![
            vec![0xff; 100],
            vec![],
            right[..9].to_vec(),
            request.to_vec(),
            other_id,
            other_community,
            right,
        ]
    })
    .await;
    let config = json!({ "host": "127.0.0.1", "port": answered.port, "community": "c", "snmp_version": "v2c", "oid": DESCRIPTION });
    let seen = Probe::new().seen("snmp", config).await;
    assert_eq!(seen.message, "SNMP query successful, received value: <nil>");
}

#[tokio::test]
async fn an_agent_that_only_says_nonsense_is_down_at_the_deadline() {
    let babbling =
        Datagrams::serve(|request| vec![request.to_vec(), vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff]]).await;
    for version in ["v2c", "v3"] {
        let config = json!({ "host": "127.0.0.1", "port": babbling.port, "community": "c", "snmp_version": version, "username": "u", "oid": DESCRIPTION });
        let probe = Probe::new().within(Duration::from_secs(30));
        let seen = paused_from(babbling.heard.notified(), probe.seen("snmp", config)).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "response_timeout"),
            "{version}"
        );
    }
}
