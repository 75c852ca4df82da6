//! [`Outcome`] as authors build it: a verdict first, then what supports it.

use crate::{
    Outcome, Status, Value,
    bindings::lapwing::plugin::types::{Attribute, Metric, TlsInfo},
};
use serde::Serialize;
use std::time::Duration;

impl Outcome {
    fn new(status: Status, reason: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.map(str::to_owned),
            message: message.into(),
            latency: None,
            phases: Vec::new(),
            metrics: Vec::new(),
            attributes: Vec::new(),
            tls: None,
            details: None,
        }
    }

    /// The target answered as asked.
    pub fn up(message: impl Into<String>) -> Self {
        Self::new(Status::Up, None, message)
    }

    /// The target answered as asked, but `reason` (`snake_case`) wants mending soon.
    pub fn degraded(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Status::Degraded, Some(reason), message)
    }

    /// The target did not do as asked. `reason` is a stable word (`snake_case`) for machines.
    pub fn down(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Status::Down, Some(reason), message)
    }

    /// Nothing can be said of the target.
    pub fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Status::Unknown, Some(reason), message)
    }

    /// With the time the target took to answer.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = u64::try_from(latency.as_nanos()).ok();
        self
    }

    /// With a fact, such as `smtp.banner`.
    #[must_use]
    pub fn with_attribute(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.attributes.push(Attribute {
            key: key.to_owned(),
            value: value.into(),
        });
        self
    }

    /// With a number measured, and its unit.
    #[must_use]
    pub fn with_metric(self, name: &str, value: f64, unit: Option<&str>) -> Self {
        self.with_labelled_metric(name, value, unit, &[])
    }

    /// The same, told from others of the name by its labels: names and values, such as `("queue", "mail")`.
    #[must_use]
    pub fn with_labelled_metric(
        mut self,
        name: &str,
        value: f64,
        unit: Option<&str>,
        labels: &[(&str, &str)],
    ) -> Self {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        self.metrics.push(Metric {
            name: name.to_owned(),
            value,
            unit: unit.map(str::to_owned),
            labels: labels.collect(),
        });
        self
    }

    /// With the TLS session the verdict rests on. Without one the host adds the last session of the run.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsInfo) -> Self {
        self.tls = Some(tls);
        self
    }

    /// With anything else, as JSON. Left out when `details` cannot be written as JSON.
    #[must_use]
    pub fn with_details(mut self, details: &impl Serialize) -> Self {
        self.details = serde_json::to_string(details).ok();
        self
    }
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $into:expr,)*) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        })*
    };
}

value_from! {
    &str => |text| Self::Text(text.to_owned()),
    String => |text| Self::Text(text),
    bool => |flag| Self::Boolean(flag),
    i64 => |number| Self::Int(number),
    i32 => |number| Self::Int(number.into()),
    u32 => |number| Self::Int(number.into()),
    u16 => |number| Self::Int(number.into()),
    f64 => |number| Self::Float(number),
}
