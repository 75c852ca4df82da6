//! The configuration file: TOML or YAML, told apart by its extension.
//!
//! The structs below are the reference: their doc comments become the schema, and the schema finds every fault of a
//! file at once before anything is read from it.

use super::{
    Faults, HumanDuration, Secret, monitors::MonitorConfig, queues::QueueEntry, redis::RedisFile,
    secrets::SecretEntry,
};
use lapwing_checks::{net::EgressPolicy, schema::Schema};
use lapwing_wasm::PluginSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, HashSet},
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
    /// The queues to take tasks from. Default: Peekaping's, by `worker.queues`.
    pub(crate) queues: Vec<QueueEntry>,
    /// Redis.
    pub(crate) redis: RedisFile,
    /// The admin API.
    pub(crate) admin: Admin,
    /// Plugins.
    pub(crate) plugins: Plugins,
    /// Secrets that plugins may be granted, by name.
    pub(crate) secrets: BTreeMap<String, SecretEntry>,
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
    /// How many checks run at once, at most 1000000. `QUEUE_CONCURRENCY` wins.
    #[schemars(range(max = 1_000_000))]
    pub(crate) concurrency: NonZeroUsize,
    /// How long running checks may go on after a stop signal, before their tasks go back to the queue.
    pub(crate) grace: HumanDuration,
    /// After how long without a successful poll of the queue `GET /api/v1/health` says that the worker is dead.
    pub(crate) liveness: HumanDuration,
    /// Where this worker is, in your words; part of every result.
    pub(crate) region: Option<String>,
    /// Peekaping's queues, by weight, where there are no `[[queues]]`. Default: `critical` 6, `healthcheck` 5, `default` 3,
    /// `low` 1.
    pub(crate) queues: Option<BTreeMap<String, NonZeroU32>>,
    /// Whether an `asynq` queue is served only while all of greater weight are empty; else by chance, as often as its
    /// weight says.
    pub(crate) strict_priority: bool,
    /// A command for `sh -c` that is run before the first task is taken; if it fails, none is.
    pub(crate) on_start: Option<String>,
    /// A command for `sh -c` that is run after the last task has ended.
    pub(crate) on_stop: Option<String>,
    /// How long each of these commands may take.
    pub(crate) hook_timeout: HumanDuration,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            concurrency: NonZeroUsize::new(128).unwrap_or(NonZeroUsize::MIN),
            grace: HumanDuration(Duration::from_secs(8)),
            liveness: HumanDuration(Duration::from_secs(15)),
            region: None,
            queues: None,
            strict_priority: true,
            on_start: None,
            on_stop: None,
            hook_timeout: HumanDuration(Duration::from_secs(60)),
        }
    }
}

/// The queues of Peekaping's worker, with their weights.
pub(crate) fn peekaping_queues() -> BTreeMap<String, NonZeroU32> {
    [("critical", 6), ("healthcheck", 5), ("default", 3), ("low", 1)]
        .into_iter()
        .filter_map(|(name, weight)| Some((name.to_owned(), NonZeroU32::new(weight)?)))
        .collect()
}

/// The admin API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// Address and port. Anything but a loopback address needs a token.
    pub(crate) listen: SocketAddr,
    /// What clients send as `Authorization: Bearer …`. `LAPWING_ADMIN_TOKEN` wins.
    pub(crate) token: Option<Secret>,
    /// Whether plugins can be uploaded with `POST /api/v1/plugins`. Default: no.
    pub(crate) upload: bool,
    /// What whoever uploads sends as `Authorization: Bearer …`; another than `token`. `LAPWING_ADMIN_UPLOAD_TOKEN` wins.
    pub(crate) upload_token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8085)),
            token: None,
            upload: false,
            upload_token: None,
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
    pub(crate) level: Option<LogLevel>,
    /// `text` or `json`. Default `json` with `MODE=prod`, else `text`.
    pub(crate) format: Option<LogFormat>,
}

/// How much to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// What could be read of a file: every section and every monitor without a fault of its own, so that what is wrong
/// with the others is found in the same round.
#[derive(Debug, Default)]
pub(crate) struct Readable {
    /// The sections; those with faults are at their defaults.
    pub(crate) config: FileConfig,
    /// The monitors, with their index in the file.
    pub(crate) monitors: Vec<(usize, MonitorConfig)>,
    /// Where the faults are: `admin`, `monitors[2]`, …
    broken: HashSet<String>,
}

