use super::*;
use crate::WorkerIdentity;
use proptest::{prelude::*, sample::select};

/// The payload of the golden message, made with the real Asynq 0.25.1 client.
const GOLDEN: &str = r#"{"monitor_id":"0b7c3f5e-6f0a-4c1e-9a55-0d5b2f3c7a11","monitor_name":"probe","monitor_type":"tcp","interval":20,"timeout":16,"max_retries":0,"retry_interval":20,"resend_interval":0,"config":"{\"host\":\"127.0.0.1\",\"port\":6379}","scheduled_at":"2026-04-11T08:15:20.123Z","is_under_maintenance":false,"check_cert_expiry":false}"#;

/// Observed of the Go worker (times and monitor shortened).
const INGEST: &str = r#"{"monitor_id":"0b7c3f5e-6f0a-4c1e-9a55-0d5b2f3c7a11","monitor_name":"probe","monitor_type":"tcp","monitor_interval":20,"monitor_timeout":16,"monitor_max_retries":0,"monitor_retry_interval":20,"monitor_resend_interval":0,"monitor_config":"{\"host\":\"127.0.0.1\",\"port\":6379}","status":1,"message":"200 - 200 OK","ping_ms":44,"start_time":"2026-11-22T06:23:16.988545925Z","end_time":"2026-11-22T06:23:17Z","is_under_maintenance":false,"tls_info":{"valid":false,"certInfo":{"subject":"CN=localhost,O=Probe Org,C=DE","issuer":"CN=localhost,O=Probe Org,C=DE","fingerprint":"9F:6D","fingerprint256":"E3:DF","serialNumber":"717815617087625602686674969676027878617207211479","validFrom":"2026-11-22T06:23:14Z","validTo":"2027-02-20T06:23:14Z","daysRemaining":89,"certType":"self-signed","validFor":["localhost","127.0.0.1"],"signatureAlgorithm":"SHA256-RSA","publicKeyAlgorithm":"RSA","keySize":2048,"version":3}},"check_cert_expiry":false}"#;

fn bytes(task: &Task, observation: Observation) -> Vec<u8> {
    let worker = WorkerIdentity {
        name: "w:1".into(),
        region: None,
    };
    let at = |text: &str| text.parse().unwrap();
    let result = CheckResult::new(
        task,
        &worker,
        at("2026-11-22T06:23:16.988545925Z"),
        at("2026-11-22T06:23:17Z"),
        observation,
    );
    encode_result(task, &result)
}

#[test]
fn the_golden_payload_survives_a_round_trip_byte_for_byte() {
    let task = parse_task(GOLDEN.as_bytes()).unwrap();
    assert_eq!(task.monitor.timeout, Duration::from_secs(16));
    assert_eq!(String::from_utf8(encode_task(&task)).unwrap(), GOLDEN);
}

#[test]
fn decoding_is_as_lenient_as_gos() {
    let task = parse_task(
        br#"{"Monitor_ID":"a","monitor_id":"b","extra":[1],"timeout":null,"config":"{}","proxy":{"HOST":"h","port":3128,"auth":true,"username":"u","password":"p"},"scheduled_at":"0001-01-01T00:00:00Z"}"#,
    )
    .unwrap();
    assert_eq!((task.monitor.id.as_str(), task.scheduled_at), ("b", None));
    let proxy = task.proxy.unwrap();
    assert_eq!(
        (proxy.host.as_str(), proxy.credentials()),
        ("h", Some(("u", "p")))
    );
    assert!(
        !format!("{proxy:?}").contains("\"p\""),
        "a password never shows in debug output"
    );
}

