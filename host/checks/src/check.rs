//! What the implementation of a kind is given, and what it may answer.

use crate::{
    Findings, Net,
    schema::{self, Fault},
};
use lapwing_model::{Clock, Observation, Reason, Task};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::Instant;

/// One native kind: its configuration, and how to probe with it.
///
/// Implement it in `native/<kind>.rs` and register it in `native.rs`; schema, documentation and admin listing follow.
pub trait Check: Send + Sync + 'static {
    /// The kind's name: `^[a-z][a-z0-9-]{0,31}$`.
    const KIND: &'static str;
    /// Other names for it.
    const ALIASES: &'static [&'static str] = &[];
    /// One line for people.
    const SUMMARY: &'static str;
    /// A configuration that fits, as JSON.
    const EXAMPLE: &'static str;
    /// JSON pointers to the configuration's secrets.
    const SENSITIVE: &'static [&'static str] = &[];
    /// Whether runs take any `config`, even one that is no JSON, and probe as with `{}`: for a kind that needs nothing of
    /// it. Where a monitor is set up, the schema holds all the same.
    const TAKES_ANY_CONFIG: bool = false;
    /// The monitor's `config`. Its doc comments become the schema's descriptions; unknown fields are refused.
    type Config: DeserializeOwned + JsonSchema + Send;

    /// Notes everything that is wrong with `config` beyond its type, without touching the target. Asked where somebody
    /// sets up or tries out a monitor, so it may be stricter than [`Check::probe`]; may take milliseconds.
    fn review(config: Self::Config, found: &mut Findings) {
        let (_, _) = (config, found);
    }

    /// One run against the target.
    ///
    /// `Err` means "could not try"; a target that is down is `Ok`. Must end by `cx.deadline`; it is cancel safe:
    /// dropping the future closes what it opened.
    fn probe(
        &self,
        config: Self::Config,
        cx: &ProbeContext,
    ) -> impl Future<Output = Result<Observation, CheckError>> + Send;
}

/// What a run may use.
#[derive(Clone)]
pub struct ProbeContext {
    /// The task being run: the monitor, the proxy, the attempt.
    pub task: Arc<Task>,
    /// The queue it came from, among whose monitors its id is one; `None` where it is nobody's, and nothing of the run is
    /// kept for another.
    pub queue: Option<Arc<str>>,
    /// When the run must have ended.
    pub deadline: Instant,
    /// The door to the network.
    pub net: Net,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

impl ProbeContext {
    /// Time left for the run; zero when it is over.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl fmt::Debug for ProbeContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeContext")
            .field("monitor", &self.task.monitor.id)
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

/// Why a check could not be tried. Never the target's doing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The user must mend the monitor's configuration.
    #[error("{0}")]
    InvalidConfig(String),
    /// No executor has this name.
    #[error("unknown monitor type `{kind}`{}; known: {}", told(away.as_ref()), known.join(", "))]
    UnknownKind {
        /// What was asked for.
        kind: String,
        /// Who would provide it, and why they do not; where somebody knows.
        away: Option<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// The network policy forbids what the check needs; the text names the rule.
    #[error("{0}")]
    Denied(String),
    /// A plugin went wrong, or was stopped.
    #[error("{message}")]
    Plugin {
        /// `PluginTimeout`, `PluginTrap`, `PluginLimit`, `PluginError`, `PluginQuarantined` or `LimitHit`.
        reason: Reason,
        /// What happened, for the plugin's author and the operator.
        message: String,
        /// Whether another try may end otherwise.
        retryable: bool,
    },
    /// The worker lacks a right of the operating system.
    #[error("{0}")]
    PermissionDenied(String),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}

/// An aside of a message.
fn told(aside: Option<&String>) -> String {
    aside.map_or_else(String::new, |aside| format!(": {aside}"))
}

impl CheckError {
    /// A limit of ours was met: nothing can be said of the target, and another try ends alike.
    pub(crate) fn limit_hit(message: String) -> Self {
        Self::Plugin {
            reason: Reason::LimitHit,
            message,
            retryable: false,
        }
    }

    /// That a configuration has these faults.
    pub fn unfit(faults: &[Fault]) -> Self {
        Self::InvalidConfig(schema::sentence(faults))
    }

    /// The closed word for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::InvalidConfig(_) => Reason::InvalidConfig,
            Self::UnknownKind { .. } => Reason::UnknownKind,
            Self::Denied(_) => Reason::DeniedByPolicy,
            Self::Plugin { reason, .. } => reason.clone(),
            Self::PermissionDenied(_) => Reason::PermissionDenied,
            Self::Internal(_) => Reason::Internal,
        }
    }

    /// Whether another try may end otherwise without anybody mending anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Plugin { retryable, .. } => *retryable,
            Self::Internal(_) => true,
            Self::InvalidConfig(_)
            | Self::UnknownKind { .. }
            | Self::Denied(_)
            | Self::PermissionDenied(_) => false,
        }
    }

    /// The result a user sees: unknown, with the reason.
    pub fn into_observation(self) -> Observation {
        Observation::unknown(self.reason(), self.to_string())
    }
}
