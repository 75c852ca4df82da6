//! One file of the folder: where it is on its way, and what serves in its stead.

use super::look::Stamp;
use crate::{
    load::LoadError,
    plugin::{Plugin, PluginReport, PluginState},
};
use std::{path::Path, sync::Arc, time::SystemTime};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// A file, its present content, and the last content that served.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    pub(crate) modified: SystemTime,
    /// When this content was first seen.
    pub(crate) since: Instant,
    pub(crate) phase: Phase,
    /// How often in a row the present content could not be loaded through no fault of its own.
    pub(crate) failures: u32,
    /// An earlier content that serves until the present one does.
    pub(crate) good: Option<Loaded>,
    /// The same, while pins or an operator keep it from serving.
    pub(crate) kept: Option<Loaded>,
    /// What was last said of it in the log.
    pub(crate) said: String,
}

/// How far the present content is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// To be read at this time, if it does not change until then.
    Waiting(Instant),
    /// Being read, looked at, compiled.
    Loading {
        number: u64,
        state: PluginState,
        _job: AbortOnDropHandle<()>,
    },
    /// No plugin.
    Refused(Refused),
    /// A plugin.
    Loaded(Loaded, Standing),
}

/// Why a content is no plugin.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    pub(crate) digest: Option<String>,
    pub(crate) size_bytes: Option<u64>,
    /// When to try again, if time may help.
    pub(crate) again: Option<Instant>,
}

/// A content that is a plugin.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) digest: String,
    pub(crate) size_bytes: u64,
    pub(crate) modified: SystemTime,
}

/// Whether a plugin serves; decided over all files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does.
    Serves,
    /// An operator switched it off.
    Disabled,
    /// An operator must allow it first; what it asks for.
    Pending(Vec<String>),
    /// Another file of the same plugin serves.
    Superseded(String),
    /// It must not; why.
    Barred(String),
}

impl Entry {
    /// Whether its conclusion is to come.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Waiting(_) | Phase::Loading { .. })
    }

    /// Whether somebody who waits until `end` for all files waits for this one: not longer for one that is being written, nor
    /// for what it turns into after that.
    pub(crate) fn is_awaited(&self, end: Instant) -> bool {
        match self.phase {
            Phase::Waiting(_) => Instant::now() < end,
            Phase::Loading { .. } => self.since < end,
            _ => false,
        }
    }

    /// Whether the present content serves.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.phase, Phase::Loaded(_, Standing::Serves))
    }

    /// The present content and the one that serves in its stead, or would, as far as they are plugins.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &Loaded> {
        let present = match &self.phase {
            Phase::Loaded(loaded, _) => Some(loaded),
            _ => None,
        };
        present.into_iter().chain(&self.good).chain(&self.kept)
    }

    /// What is told of it.
    pub(crate) fn report(&self, path: &Path) -> PluginReport {
        let mut report = PluginReport::new(path.to_owned());
        let state = match &self.phase {
            Phase::Waiting(_) => PluginState::Discovered {
                reason: "still being written, or just changed".to_owned(),
            },
            Phase::Loading { state, .. } => state.clone(),
            Phase::Refused(refused) => {
                report.digest.clone_from(&refused.digest);
                report.size_bytes = refused.size_bytes;
                PluginState::Failed {
                    reason: refused.reason.clone(),
                }
            }
            Phase::Loaded(loaded, standing) => {
                loaded.fill(&mut report);
                standing.state()
            }
        };
        let Some(good) = &self.good else {
            report.state = state;
            report.look_for_rest();
            return report;
        };
        if let Phase::Loaded(loaded, Standing::Pending(asks)) = &self.phase {
            report.pending = Some(loaded.pending(asks));
        }
        let what = match self.stamp.unfit {
            Some(_) => "its file as it is now",
            None => "new version",
        };
        report.degraded = Some(format!("{what}: {state}"));
        good.fill(&mut report);
        report.state = PluginState::Active;
        report.look_for_rest();
        report
    }
}

impl Standing {
    fn state(&self) -> PluginState {
        match self {
            Self::Serves => PluginState::Active,
            Self::Disabled => PluginState::Disabled,
            Self::Pending(asks) => PluginState::PendingApproval {
                reason: asks.join("; "),
            },
            Self::Superseded(by) => PluginState::Superseded { reason: by.clone() },
            Self::Barred(reason) => PluginState::Failed {
                reason: reason.clone(),
            },
        }
    }
}

impl Loaded {
    fn fill(&self, report: &mut PluginReport) {
        report.digest = Some(self.digest.clone());
        report.size_bytes = Some(self.size_bytes);
        report.conclude(Ok(self.plugin.clone()));
    }

    fn pending(&self, asks: &[String]) -> crate::plugin::Pending {
        crate::plugin::Pending {
            version: self.plugin.version.clone(),
            digest: self.digest.clone(),
            asks: asks.to_vec(),
            capabilities: self.plugin.about.capabilities.clone(),
        }
    }
}

impl Refused {
    pub(crate) fn new(error: &LoadError) -> Self {
        Self::because(error.to_string())
    }

    pub(crate) fn because(reason: String) -> Self {
        Self {
            reason,
            digest: None,
            size_bytes: None,
            again: None,
        }
    }
}
