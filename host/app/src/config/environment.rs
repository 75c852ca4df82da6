//! Settings from the environment: Lapwing's own names and those of Peekaping's worker.
//!
//! Peekaping's rules hold for its names: an empty variable counts as unset, and a number that is none is warned of and
//! passed over.

use super::{
    Faults, Secret,
    file::{LogFile, LogFormat, LogLevel},
    redis::Told,
};
use std::{
    collections::HashMap,
    ffi::OsString,
    net::SocketAddr,
    num::NonZeroU32,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};
use tracing::Level;

/// The longest time a result can be kept by `WORKER_KEEP_RESULT_SECONDS`: a year.
const LONGEST_KEPT_S: u64 = 366 * 24 * 3600;

/// Redis' own port.
const DEFAULT_PORT: u16 = 6379;
/// More connections than these make nothing faster: they are shared.
const MOST_CONNECTIONS: u64 = 64;

/// The variables as they were when the process started.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    variables: HashMap<String, OsString>,
}

/// How to log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// The least severe level shown.
    pub(crate) level: Level,
    /// Text or JSON.
    pub(crate) format: LogFormat,
    /// `SERVICE_NAME`: logged once, at the start, as `svc`.
    pub(crate) service: Option<String>,
    /// Whether to say what becomes of each file of the plugin folder.
    pub(crate) folder: bool,
}

impl Environment {
    /// The process's environment.
    pub(crate) fn of_process() -> Self {
        let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self {
            variables: named.collect(),
        }
    }

    /// A variable's text; empty counts as unset, and what is not UTF-8 is a fault.
    fn get(&self, name: &str, faults: &mut Faults) -> Option<&str> {
        let Some(text) = self.variables.get(name)?.to_str() else {
            faults.push(name, "is not UTF-8");
            return None;
        };
        Some(text.trim()).filter(|text| !text.is_empty())
    }