#[test]
fn an_unfit_proxy_port_is_the_checks_to_refuse_and_no_secret_is_told() {
    for port in ["70000", "-1"] {
        let task = parse_task(format!(r#"{{"proxy":{{"host":"h","port":{port}}}}}"#).as_bytes()).unwrap();
        assert_eq!(task.proxy.unwrap().port, 0, "no port");
    }
    let error = parse_task(br#"{"proxy":"socks5://u:hunter22@h"}"#)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`proxy`: invalid type: string, expected struct Proxy"),
        "{error}"
    );
}

#[test]
fn a_fraction_of_a_second_is_not_lost() {
    let mut task = parse_task(GOLDEN.as_bytes()).unwrap();
    task.monitor.timeout = Duration::from_millis(500);
    assert_eq!(
        parse_task(&encode_task(&task)).unwrap().monitor.timeout,
        Duration::from_secs(1)
    );
}

#[test]
fn what_is_no_task_is_named() {
    for (bytes, expected) in [
        (&b"hello"[..], "expected"),
        (br#"{"monitor_id":1}"#, "expected a string"),
        (br#"{"monitor_id":"a"} tail"#, "trailing"),
        (b"", "EOF"),
    ] {
        let error = parse_task(bytes).unwrap_err().to_string();
        assert!(
            error.starts_with("failed to unmarshal payload: ") && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn a_result_is_written_as_the_go_worker_writes_it() {
    let task = parse_task(GOLDEN.as_bytes()).unwrap();
    let mut observation = Observation::up("200 - 200 OK").with_latency(Duration::from_micros(44_900));
    observation.tls = Some(TlsInfo {
        protocol: "TLSv1.3".into(),
        cipher: String::new(),
        alpn: None,
        server_name: None,
        verified: false,
        verify_error: None,
        chain: vec![Certificate {
            subject: "CN=localhost,O=Probe Org,C=DE".into(),
            issuer: "CN=localhost,O=Probe Org,C=DE".into(),
            serial: "717815617087625602686674969676027878617207211479".into(),
            sha1: "9F:6D".into(),
            sha256: "E3:DF".into(),
            not_before: "2026-11-22T06:23:14Z".parse().unwrap(),
            not_after: "2027-02-20T06:23:14Z".parse().unwrap(),
            dns_names: vec!["localhost".into()],
            ip_addresses: vec!["127.0.0.1".into()],
            signature_algorithm: "SHA256-RSA".into(),
            public_key_algorithm: "RSA".into(),
            rsa_bits: Some(2048),
            version: 3,
        }],
    });
    let written = String::from_utf8(bytes(&task, observation)).unwrap();
    assert_eq!(written, INGEST, "field names, order and spelling are the wire's");
}

#[test]
fn every_status_has_its_number() {
    let task = parse_task(GOLDEN.as_bytes()).unwrap();
    for (observation, number) in [
        (Observation::up(""), 1),
        (Observation::degraded(Reason::CertificateExpiring, ""), 1),
        (Observation::down(Reason::ConnectionRefused, ""), 0),
        (Observation::unknown(Reason::InvalidConfig, ""), 0),
        (Observation::unknown(Reason::UnknownKind, ""), 0),
        (Observation::unknown(Reason::DeniedByPolicy, ""), 0),
        (Observation::unknown(Reason::PluginTrap, ""), 2),
        (Observation::unknown(Reason::PermissionDenied, ""), 2),
        (Observation::unknown(Reason::Internal, ""), 2),
        (Observation::unknown(Reason::Starting, ""), 2),
        (Observation::unknown(Reason::Maintenance, ""), 3),
    ] {
        let written: Value = serde_json::from_slice(&bytes(&task, observation.clone())).unwrap();
        assert_eq!(written["status"], number, "{observation:?}");
    }
}

/// A field as somebody may write it: mostly as Peekaping's producer does.
fn field() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        20 => select(CHECK_FIELDS).prop_map(str::to_owned),
        1 => select(CHECK_FIELDS).prop_map(str::to_uppercase),
        1 => "[a-z]{1,3}",
    ];
    let odd = select(vec![
        "null",
        "{}",
        "[]",
        "1.5",
        "-0",
        "1e2",
        "9223372036854775808",
        r#""\\ud800""#,
        r#""2026-04-11T08:15:20.5+02:00""#,
        r#"{"host":"h","HOST":"i","port":null}"#,
        r#"{"id":"x","Status":1}"#,
    ]);
    (
        name,
        any::<(String, i64, bool)>(),
        proptest::option::weighted(0.05, odd),
    )
        .prop_map(|(name, (text, number, flag), odd)| {
            let value = match (odd, name.as_str()) {
                (Some(odd), _) => odd.to_owned(),
                (None, "scheduled_at") => r#""2026-04-11T08:15:20.123Z""#.to_owned(),
                (None, "proxy" | "last_heartbeat") => "null".to_owned(),
                (None, "is_under_maintenance" | "check_cert_expiry") => flag.to_string(),
                (None, "monitor_id" | "monitor_name" | "monitor_type" | "config") => {
                    Value::from(text).to_string()
                }
                _ => number.to_string(),
            };
            format!("{}:{value}", Value::from(name))
        })
}

proptest! {
    #[test]
    fn what_is_read_as_written_is_read_leniently_with_the_same_outcome(
        fields in proptest::collection::vec(field(), 0..8),
        frame in select(vec![("{", "}"), ("{", "} "), (" {", "}"), ("{", "}x"), ("[", "]"), ("{", ",}")]),
    ) {
        let json = format!("{}{}{}", frame.0, fields.join(","), frame.1);
        if let Some(payload) = as_written(json.as_bytes()) {
            prop_assert_eq!(leniently(json.as_bytes()), Ok(payload), "{}", json);
        }
    }

    #[test]
    fn what_our_producer_writes_is_read_as_written(id in any::<String>(), config in any::<String>(), seconds in any::<u32>()) {
        let mut task = parse_task(GOLDEN.as_bytes()).unwrap();
        task.monitor.id = id;
        task.monitor.config = config;
        task.monitor.interval = Duration::from_secs(seconds.into());
        let written = encode_task(&task);
        let payload = as_written(&written);
        prop_assert!(payload.is_some());
        prop_assert_eq!(leniently(&written).ok(), payload);
        prop_assert_eq!(parse_task(&written), Ok(task));
    }
}
