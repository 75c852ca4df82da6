//! What one probe saw of its target.

use crate::{Reason, TlsInfo};
use schemars::JsonSchema;
use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

/// What the target did. Lapwing's own trouble is [`Status::Unknown`], never [`Status::Down`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It answered as asked.
    Up,
    /// It answered as asked, with something to mend soon (an expiring certificate).
    Degraded,
    /// It did not answer as asked.
    Down,
    /// Nothing can be said of it; the reason tells why.
    Unknown,
}

impl Status {
    /// Every status, in order of severity.
    pub const ALL: [Self; 4] = [Self::Up, Self::Degraded, Self::Down, Self::Unknown];

    /// The word, as in JSON, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Time spent in one step of a probe, summed over redirects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Phase {
    /// `resolve`, `connect`, `tls`, `send`, `first_byte`, `receive`; a plugin may add its own.
    pub name: String,
    /// Monotonic time spent.
    #[serde(rename = "elapsed_ms", serialize_with = "as_ms")]
    #[schemars(with = "f64")]
    pub elapsed: Duration,
}

/// One number a probe measured.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Metric {
    /// What was measured.
    pub name: String,
    /// A finite number.
    pub value: f64,
    /// Its unit, such as `ms` or `bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What tells this number from others of the same name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What a probe saw: the verdict and all that supports it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Observation {
    /// The verdict.
    pub status: Status,
    /// Why; absent when up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same for people.
    pub message: String,
    /// How long the target took to answer; absent when it was never asked.
    #[serde(
        rename = "latency_ms",
        serialize_with = "as_optional_ms",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<f64>")]
    pub latency: Option<Duration>,
    /// Where that time went.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// Numbers seen on the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Facts seen on the way (`http.status`, `peer`, …).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, serde_json::Value>,
    /// The TLS session, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsInfo>,
    /// Anything else, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
    /// Nothing new: a worker acknowledges the task and sends no result (a `push` that came in time: whoever took it has
    /// stored it already).
    #[serde(skip)]
    pub untold: bool,
}

impl Observation {
    fn new(status: Status, reason: Option<Reason>, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
            latency: None,
            phases: Vec::new(),
            metrics: Vec::new(),
            attributes: BTreeMap::new(),
            tls: None,
            details: None,
            untold: false,
        }
    }

    /// The target answered as asked.
    pub fn up(message: impl Into<String>) -> Self {
        Self::new(Status::Up, None, message)
    }

    /// The target answered as asked, but `reason` wants mending soon.
    pub fn degraded(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Status::Degraded, Some(reason), message)
    }

    /// The target did not answer as asked.
    pub fn down(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Status::Down, Some(reason), message)
    }

    /// Nothing can be said of the target.
    pub fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Status::Unknown, Some(reason), message)
    }

    /// Of which nobody is told.
    pub fn untold(mut self) -> Self {
        self.untold = true;
        self
    }

    /// With the time the target took.
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }

    /// With a fact, as `name` and JSON value.
    pub fn with_attribute(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }
}

/// Milliseconds with microseconds behind the point: readable, and exact enough for any network.
#[expect(
    clippy::cast_precision_loss,
    reason = "a duration in microseconds fits 53 bits for 285 years"
)]
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn as_ms<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(milliseconds(*duration))
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn as_optional_ms<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(milliseconds).serialize(serializer)
}
