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
use std::{borrow::Cow, time::Duration};

/// The task type a producer enqueues.
pub const CHECK_TASK: &str = "monitor:healthcheck";
/// The task type a worker enqueues for each result.
pub const INGEST_TASK: &str = "monitor:ingest";

/// A `monitor:healthcheck` payload. The order of fields is the order on the wire.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CheckPayload<'a> {
    monitor_id: Cow<'a, str>,
    monitor_name: Cow<'a, str>,
    monitor_type: Cow<'a, str>,
    interval: i64,
    timeout: i64,
    max_retries: i64,
    retry_interval: i64,
    resend_interval: i64,
    config: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Cow<'a, Proxy>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_heartbeat: Option<Cow<'a, Heartbeat>>,
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

/// Reads a payload as Peekaping's producer writes it: fields spelled exactly and each at most once, nothing else. Four
/// times as fast as [`leniently`], with which it agrees; nothing for all other payloads.
fn as_written(payload: &[u8]) -> Option<CheckPayload<'static>> {
    // An array would be taken for the fields in their order.
    let object = payload.first() == Some(&b'{');
    let payload: CheckPayload = object.then(|| serde_json::from_slice(payload).ok())??;
    // Of what these hold, any spelling is taken.
    (payload.proxy.is_none() && payload.last_heartbeat.is_none()).then_some(payload)
}

/// Reads a payload as Go would.
fn leniently(payload: &[u8]) -> Result<CheckPayload<'static>, ParseError> {
    let fail = |error: serde_json::Error| ParseError(gojson::without_value(&error));
    let mut map = gojson::object(payload, CHECK_FIELDS).map_err(fail)?;
    map.retain(|key, _| CHECK_FIELDS.contains(&key.as_str()));
    for (key, fields) in [("proxy", PROXY_FIELDS), ("last_heartbeat", HEARTBEAT_FIELDS)] {
        if let Some(Value::Object(inner)) = map.get_mut(key) {
            *inner = gojson::fold(std::mem::take(inner), fields);
        }
    }
    serde_path_to_error::deserialize(Value::Object(map)).map_err(|error| {
        ParseError(format!(
            "`{}`: {}",
            error.path(),
            gojson::without_value(error.inner())
        ))
    })
}

/// Reads a `monitor:healthcheck` payload.
pub fn parse_task(payload: &[u8]) -> Result<Task, ParseError> {
    let payload = match as_written(payload) {
        Some(payload) => payload,
        None => leniently(payload)?,
    };
    Ok(Task {
        monitor: Monitor {
            id: payload.monitor_id.into_owned(),
            name: payload.monitor_name.into_owned(),
            kind: payload.monitor_type.into_owned(),
            interval: seconds(payload.interval),
            timeout: seconds(payload.timeout),
            max_retries: count(payload.max_retries),
            retry_interval: seconds(payload.retry_interval),
            resend_interval: count(payload.resend_interval),
            config: payload.config.into_owned(),
        },
        // Go's zero time is how its writers say "none".
        scheduled_at: payload.scheduled_at.filter(|at| at.as_second() > -62_135_596_800),
        attempt: 1,
        under_maintenance: payload.is_under_maintenance,
        check_cert_expiry: payload.check_cert_expiry,
        proxy: payload.proxy.map(Cow::into_owned),
        last_heartbeat: payload.last_heartbeat.map(Cow::into_owned),
        nameless: false,
    })
}

/// Writes a `monitor:healthcheck` payload, as Peekaping's producer would.
pub fn encode_task(task: &Task) -> Vec<u8> {
    let monitor = &task.monitor;
    encode(&CheckPayload {
        monitor_id: Cow::Borrowed(&monitor.id),
        monitor_name: Cow::Borrowed(&monitor.name),
        monitor_type: Cow::Borrowed(&monitor.kind),
        interval: as_seconds(monitor.interval),
        timeout: as_seconds(monitor.timeout),
        max_retries: monitor.max_retries.into(),
        retry_interval: as_seconds(monitor.retry_interval),
        resend_interval: monitor.resend_interval.into(),
        config: Cow::Borrowed(&monitor.config),
        proxy: task.proxy.as_ref().map(Cow::Borrowed),
        last_heartbeat: task.last_heartbeat.as_ref().map(Cow::Borrowed),
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

/// Most payloads are no longer than this, in bytes.
const LIKELY: usize = 1024;

/// Every payload here is made of strings, numbers and options: writing it cannot fail.
#[expect(
    clippy::expect_used,
    reason = "a plain struct of plain fields always serializes"
)]
fn encode(payload: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LIKELY);
    serde_json::to_writer(&mut bytes, payload).expect("a plain struct always serializes");
    bytes
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
mod tests;
