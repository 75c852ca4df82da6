//! The payloads of Peekaping 0.0.46: `monitor:healthcheck` in, `monitor:ingest` out.
//!
//! Field names, order and number types are those its Go worker writes; decoding is as lenient as Go's. The queue's
//! envelope around these bytes is `lapwing-queue`'s business.

use crate::{
    CheckResult, Heartbeat, Monitor, Observation, ParseError, Proxy, Reason, Status, Task, TlsInfo, gojson,
    tls::Certificate,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// The task type a producer enqueues.
pub const CHECK_TASK: &str = "monitor:healthcheck";
/// The task type a worker enqueues for each result.
pub const INGEST_TASK: &str = "monitor:ingest";

/// A `monitor:healthcheck` payload. The order of fields is the order on the wire.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct CheckPayload {
    monitor_id: String,
    monitor_name: String,
    monitor_type: String,
    interval: i64,
    timeout: i64,
    max_retries: i64,
    retry_interval: i64,
    resend_interval: i64,
    config: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Proxy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_heartbeat: Option<Heartbeat>,
    #[serde(serialize_with = "millisecond_time")]
    scheduled_at: Option<Timestamp>,
    is_under_maintenance: bool,
    check_cert_expiry: bool,
}

const CHECK_FIELDS: &[&str] = &[
    "monitor_id",
    "monitor_name",
    "monitor_type",
    "interval",
    "timeout",
    "max_retries",
    "retry_interval",
    "resend_interval",
    "config",
    "proxy",
    "last_heartbeat",
    "scheduled_at",
    "is_under_maintenance",
    "check_cert_expiry",
];
const PROXY_FIELDS: &[&str] = &["id", "protocol", "host", "port", "auth", "username", "password"];
const HEARTBEAT_FIELDS: &[&str] = &[
    "id",
    "monitor_id",
    "status",
    "msg",
    "ping",
    "duration",
    "down_count",
    "retries",
    "important",
    "time",
    "end_time",
    "notified",
];

/// Reads a `monitor:healthcheck` payload.
pub fn parse_task(payload: &[u8]) -> Result<Task, ParseError> {
    let fail = |error: serde_json::Error| ParseError(gojson::without_value(&error));
    let mut map = gojson::object(payload, CHECK_FIELDS).map_err(fail)?;
    for (key, fields) in [("proxy", PROXY_FIELDS), ("last_heartbeat", HEARTBEAT_FIELDS)] {
        if let Some(Value::Object(inner)) = map.get_mut(key) {
            *inner = gojson::fold(std::mem::take(inner), fields);
        }
    }
    let payload: CheckPayload = serde_path_to_error::deserialize(Value::Object(map)).map_err(|error| {
        ParseError(format!(
            "`{}`: {}",
            error.path(),
            gojson::without_value(error.inner())
        ))
    })?;
    Ok(Task {
        monitor: Monitor {
            id: payload.monitor_id,
            name: payload.monitor_name,
            kind: payload.monitor_type,
            interval: seconds(payload.interval),
            timeout: seconds(payload.timeout),
            max_retries: count(payload.max_retries),
            retry_interval: seconds(payload.retry_interval),
            resend_interval: count(payload.resend_interval),
            config: payload.config,
        },
        // Go's zero time is how its writers say "none".
        scheduled_at: payload.scheduled_at.filter(|at| at.as_second() > -62_135_596_800),
        attempt: 1,
        under_maintenance: payload.is_under_maintenance,
        check_cert_expiry: payload.check_cert_expiry,
        proxy: payload.proxy,
        last_heartbeat: payload.last_heartbeat,
    })
}

/// Writes a `monitor:healthcheck` payload, as Peekaping's producer would.
pub fn encode_task(task: &Task) -> Vec<u8> {
    let monitor = &task.monitor;
    encode(&CheckPayload {
        monitor_id: monitor.id.clone(),
        monitor_name: monitor.name.clone(),
        monitor_type: monitor.kind.clone(),
        interval: as_seconds(monitor.interval),
        timeout: as_seconds(monitor.timeout),
        max_retries: monitor.max_retries.into(),
        retry_interval: as_seconds(monitor.retry_interval),
        resend_interval: monitor.resend_interval.into(),
        config: monitor.config.clone(),
        proxy: task.proxy.clone(),
        last_heartbeat: task.last_heartbeat.clone(),
        scheduled_at: task.scheduled_at,
        is_under_maintenance: task.under_maintenance,
        check_cert_expiry: task.check_cert_expiry,
    })
}

/// A `monitor:ingest` payload. The order of fields is the order on the wire.
#[derive(Debug, Serialize)]
struct IngestPayload<'a> {
    monitor_id: &'a str,
    monitor_name: &'a str,
    monitor_type: &'a str,
    monitor_interval: i64,
    monitor_timeout: i64,
    monitor_max_retries: u32,
    monitor_retry_interval: i64,
    monitor_resend_interval: u32,
    monitor_config: &'a str,
    status: u8,
    message: &'a str,
    ping_ms: u64,
    start_time: Timestamp,
    end_time: Timestamp,
    is_under_maintenance: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_info: Option<WireTls<'a>>,
    check_cert_expiry: bool,
}

