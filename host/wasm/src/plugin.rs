//! A loaded plugin, and the report on a file that is one or should have been.

use crate::{
    abi::v1::wit::types,
    executor::PluginExecutor,
    load::LoadError,
    stats::{PluginStats, Stats},
};
use lapwing_checks::{Clash, Executor, Registry};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A plugin ready to run. Dropped when no registry and no running check holds any of its kinds.
pub struct Plugin {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) about: About,
    pub(crate) executors: Vec<Arc<PluginExecutor>>,
    pub(crate) stats: Arc<Stats>,
}

/// What a plugin says of itself, and what its compilation showed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct About {
    /// One line for people.
    pub summary: String,
    /// Its licence, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Where it comes from, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// The version of `lapwing:plugin` it was built for.
    pub interface: String,
    /// Every interface it imports. Toolchains import more than a plugin uses: no evidence of need.
    pub imports: Vec<String>,
    /// What it asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// What its author should mend: a capability that this worker does not know, a target that the schema does not mark.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Memory it needs at the start, in KiB.
    pub memory_kib: u64,
    /// Time compilation took, in milliseconds.
    pub compile_ms: u64,
}

/// A right a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Capability {
    /// For which of its kinds.
    pub kind: String,
    /// `net.tcp`, `secret`, …
    pub name: String,
    /// Host patterns, secret names, …
    pub scope: Vec<String>,
    /// Whether it can do without.
    pub optional: bool,
    /// Why it asks.
    pub reason: String,
}

/// What became of one file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PluginReport {
    /// The file.
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// The plugin's name as it says; empty when it never got to say it.
    pub name: String,
    /// As `name`.
    pub version: String,
    /// The kinds it provides, or would.
    pub kinds: Vec<String>,
    /// Whether it serves.
    #[serde(flatten)]
    pub state: PluginState,
    /// Why the file's present content does not serve, while an earlier one of the same file does; all else in this
    /// report is then of the earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
    /// The present content, when an operator must allow it first and an earlier one serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// SHA-256 of the file in hex, once it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Size of the file in bytes, once it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The rest, once it could say it.
    #[serde(flatten)]
    pub about: Option<About>,
    #[serde(skip)]
    plugin: Option<Arc<Plugin>>,
}

/// As text, also where the name is none.
fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// A content that waits for an operator while an earlier one serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pending {
    /// Its version, as it says.
    pub version: String,
    /// SHA-256 of the file, in hex.
    pub digest: String,
    /// What it asks for.
    pub asks: Vec<String>,
    /// The same as it declares it.
    pub capabilities: Vec<Capability>,
}

/// How far a file is on its way to serving, or why it does not serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum PluginState {
    /// Seen, not read yet.
    Discovered {
        /// Why it is waited for.
        reason: String,
    },
    /// Its form is being looked at.
    Validating,
    /// It is being compiled, and asked what it is.
    Compiling,
    /// An operator must allow it first.
    PendingApproval {
        /// What it asks for.
        reason: String,
    },
    /// Its kinds can be used.
    Active,
    /// It serves, but some of its kinds rest after repeated faults.
    Quarantined {
        /// Which, and for how long.
        reason: String,
    },
    /// An operator switched it off.
    Disabled,
    /// Another file of the same plugin serves.
    Superseded {
        /// Which.
        reason: String,
    },
    /// None of its kinds can be used.
    Failed {
        /// Why, and what to change.
        reason: String,
    },
}

