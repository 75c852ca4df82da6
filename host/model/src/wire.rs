//! A task in Lapwing's own words: what Lapwing's streams carry, what arq jobs bring, what the tasks API takes.
//!
//! As JSON or as MessagePack, with the same field names. Only `kind` must be there:
//!
//! ```json
//! {"kind": "http", "config": {"url": "https://example.com"}, "timeout_ms": 5000}
//! ```

use crate::{Heartbeat, Monitor, ParseError, Proxy, Task};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// A task, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskMessage {
    /// Which executor runs it: `http`, `tcp`, a plugin's kind, …
    pub kind: String,
    /// The check's configuration.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
    /// The monitor's id: stable and opaque. Of two tasks with one id, only one is on a queue at a time. Default: one of
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The monitor's name, for people. Default: its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Time one run may take, in milliseconds, at most an hour. Default: 16 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Time between two due runs, in milliseconds; a task older than one and a half of it is dropped, since the next is
    /// due. Default: this one is due once, however old it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// When the run fell due. Default: when it was enqueued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub scheduled_at: Option<Timestamp>,
    /// 1 (the default) for the first try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Do not probe; say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub under_maintenance: bool,
    /// Echoed to whoever takes the results.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub check_cert_expiry: bool,
    /// Echoed to whoever takes the results.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_retries: u32,
    /// Echoed to whoever takes the results.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_interval_ms: u64,
    /// Echoed to whoever takes the results.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resend_interval: u32,
    /// For the kinds that can use one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub proxy: Option<Proxy>,
    /// The monitor's newest stored result (`push` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub last_heartbeat: Option<Heartbeat>,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl TaskMessage {
    /// Reads a task from JSON that is parsed already; the error names the field.
    pub fn from_value(value: Value) -> Result<Self, ParseError> {
        serde_path_to_error::deserialize(value).map_err(|error| located(error.path(), error.inner()))
    }

    /// Reads a task from JSON text; the error names the field.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ParseError> {
        if let Ok(message) = serde_json::from_slice(bytes) {
            return Ok(message);
        }
        // Once more, to name the field: keeping track of that takes its time.
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let message = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| located(error.path(), error.inner()))?;
        json.end().map_err(|error| ParseError(error.to_string()))?;
        Ok(message)
    }

    /// The task it means, where `enqueued_at` is when it was put on the queue and `id` names it there.
    pub fn into_task(self, id: &str, enqueued_at: Timestamp) -> Task {
        Task {
            nameless: self.id.is_none(),
            monitor: Monitor {
                id: self.id.unwrap_or_else(|| id.to_owned()),
                name: self.name.unwrap_or_else(|| self.kind.clone()),
                kind: self.kind,
                interval: Duration::from_millis(self.interval_ms.unwrap_or_default()),
                timeout: Duration::from_millis(self.timeout_ms.unwrap_or_default()),
                max_retries: self.max_retries,
                retry_interval: Duration::from_millis(self.retry_interval_ms),
                resend_interval: self.resend_interval,
                config: Value::Object(self.config).to_string(),
            },
            scheduled_at: Some(self.scheduled_at.unwrap_or(enqueued_at)),
            attempt: self.attempt.unwrap_or(1).max(1),
            under_maintenance: self.under_maintenance,
            check_cert_expiry: self.check_cert_expiry,
            proxy: self.proxy,
            last_heartbeat: self.last_heartbeat,
        }
    }

    /// How `task` is written; `Err` when its configuration is no JSON object.
    pub fn of(task: &Task) -> Result<Self, ParseError> {
        let monitor = &task.monitor;
        let config = serde_json::from_str(&monitor.config)
            .map_err(|error| ParseError(format!("`config` is no JSON object: {error}")))?;
        let span = |span: Duration| {
            let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            Some(span).filter(|span| *span > 0)
        };
        Ok(Self {
            kind: monitor.kind.clone(),
            config,
            id: Some(monitor.id.clone()),
            name: Some(monitor.name.clone()).filter(|name| *name != monitor.kind),
            timeout_ms: span(monitor.timeout),
            interval_ms: span(monitor.interval),
            scheduled_at: task.scheduled_at,
            attempt: Some(task.attempt).filter(|attempt| *attempt > 1),
            under_maintenance: task.under_maintenance,
            check_cert_expiry: task.check_cert_expiry,
            max_retries: monitor.max_retries,
            retry_interval_ms: span(monitor.retry_interval).unwrap_or_default(),
            resend_interval: monitor.resend_interval,
            proxy: task.proxy.clone(),
            last_heartbeat: task.last_heartbeat.clone(),
        })
    }
}

fn located(path: &serde_path_to_error::Path, error: &serde_json::Error) -> ParseError {
    match path.to_string().as_str() {
        "." => ParseError(error.to_string()),
        path => ParseError(format!("`{path}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-04-11T08:15:20Z".parse().unwrap()
    }

    #[test]
    fn a_kind_and_its_configuration_are_a_task() {
        let json = br#"{"kind":"tcp","config":{"host":"h","port":1},"timeout_ms":1500}"#;
        let task = TaskMessage::from_json(json).unwrap().into_task("7-0", now());
        assert_eq!(task.monitor.id, "7-0");
        assert_eq!(task.monitor.name, "tcp");
        assert_eq!(task.monitor.config, r#"{"host":"h","port":1}"#);
        assert_eq!(task.budget(), Duration::from_millis(1500));
        assert_eq!((task.scheduled_at, task.attempt), (Some(now()), 1));
    }

    #[test]
    fn a_task_comes_back_as_it_was_written() {
        let task = TaskMessage {
            kind: "http".into(),
            id: Some("m".into()),
            name: Some("My site".into()),
            interval_ms: Some(20_000),
            attempt: Some(3),
            max_retries: 2,
            retry_interval_ms: 500,
            under_maintenance: true,
            ..TaskMessage::default()
        }
        .into_task("x", now());
        let written = serde_json::to_vec(&TaskMessage::of(&task).unwrap()).unwrap();
        assert_eq!(
            TaskMessage::from_json(&written).unwrap().into_task("y", now()),
            task
        );
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        for (json, says) in [
            (r#"{"config":{}}"#, "missing field `kind`"),
            (
                r#"{"kind":"http","timeout_ms":"5"}"#,
                "`timeout_ms`: invalid type",
            ),
            (r#"{"kind":"http","url":"x"}"#, "unknown field `url`"),
            (r#"{"kind":"http"} x"#, "trailing characters"),
            (r#"{"kind":"http","config":[]}"#, "`config`: invalid type"),
            ("[", "EOF"),
        ] {
            let ParseError(why) = TaskMessage::from_json(json.as_bytes()).unwrap_err();
            assert!(why.contains(says), "{json}: {why}");
        }
    }
}
