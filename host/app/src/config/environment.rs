//! Settings from the environment: Lapwing's own names and those of Peekaping's worker.
//!
//! Peekaping's rules hold for its names: an empty variable counts as unset, and a number that is none is warned of and
//! passed over.

use super::{
    Faults, Redis, Secret,
    file::{LogFile, LogFormat, LogLevel},
};
use std::{
    collections::HashMap, ffi::OsString, fmt::Write, net::SocketAddr, num::NonZeroU32, ops::RangeInclusive,
    path::PathBuf, time::Duration,
};
use tracing::Level;

/// The longest time a result can be kept by `WORKER_KEEP_RESULT_SECONDS`: a year.
const LONGEST_KEPT_S: u64 = 366 * 24 * 3600;

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

    /// `REDIS_URL`, else `REDIS_HOST` with its companions, else the file's URL; `None` when none is set.
    pub(crate) fn redis(&self, file: Option<&Secret>, faults: &mut Faults) -> Option<Redis> {
        if let Some(url) = self.get("REDIS_URL", faults) {
            return Redis::from_url("REDIS_URL", url, faults);
        }
        let port = self.integer("REDIS_PORT", 1..=65_535, faults).unwrap_or(6379);
        let db = self.integer("REDIS_DB", 0..=15, faults).unwrap_or(0);
        if let Some(host) = self.get("REDIS_HOST", faults) {
            if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@?#".contains(c)) {
                faults.push("REDIS_HOST", format!("`{host}` is not a host name or address"));
                return None;
            }
            return Some(Redis::from_parts(
                host,
                port,
                db,
                self.get("REDIS_PASSWORD", faults),
            ));
        }
        file.and_then(|url| Redis::from_url("redis.url", url.reveal(), faults))
    }

    /// Where Peekaping's worker looks when nothing says where Redis is: host `redis`.
    pub(crate) fn redis_default(&self) -> Redis {
        let faults = &mut Faults::default();
        let port = self.integer("REDIS_PORT", 1..=65_535, faults).unwrap_or(6379);
        let db = self.integer("REDIS_DB", 0..=15, faults).unwrap_or(0);
        Redis::from_parts("redis", port, db, self.get("REDIS_PASSWORD", faults))
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

impl Redis {
    fn from_url(field: &str, text: &str, faults: &mut Faults) -> Option<Self> {
        let parsed = url::Url::parse(text)
            .ok()
            .filter(|url| url.scheme() == "redis" && url.has_host());
        let db = |url: &url::Url| {
            url.path()
                .trim_start_matches('/')
                .bytes()
                .all(|byte| byte.is_ascii_digit())
        };
        let Some(url) = parsed.filter(db) else {
            let message = "is not a Redis URL; expected redis://[user:password@]host[:port][/db] (TLS is not supported yet)";
            faults.push(field, message);
            return None;
        };
        let host = url.host_str().unwrap_or("");
        let shown = format!("{host}:{}{}", url.port().unwrap_or(6379), url.path());
        Some(Self {
            url: Secret::new(text),
            shown,
        })
    }

    fn from_parts(host: &str, port: u64, db: u64, password: Option<&str>) -> Self {
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let credentials = password
            .map(|password| format!(":{}@", percent_encode(password)))
            .unwrap_or_default();
        Self {
            url: Secret::new(format!("redis://{credentials}{host}:{port}/{db}")),
            shown: format!("{host}:{port}/{db}"),
        }
    }
}

/// Everything but letters and digits, so that any password survives in a URL.
fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
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
    fn peekapings_variables_make_a_redis_url() {
        let mut faults = Faults::default();
        let set = environment(&[
            ("REDIS_HOST", "cache"),
            ("REDIS_PASSWORD", "p@ss/w%"),
            ("REDIS_DB", "3"),
        ]);
        let redis = set.redis(None, &mut faults).unwrap();
        assert_eq!(redis.url.reveal(), "redis://:p%40ss%2Fw%25@cache:6379/3");
        assert_eq!(redis.shown, "cache:6379/3");
        assert!(faults.is_empty());
        assert_eq!(
            environment(&[]).redis_default().url.reveal(),
            "redis://redis:6379/0"
        );
    }

    #[test]
    fn an_empty_variable_is_unset_and_a_non_number_falls_back() {
        let mut faults = Faults::default();
        assert!(
            environment(&[("REDIS_HOST", " ")])
                .redis(None, &mut faults)
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
            ("LOG_LEVEL", "loud"),
            ("MODE", "x"),
        ]);
        set.redis(None, &mut faults);
        set.log(&LogFile::default(), None, &mut faults);
        let text = faults.to_string();
        for name in ["REDIS_PORT", "REDIS_DB", "LOG_LEVEL", "MODE"] {
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
