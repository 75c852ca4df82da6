//! Monitors in the configuration file.

use super::{Faults, HumanDuration};
use lapwing_model::Monitor;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{collections::HashSet, time::Duration};

/// The least time between two runs of a monitor.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// One thing to watch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MonitorConfig {
    /// Stable and unique; default is the name, in lower case, with `-` for everything but letters and digits.
    pub(crate) id: Option<String>,
    /// For people; unique.
    pub(crate) name: String,
    /// Which check to run: `http`, `tcp`, a plugin's kind, …; `lapwing kinds` lists them.
    pub(crate) kind: String,
    /// Time between two runs, at least `1s`.
    #[serde(default = "default_interval")]
    pub(crate) interval: HumanDuration,
    /// Time one run may take; default four fifths of the interval, at most `16s`.
    pub(crate) timeout: Option<HumanDuration>,
    /// The check's own settings; the kind's schema says which.
    #[serde(default)]
    pub(crate) config: Map<String, Value>,
}

fn default_interval() -> HumanDuration {
    HumanDuration(Duration::from_secs(60))
}

/// Turns the file's monitors into the model's.
pub(crate) fn resolve(configured: Vec<MonitorConfig>, faults: &mut Faults) -> Vec<Monitor> {
    let mut ids = HashSet::new();
    let mut monitors = Vec::with_capacity(configured.len());
    for (index, monitor) in configured.into_iter().enumerate() {
        let field = |name: &str| format!("monitors[{index}].{name}");
        let interval = monitor.interval.0;
        if interval < LEAST_INTERVAL {
            faults.push(field("interval"), "is shorter than the least interval, `1s`");
        }
        let timeout = monitor.timeout.map_or_else(
            || (interval * 4 / 5).min(lapwing_model::task::DEFAULT_TIMEOUT),
            |t| t.0,
        );
        if timeout.is_zero() || timeout > interval {
            faults.push(field("timeout"), "is not more than zero and at most the interval");
        }
        let named = monitor.id.is_none();
        let id = monitor.id.unwrap_or_else(|| slug(&monitor.name));
        if id.is_empty() {
            faults.push(
                field(if named { "name" } else { "id" }),
                "is empty: expected a letter or digit",
            );
        } else if !ids.insert(id.clone()) {
            let message = format!("two monitors have the id `{id}`; give one of them another `id`");
            faults.push(field(if named { "name" } else { "id" }), message);
        }
        monitors.push(Monitor {
            id,
            name: monitor.name,
            kind: monitor.kind,
            interval,
            timeout,
            max_retries: 0,
            retry_interval: interval,
            resend_interval: 0,
            config: Value::Object(monitor.config).to_string(),
        });
    }
    monitors
}

fn slug(name: &str) -> String {
    let dashed: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() {
                c.to_lowercase().next().unwrap_or(c)
            } else {
                '-'
            }
        })
        .collect();
    dashed
        .split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}