#[derive(Debug, Serialize)]
struct WireTls<'a> {
    valid: bool,
    #[serde(rename = "certInfo", skip_serializing_if = "Option::is_none")]
    leaf: Option<WireCertificate<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WireCertificate<'a> {
    subject: &'a str,
    issuer: &'a str,
    fingerprint: &'a str,
    fingerprint256: &'a str,
    serial_number: &'a str,
    valid_from: Timestamp,
    valid_to: Timestamp,
    days_remaining: i64,
    cert_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    valid_for: Vec<&'a str>,
    signature_algorithm: &'a str,
    public_key_algorithm: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_size: Option<u32>,
    version: u32,
}

/// Writes the `monitor:ingest` payload for the result of `task`.
///
/// `ping_ms` is the time the target took, in whole milliseconds, as Peekaping's worker counts it.
pub fn encode_result(task: &Task, result: &CheckResult) -> Vec<u8> {
    let observation = &result.observation;
    let maintenance = observation.reason == Some(Reason::Maintenance);
    encode(&IngestPayload {
        monitor_id: &task.monitor.id,
        monitor_name: &task.monitor.name,
        monitor_type: &task.monitor.kind,
        monitor_interval: as_seconds(task.monitor.interval),
        monitor_timeout: as_seconds(task.monitor.timeout),
        monitor_max_retries: task.monitor.max_retries,
        monitor_retry_interval: as_seconds(task.monitor.retry_interval),
        monitor_resend_interval: task.monitor.resend_interval,
        monitor_config: &task.monitor.config,
        status: wire_status(observation),
        message: &observation.message,
        ping_ms: observation.latency.map_or(0, |latency| {
            u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)
        }),
        start_time: result.started_at,
        end_time: result.ended_at,
        is_under_maintenance: maintenance,
        tls_info: observation.tls.as_ref().map(|tls| wire_tls(tls, result.ended_at)),
        check_cert_expiry: task.check_cert_expiry,
    })
}

/// Peekaping's number for a status: 0 down, 1 up, 2 pending, 3 maintenance.
///
/// Unknown is down where the user must mend the monitor, and pending where the trouble is Lapwing's own, so that
/// nobody is paged for it.
pub fn wire_status(observation: &Observation) -> u8 {
    match (observation.status, &observation.reason) {
        (Status::Up | Status::Degraded, _) => 1,
        (Status::Down, _)
        | (Status::Unknown, Some(Reason::InvalidConfig | Reason::UnknownKind | Reason::DeniedByPolicy)) => 0,
        (Status::Unknown, Some(Reason::Maintenance)) => 3,
        (Status::Unknown, _) => 2,
    }
}

fn wire_tls(tls: &TlsInfo, now: Timestamp) -> WireTls<'_> {
    WireTls {
        valid: tls.verified,
        leaf: tls.chain.first().map(|leaf| wire_certificate(leaf, now)),
    }
}

fn wire_certificate(leaf: &Certificate, now: Timestamp) -> WireCertificate<'_> {
    WireCertificate {
        subject: &leaf.subject,
        issuer: &leaf.issuer,
        fingerprint: &leaf.sha1,
        fingerprint256: &leaf.sha256,
        serial_number: &leaf.serial,
        valid_from: leaf.not_before,
        valid_to: leaf.not_after,
        days_remaining: leaf.not_after.duration_since(now).as_hours() / 24,
        cert_type: if leaf.subject == leaf.issuer {
            "self-signed"
        } else {
            "server"
        },
        valid_for: leaf
            .dns_names
            .iter()
            .chain(&leaf.ip_addresses)
            .map(String::as_str)
            .collect(),
        signature_algorithm: &leaf.signature_algorithm,
        public_key_algorithm: &leaf.public_key_algorithm,
        key_size: leaf.rsa_bits,
        version: leaf.version,
    }
}

/// Every payload here is made of strings, numbers and options: writing it cannot fail.
#[expect(
    clippy::expect_used,
    reason = "a plain struct of plain fields always serializes"
)]
fn encode(payload: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(payload).expect("a plain struct always serializes")
}

fn seconds(value: i64) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0))
}

/// Whole seconds, rounded up: half a second must not become none.
fn as_seconds(duration: Duration) -> i64 {
    let more = u64::from(duration.subsec_nanos() > 0);
    i64::try_from(duration.as_secs().saturating_add(more)).unwrap_or(i64::MAX)
}

fn count(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

/// Millisecond precision, trailing zeros trimmed, as the producer writes it.
#[expect(clippy::ref_option, reason = "serde's signature")]
fn millisecond_time<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    let at = at.and_then(|at| Timestamp::from_millisecond(at.as_millisecond()).ok());
    match at {
        Some(at) => at.serialize(serializer),
        None => serializer.serialize_str("0001-01-01T00:00:00Z"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkerIdentity;

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
}
