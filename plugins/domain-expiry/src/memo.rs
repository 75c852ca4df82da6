//! What is kept between the runs of a monitor, where the plugin was granted `state`: the last good answer, and which
//! server gave it. All of it may be lost at any time.

use crate::{config::Config, rdap::Registration};
use lapwing_plugin_sdk::{Context, log, serde_json, state};
use serde::{Deserialize, Serialize};

const ANSWER: &str = "answer";
const SERVER: &str = "server";
/// A server is looked up anew after a week.
const SERVER_SECONDS: u32 = 7 * 86_400;

/// An answer and what it was about: the monitor may have been changed since.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    domain: String,
    source: Option<String>,
    value: T,
}

/// The memory of a monitor about one domain.
pub(crate) struct Memo<'a> {
    granted: bool,
    config: &'a Config,
    domain: &'a str,
}

impl<'a> Memo<'a> {
    pub(crate) fn new(context: &Context, config: &'a Config, domain: &'a str) -> Self {
        Self {
            granted: context.granted("state"),
            config,
            domain,
        }
    }

    /// The last good answer, if it is recent enough.
    pub(crate) fn answer(&self) -> Option<Registration> {
        let wanted = self.config.cache_minutes > 0;
        wanted
            .then(|| self.load(ANSWER, self.config.rdap_url.as_deref()))
            .flatten()
    }

    pub(crate) fn keep_answer(&self, answer: &Registration) {
        if let Some(seconds) = self
            .config
            .cache_minutes
            .checked_mul(60)
            .filter(|&seconds| seconds > 0)
        {
            self.store(ANSWER, self.config.rdap_url.as_deref(), answer, seconds);
        }
    }

    /// The server that was looked up.
    pub(crate) fn server(&self) -> Option<String> {
        self.load(SERVER, self.config.bootstrap_url.as_deref())
    }

    pub(crate) fn keep_server(&self, server: &str) {
        self.store(
            SERVER,
            self.config.bootstrap_url.as_deref(),
            server,
            SERVER_SECONDS,
        );
    }

    fn load<T: for<'de> Deserialize<'de>>(&self, key: &str, source: Option<&str>) -> Option<T> {
        if !self.granted {
            return None;
        }
        let bytes = state::get(key)
            .inspect_err(|error| log::debug!("nothing remembered: {error:?}"))
            .ok()??;
        let kept: Kept<T> = serde_json::from_slice(&bytes).ok()?;
        (kept.domain == self.domain && kept.source.as_deref() == source).then_some(kept.value)
    }

    fn store<T: Serialize>(&self, key: &str, source: Option<&str>, value: T, seconds: u32) {
        if !self.granted {
            return;
        }
        let kept = Kept {
            domain: self.domain.to_owned(),
            source: source.map(str::to_owned),
            value,
        };
        if let Ok(bytes) = serde_json::to_vec(&kept)
            && let Err(error) = state::set(key, &bytes, Some(seconds))
        {
            log::debug!("not remembered: {error:?}");
        }
    }
}