impl PluginState {
    /// The state's name, as it is in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Discovered { .. } => "discovered",
            Self::Validating => "validating",
            Self::Compiling => "compiling",
            Self::PendingApproval { .. } => "pending-approval",
            Self::Active => "active",
            Self::Quarantined { .. } => "quarantined",
            Self::Disabled => "disabled",
            Self::Superseded { .. } => "superseded",
            Self::Failed { .. } => "failed",
        }
    }

    /// Why it is in this state, where that can differ.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Discovered { reason }
            | Self::PendingApproval { reason }
            | Self::Quarantined { reason }
            | Self::Superseded { reason }
            | Self::Failed { reason } => Some(reason),
            Self::Validating | Self::Compiling | Self::Active | Self::Disabled => None,
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        self.reason().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl Plugin {
    /// Its kinds.
    pub fn executors(&self) -> impl Iterator<Item = Arc<dyn Executor>> {
        self.executors
            .iter()
            .cloned()
            .map(|executor| executor as Arc<dyn Executor>)
    }

    /// Adds all its kinds to a registry; none when one of them is taken.
    pub fn register(&self, registry: &mut Registry) -> Result<(), Clash> {
        let mut with = registry.clone();
        self.executors()
            .try_for_each(|executor| with.register(executor))?;
        *registry = with;
        Ok(())
    }

    /// The names of its kinds.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = String> {
        self.executors.iter().map(|executor| executor.kind().to_owned())
    }

    /// What it holds now, and how long its runs took since it was loaded.
    pub fn stats(&self) -> PluginStats {
        self.stats.snapshot()
    }

    /// Which of its kinds rest after repeated faults, and for how long.
    fn rest(&self) -> Option<String> {
        let resting: Vec<_> = self
            .executors
            .iter()
            .filter_map(|executor| executor.rest())
            .collect();
        (!resting.is_empty()).then(|| resting.join("; "))
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({} {})", self.name, self.version)
    }
}

impl PluginReport {
    pub(crate) fn new(path: PathBuf) -> Self {
        let state = PluginState::Failed {
            reason: "not loaded".to_owned(),
        };
        let (name, version, kinds) = Default::default();
        Self {
            path,
            name,
            version,
            kinds,
            state,
            degraded: None,
            pending: None,
            digest: None,
            size_bytes: None,
            about: None,
            plugin: None,
        }
    }

    pub(crate) fn conclude(&mut self, loaded: Result<Arc<Plugin>, LoadError>) {
        match loaded {
            Err(error) => {
                self.state = PluginState::Failed {
                    reason: error.to_string(),
                }
            }
            Ok(plugin) => {
                self.state = PluginState::Active;
                self.name.clone_from(&plugin.name);
                self.version.clone_from(&plugin.version);
                self.kinds = plugin
                    .executors()
                    .map(|executor| executor.info().kind.clone())
                    .collect();
                self.about = Some(plugin.about.clone());
                self.plugin = Some(plugin);
            }
        }
    }

    /// Adds all kinds of a plugin that serves to a registry. When one of them is taken it adds none, and the plugin
    /// fails with both names.
    pub fn register(&mut self, registry: &mut Registry) {
        let Some(plugin) = self.plugin.as_ref().filter(|_| self.is_active()) else {
            return;
        };
        if let Err(clash) = plugin.register(registry) {
            self.state = PluginState::Failed {
                reason: clash.to_string(),
            }
        }
    }

    /// Tells of kinds that rest just now.
    pub(crate) fn look_for_rest(&mut self) {
        let rest = self.plugin.as_ref().and_then(|plugin| plugin.rest());
        if let (PluginState::Active, Some(reason)) = (&self.state, rest) {
            self.state = PluginState::Quarantined { reason };
        }
    }

    /// The plugin, unless the file is none.
    pub fn plugin(&self) -> Option<&Arc<Plugin>> {
        self.plugin.as_ref()
    }

    /// Whether the plugin serves.
    pub fn is_active(&self) -> bool {
        matches!(self.state, PluginState::Active | PluginState::Quarantined { .. })
    }

    /// Why it failed.
    pub fn failure(&self) -> Option<&str> {
        match &self.state {
            PluginState::Failed { reason } => Some(reason),
            _ => None,
        }
    }
}

impl Capability {
    pub(crate) fn new(kind: &str, capability: &types::Capability) -> Self {
        let line = |text: &str| crate::text::line(text, 200);
        Self {
            kind: kind.to_owned(),
            name: line(&capability.name),
            scope: capability
                .scope
                .iter()
                .take(100)
                .map(|scope| line(scope))
                .collect(),
            optional: capability.optional,
            reason: line(&capability.reason),
        }
    }
}
