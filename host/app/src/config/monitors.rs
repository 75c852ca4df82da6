//! Monitors in the configuration file.

use super::{Faults, HumanDuration};
use lapwing_checks::{Registry, native};
use lapwing_model::{
    Monitor,
    task::{DEFAULT_TIMEOUT, LONGEST_TIMEOUT},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{collections::HashSet, time::Duration};

/// The least and the longest time between two runs of a monitor.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(31 * 24 * 3600);

/// One thing to watch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-lapwing-others" = "what its kind is to know goes into its `config`"))]
pub(crate) struct MonitorConfig {
    /// Stable and unique; default is the name, in lower case, with `-` for everything but letters and digits.
    pub(crate) id: Option<String>,
    /// For people.
    pub(crate) name: String,
    /// Which check to run: `http`, `tcp`, a plugin's kind, …; `lapwing kinds` lists them.
    pub(crate) kind: String,
    /// Time between two runs, `1s` to `744h`.
    #[serde(default = "default_interval")]
    pub(crate) interval: HumanDuration,
    /// Time one run may take; default four fifths of the interval, at most `16s`. At most the interval, and `1h`. Through
    /// Redis it is rounded up to whole seconds.
    pub(crate) timeout: Option<HumanDuration>,
    /// The check's own settings; the kind's schema says which.
    #[serde(default)]
    pub(crate) config: Map<String, Value>,
}

fn default_interval() -> HumanDuration {
    HumanDuration(Duration::from_secs(60))
}

/// A monitor and its index in the file.
#[derive(Debug, Clone)]
pub(crate) struct Numbered {
    /// Its index in the file, for messages.
    pub(crate) index: usize,
    /// The monitor.
    pub(crate) monitor: Monitor,
}

/// Turns the file's monitors into the model's. Settings of native kinds are held against their schema here; those of
/// plugins are when the plugins are loaded.
pub(crate) fn resolve(configured: Vec<(usize, MonitorConfig)>, faults: &mut Faults) -> Vec<Numbered> {
    let mut ids = HashSet::new();
    let mut native = Registry::default();
    // Native kinds do not clash among themselves; a test of lapwing-checks sees to it.
    let _ = native::register(&mut native);
    let mut monitors = Vec::with_capacity(configured.len());
    for (index, monitor) in configured {
        let field = |name: &str| format!("monitors[{index}].{name}");
        let interval = monitor.interval.0;
        if interval < LEAST_INTERVAL || interval > LONGEST_INTERVAL {
            faults.push(field("interval"), "is not between `1s` and `744h`");
        }
        let interval = interval.clamp(LEAST_INTERVAL, LONGEST_INTERVAL);
        let default_timeout = || (interval * 4 / 5).min(DEFAULT_TIMEOUT);
        let timeout = monitor.timeout.map_or_else(default_timeout, |timeout| timeout.0);
        let longest = interval.min(LONGEST_TIMEOUT);
        if timeout.is_zero() || timeout > longest {
            let (timeout, longest) = (HumanDuration(timeout), HumanDuration(longest));
            let which = if interval < LONGEST_TIMEOUT {
                "the interval"
            } else {
                "the longest there is"
            };
            let message =
                format!("is `{timeout}`: expected more than zero, and no more than `{longest}`, {which}");
            faults.push(field("timeout"), message);
        }
        let (name, id) = match monitor.id {
            Some(id) => ("id", id),
            None => ("name", slug(&monitor.name)),
        };
        if id.is_empty() {
            faults.push(field(name), "is empty: expected a letter or digit");
        } else if !ids.insert(id.clone()) {
            let message = format!("two monitors have the id `{id}`; give one of them another `id`");
            faults.push(field(name), message);
        }
        let config = Value::Object(monitor.config);
        if let Ok(executor) = native.executor(&monitor.kind) {
            faults.hold(executor.info(), &config, &field("config"));
        }
        let monitor = Monitor {
            id,
            name: monitor.name,
            kind: monitor.kind,
            interval,
            timeout,
            max_retries: 0,
            retry_interval: interval,
            resend_interval: 0,
            config: config.to_string(),
        };
        monitors.push(Numbered { index, monitor });
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