impl Readable {
    /// Whether a section was read as it stands in the file.
    pub(crate) fn is_whole(&self, section: &str) -> bool {
        !self.broken.contains(section) && !self.broken.contains(WHOLE)
    }
}

/// JSON pointers to what is never shown.
pub(crate) const SENSITIVE: [&str; 6] = [
    "/admin/token",
    "/admin/upload_token",
    "/redis/url",
    "/redis/password",
    "/redis/sentinels/password",
    "/secrets",
];

/// The file itself, as the place of a fault.
const WHOLE: &str = "file";

/// Reads `path`. What is wrong with it goes to `faults`.
pub(crate) fn read(path: &Path, faults: &mut Faults) -> Readable {
    let mut broken = HashSet::new();
    let mut note = |faults: &mut Faults, field: String, message: String| {
        broken.insert(field.split('.').next().unwrap_or_default().to_owned());
        faults.push(field, message);
    };
    let mut sections = parse(path).unwrap_or_else(|message| {
        note(faults, WHOLE.to_owned(), message);
        Map::new()
    });
    let schema = schemars::schema_for!(FileConfig).to_value();
    let sensitive = SENSITIVE.map(str::to_owned);
    match Schema::new(&schema, &sensitive) {
        Ok(schema) => {
            for fault in schema.all_faults(&Value::Object(sections.clone()), "") {
                note(faults, fault.field, fault.message);
            }
        }
        Err(why) => note(faults, WHOLE.to_owned(), format!("cannot be checked: {why}")),
    }
    let entries = sections.remove("monitors");
    let is_broken = |section: &str| {
        let within = |root: &String| {
            root.strip_prefix(section)
                .is_some_and(|rest| rest.starts_with('['))
        };
        broken.contains(section) || broken.iter().any(within)
    };
    sections.retain(|section, _| !is_broken(section));
    let mut readable = Readable {
        broken,
        ..Readable::default()
    };
    // What fits the schema can be read, but for what no schema can say; that is named here.
    let mut unreadable = |root: &str, path: &serde_path_to_error::Path, error: &serde_json::Error| {
        let (field, mut message) = (format!("{root}{path}"), error.to_string());
        if field == "admin.listen" {
            message.push_str("; expected an address and port such as `127.0.0.1:8085`");
        }
        faults.push(field, message);
    };
    match serde_path_to_error::deserialize(Value::Object(sections)) {
        Ok(config) => readable.config = config,
        Err(error) => unreadable("", error.path(), error.inner()),
    }
    for (index, entry) in entries
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let root = format!("monitors[{index}]");
        if readable.is_whole(&root) && readable.is_whole("monitors") {
            match serde_path_to_error::deserialize(entry) {
                Ok(monitor) => readable.monitors.push((index, monitor)),
                Err(error) => unreadable(&format!("{root}."), error.path(), error.inner()),
            }
        }
    }
    readable
}

/// The file as JSON. Messages of syntax errors say where, not what: the line may hold a secret.
pub(crate) fn parse(path: &Path) -> Result<Map<String, Value>, String> {
    if path.to_string_lossy().starts_with(['{', '@']) {
        return Err(
            "is no settings file; a check's own configuration goes with `lapwing check KIND`".to_owned(),
        );
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let value = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => toml::from_str(&text).map_err(|error| {
            let before = error
                .span()
                .and_then(|span| text.get(..span.start))
                .unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            format!("is not TOML: line {line}: {}", error.message())
        }),
        Some("yaml" | "yml") => {
            serde_saphyr::from_str(&text).map_err(|error| format!("is not YAML: {}", error.without_snippet()))
        }
        _ => Err("has no extension that tells its format: expected `.toml`, `.yaml` or `.yml`".to_owned()),
    };
    match value? {
        Value::Object(map) => Ok(map),
        // An empty YAML file, or one of comments.
        Value::Null => Ok(Map::new()),
        _ => Err("holds no table of settings at its top".to_owned()),
    }
}
