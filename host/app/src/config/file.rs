//! The configuration file: TOML or YAML, told apart by its extension.
//!
//! The structs below are the reference: their doc comments become the schema, and the schema finds every fault of a
//! file at once before anything is read from it.

use super::{Faults, HumanDuration, Secret, monitors::MonitorConfig};
use lapwing_checks::net::EgressPolicy;
use lapwing_wasm::PluginSettings;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

/// A configuration file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FileConfig {
    /// The worker: how many checks at once, from which queues.
    pub(crate) worker: Worker,
    /// Redis.
    pub(crate) redis: RedisFile,
    /// The admin API.
    pub(crate) admin: Admin,
    /// Plugins.
    pub(crate) plugins: Plugins,
    /// What checks may reach.
    pub(crate) network: EgressPolicy,
    /// Logs.
    pub(crate) log: LogFile,
    /// What `lapwing run` watches.
    pub(crate) monitors: Vec<MonitorConfig>,
}

/// The worker.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Worker {
    /// How many checks run at once. `QUEUE_CONCURRENCY` wins.
    pub(crate) concurrency: NonZeroUsize,
    /// How long running checks may go on after a stop signal, before their tasks go back to the queue.
    pub(crate) grace: HumanDuration,
    /// After how long without a successful poll of the queue `GET /api/v1/health` says that the worker is dead.
    pub(crate) liveness: HumanDuration,
    /// Where this worker is, in your words; part of every result.
    pub(crate) region: Option<String>,
    /// The Asynq queues to take tasks from, by weight: the highest is always served first.
    pub(crate) queues: BTreeMap<String, NonZeroU32>,
}

impl Default for Worker {
    fn default() -> Self {
        let weights = [("critical", 6), ("healthcheck", 5), ("default", 3), ("low", 1)];
        Self {
            concurrency: NonZeroUsize::new(128).unwrap_or(NonZeroUsize::MIN),
            grace: HumanDuration(Duration::from_secs(8)),
            liveness: HumanDuration(Duration::from_secs(15)),
            region: None,
            queues: weights
                .into_iter()
                .filter_map(|(name, weight)| Some((name.to_owned(), NonZeroU32::new(weight)?)))
                .collect(),
        }
    }
}

/// Redis.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RedisFile {
    /// `redis://[user:password@]host[:port][/db]`. `REDIS_URL` and `REDIS_HOST` win.
    pub(crate) url: Option<Secret>,
}

/// The admin API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// Address and port. Anything but a loopback address needs a token.
    pub(crate) listen: SocketAddr,
    /// What clients send as `Authorization: Bearer …`. `LAPWING_ADMIN_TOKEN` wins.
    pub(crate) token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8085)),
            token: None,
        }
    }
}

/// Plugins.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Plugins {
    /// The folder whose `.wasm` files are loaded. Default `plugins`, if there is one.
    pub(crate) dir: Option<PathBuf>,
    /// How they are run, and what one run may use.
    #[serde(flatten)]
    pub(crate) settings: PluginSettings,
}

/// Logs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogFile {
    /// `debug`, `info`, `warn` or `error`. `LOG_LEVEL` wins.
    pub(crate) level: Option<String>,
    /// `text` or `json`. Default `json` with `MODE=prod`, else `text`.
    pub(crate) format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Reads `path`. What is wrong with it goes to `faults`; the answer is then not to be used.
pub(crate) fn read(path: &Path, faults: &mut Faults) -> FileConfig {
    let value = match parse(path) {
        Ok(value) => value,
        Err(message) => {
            faults.push("file", message);
            return FileConfig::default();
        }
    };
    let schema = schemars::schema_for!(FileConfig).to_value();
    if !faults.hold(&schema, &[], &value, "") {
        return FileConfig::default();
    }
    serde_path_to_error::deserialize(value).unwrap_or_else(|error| {
        faults.push(error.path().to_string(), error.inner().to_string());
        FileConfig::default()
    })
}

fn parse(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => toml::from_str(&text).map_err(|error| format!("is not TOML: {error}")),
        Some("yaml" | "yml") if text.trim().is_empty() => Ok(Value::Object(serde_json::Map::new())),
        Some("yaml" | "yml") => {
            serde_saphyr::from_str(&text).map_err(|error| format!("is not YAML: {error}"))
        }
        _ => Err("has no extension that tells its format: expected `.toml`, `.yaml` or `.yml`".to_owned()),
    }
}