    /// Whether a variable says something.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name, &mut Faults::default()).is_some()
    }

    /// An integer of Peekaping's: what is none is warned of and passed over, what is out of range is a fault.
    fn integer(&self, name: &str, range: RangeInclusive<u64>, faults: &mut Faults) -> Option<u64> {
        let text = self.get(name, faults)?;
        let Ok(value) = text.parse::<u64>() else {
            faults.warn(format!("{name}=`{text}` is not a number; using the default"));
            return None;
        };
        if !range.contains(&value) {
            faults.push(
                name,
                format!("`{value}` is not between {} and {}", range.start(), range.end()),
            );
            return None;
        }
        Some(value)
    }

    /// A path, where an empty variable counts as unset.
    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables
            .get(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    /// `LAPWING_CONFIG`.
    pub(crate) fn config_file(&self) -> Option<PathBuf> {
        self.path("LAPWING_CONFIG")
    }

    /// `LAPWING_TOOLS`, or `lapwing/tools` in the user's cache.
    pub(crate) fn tools(&self) -> Option<PathBuf> {
        let cache = || {
            let home = || Some(self.path("HOME")?.join(".cache"));
            Some(self.path("XDG_CACHE_HOME").or_else(home)?.join("lapwing/tools"))
        };
        self.path("LAPWING_TOOLS").or_else(cache)
    }

    /// `LAPWING_PLUGINS`.
    pub(crate) fn plugins(&self) -> Option<PathBuf> {
        self.path("LAPWING_PLUGINS")
    }

    /// Our folder in the user's cache folder (XDG Base Directory Specification); `None` where there is no user's folder.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        self.home("XDG_CACHE_HOME", ".cache")
    }

    /// Our folder in the user's state folder, by the same specification.
    pub(crate) fn state(&self) -> Option<PathBuf> {
        self.home("XDG_STATE_HOME", ".local/state")
    }

    /// Relative paths are to be passed over, says the specification.
    fn home(&self, variable: &str, within: &str) -> Option<PathBuf> {
        let named = self
            .path(variable)
            .or_else(|| Some(self.path("HOME")?.join(within)))?;
        named.is_absolute().then(|| named.join("lapwing"))
    }

    /// `LAPWING_ADMIN_LISTEN`.
    pub(crate) fn listen(&self, faults: &mut Faults) -> Option<SocketAddr> {
        let text = self.get("LAPWING_ADMIN_LISTEN", faults)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            faults.push(
                "LAPWING_ADMIN_LISTEN",
                format!("`{text}` is not an address and port such as `127.0.0.1:8085`"),
            );
        }
        parsed
    }

    /// `QUEUE_CONCURRENCY`; 0 counts as unset.
    pub(crate) fn concurrency(&self, faults: &mut Faults) -> Option<usize> {
        let value = self.integer("QUEUE_CONCURRENCY", 0..=1_000_000, faults)?;
        usize::try_from(value).ok().filter(|value| *value > 0)
    }

    /// `WORKER_KEEP_RESULT_SECONDS`.
    pub(crate) fn keep_result(&self, faults: &mut Faults) -> Option<Duration> {
        self.integer("WORKER_KEEP_RESULT_SECONDS", 0..=LONGEST_KEPT_S, faults)
            .map(Duration::from_secs)
    }

    /// `WORKER_MAX_TRIES`; 0 counts as unset.
    pub(crate) fn max_tries(&self, faults: &mut Faults) -> Option<NonZeroU32> {
        let value = self.integer("WORKER_MAX_TRIES", 0..=1000, faults)?;
        u32::try_from(value).ok().and_then(NonZeroU32::new)
    }

    /// A secret that the configuration names.
    pub(crate) fn secret(&self, name: &str, faults: &mut Faults) -> Option<String> {
        self.get(name, faults).map(str::to_owned)
    }

    /// `LAPWING_ADMIN_TOKEN`.
    pub(crate) fn admin_token(&self, faults: &mut Faults) -> Option<Secret> {
        self.get("LAPWING_ADMIN_TOKEN", faults).map(Secret::new)
    }

    /// `LAPWING_ADMIN_UPLOAD_TOKEN`.
    pub(crate) fn upload_token(&self, faults: &mut Faults) -> Option<Secret> {
        self.get("LAPWING_ADMIN_UPLOAD_TOKEN", faults).map(Secret::new)
    }

    /// What the `REDIS_…` variables say. A URL says all of where it is and who we are; outside of a container,
    /// `REDIS_URL_LOCAL` is the one.
    pub(crate) fn redis(&self, faults: &mut Faults) -> Told {
        let names: &[_] = if self.is_in_container() {
            &["REDIS_URL"]
        } else {
            &["REDIS_URL_LOCAL", "REDIS_URL"]
        };
        let mut told = Told {
            port: DEFAULT_PORT,
            ssl: self.flag("REDIS_SSL", faults),
            connections: self
                .integer("REDIS_MAX_CONNECTIONS", 1..=1_000_000, faults)
                .map(|count| usize::try_from(count.min(MOST_CONNECTIONS)).unwrap_or(1)),
            connect_timeout: self
                .integer("REDIS_CONNECTION_TIMEOUT", 1..=60, faults)
                .map(Duration::from_secs),
            ..Told::default()
        };
        let url = |&name: &&'static str| Some((name, self.get(name, &mut Faults::default())?.to_owned()));
        told.url = names.iter().find_map(url);
        if told.url.is_some() {
            return told;
        }
        let text = |name, faults: &mut Faults| self.get(name, faults).map(str::to_owned);
        told.host = text("REDIS_HOST", faults);
        if let Some(host) = &told.host
            && host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@?#,".contains(c))
        {
            faults.push("REDIS_HOST", format!("`{host}` is not a host name or address"));
        }
        if let Some(port) = self.integer("REDIS_PORT", 1..=65_535, faults) {
            told.port = u16::try_from(port).unwrap_or(DEFAULT_PORT);
        }
        told.username = text("REDIS_USERNAME", faults);
        told.password = text("REDIS_PASSWORD", faults);
        told.db = self
            .integer("REDIS_DB", 0..=15, faults)
            .and_then(|db| i64::try_from(db).ok());
        told
    }

    /// A yes or no, however it is spelled.
    fn flag(&self, name: &str, faults: &mut Faults) -> Option<bool> {
        let text = self.get(name, faults)?;
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Some(true),
            "0" | "false" | "no" | "off" => Some(false),
            _ => {
                faults.push(name, format!("`{text}` is neither `true` nor `false`"));
                None
            }
        }
    }

    /// Whether this process runs in a container, by the marks that Docker, Podman and Kubernetes leave.
    fn is_in_container(&self) -> bool {
        let marks = ["/.dockerenv", "/run/.containerenv"];
        self.is_set("KUBERNETES_SERVICE_HOST") || marks.iter().any(|mark| Path::new(mark).exists())
    }

    /// `LOG_LEVEL` (Peekaping's words too), `MODE` or `ENVIRONMENT`, and `SERVICE_NAME`.
    pub(crate) fn log(&self, file: &LogFile, flag: Option<&str>, faults: &mut Faults) -> Log {
        let given = match flag {
            Some(level) => Some(("--log-level", level)),
            None => self.get("LOG_LEVEL", faults).map(|level| ("LOG_LEVEL", level)),
        };
        let level = match given.map(|(field, level)| (field, level.to_ascii_lowercase())) {
            None => match file.level.unwrap_or(LogLevel::Info) {
                LogLevel::Trace => Level::TRACE,
                LogLevel::Debug => Level::DEBUG,
                LogLevel::Info => Level::INFO,
                LogLevel::Warn => Level::WARN,
                LogLevel::Error => Level::ERROR,
            },
            Some((field, level)) => match level.as_str() {
                "trace" => Level::TRACE,
                "debug" => Level::DEBUG,
                "info" => Level::INFO,
                "warn" | "warning" => Level::WARN,
                "error" | "dpanic" | "panic" | "fatal" => Level::ERROR,
                _ => {
                    faults.push(field, format!("`{level}` is not one of debug, info, warn, error"));
                    Level::INFO
                }
            },
        };
        let prod = match self.get("MODE", faults) {
            // An Aegis Stack's word; it may call its other stages what it likes.
            None => matches!(self.get("ENVIRONMENT", faults), Some("prod" | "production")),
            Some("dev" | "test") => false,
            Some("prod") => true,
            Some(other) => {
                faults.push("MODE", format!("`{other}` is not one of dev, prod, test"));
                false
            }
        };
        let format = file
            .format
            .unwrap_or(if prod { LogFormat::Json } else { LogFormat::Text });
        Log {
            level,
            format,
            service: self.get("SERVICE_NAME", faults).map(str::to_owned),
            folder: true,
        }
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name, value.into()));
        Self {
            variables: variables.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn an_empty_variable_is_unset_and_a_non_number_falls_back() {
        let mut faults = Faults::default();
        assert!(
            environment(&[("REDIS_HOST", " ")])
                .redis(&mut faults)
                .host
                .is_none()
        );
        assert_eq!(
            environment(&[("QUEUE_CONCURRENCY", "many")]).concurrency(&mut faults),
            None
        );
        assert_eq!(
            environment(&[("QUEUE_CONCURRENCY", "0")]).concurrency(&mut faults),
            None
        );
        assert!(faults.is_empty());
        let warnings = faults.into_result(()).unwrap();
        assert_eq!(
            warnings.1,
            ["QUEUE_CONCURRENCY=`many` is not a number; using the default"]
        );
    }

    #[test]
    fn a_variable_that_is_no_text_is_a_fault_and_not_passed_over() {
        use std::os::unix::ffi::OsStringExt;
        let token = OsString::from_vec(vec![0xff, 0xfe]);
        let set = Environment {
            variables: HashMap::from([("LAPWING_ADMIN_TOKEN".to_owned(), token)]),
        };
        let mut faults = Faults::default();
        assert!(set.admin_token(&mut faults).is_none());
        assert!(
            faults.to_string().contains("LAPWING_ADMIN_TOKEN: is not UTF-8"),
            "{faults}"
        );
    }

    #[test]
    fn what_is_out_of_range_is_a_fault_that_names_its_variable() {
        let mut faults = Faults::default();
        let set = environment(&[
            ("REDIS_HOST", "h"),
            ("REDIS_PORT", "70000"),
            ("REDIS_DB", "16"),
            ("REDIS_SSL", "perhaps"),
            ("LOG_LEVEL", "loud"),
            ("MODE", "x"),
        ]);
        set.redis(&mut faults);
        set.log(&LogFile::default(), None, &mut faults);
        let text = faults.to_string();
        for name in ["REDIS_PORT", "REDIS_DB", "REDIS_SSL", "LOG_LEVEL", "MODE"] {
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn zaps_level_words_are_known() {
        for word in ["FATAL", "dpanic", "Warning"] {
            let mut faults = Faults::default();
            environment(&[("LOG_LEVEL", word)]).log(&LogFile::default(), None, &mut faults);
            assert!(faults.is_empty(), "{word}");
        }
    }
}
