//! A loaded plugin, and the report on a file that is one or should have been.

use crate::{abi::v1::wit::types, executor::PluginExecutor};
use lapwing_checks::{Executor, Registry, registry::Clash};
use serde::Serialize;
use std::{fmt, path::PathBuf, sync::Arc};

/// A plugin ready to run. Dropped when no registry and no running check holds any of its kinds.
pub struct Plugin {
    pub(crate) info: PluginInfo,
    pub(crate) executors: Vec<Arc<PluginExecutor>>,
}

/// What a plugin says of itself, and what its compilation showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PluginInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
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
    /// The kinds it provides.
    pub kinds: Vec<String>,
    /// What it asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// Memory it needs at the start, in KiB.
    pub memory_kib: u64,
    /// Time compilation took, in milliseconds.
    pub compile_ms: u64,
}

/// A right a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
pub struct PluginReport {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file in hex, once it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Size of the file in bytes, once it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Whether it serves.
    #[serde(flatten)]
    pub state: PluginState,
    /// The plugin, as far as it got.
    #[serde(flatten, serialize_with = "info")]
    pub plugin: Option<Arc<Plugin>>,
}

/// Whether a plugin serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum PluginState {
    /// Its kinds can be used.
    Active,
    /// None of its kinds can be used.
    Failed {
        /// Why, and what to change.
        reason: String,
    },
}

impl Plugin {
    /// What it says of itself.
    pub fn info(&self) -> &PluginInfo {
        &self.info
    }

    /// Its kinds.
    pub fn executors(&self) -> impl Iterator<Item = Arc<dyn Executor>> {
        self.executors.iter().map(|executor| -> Arc<dyn Executor> { executor.clone() })
    }

    /// Adds all its kinds to a registry, or none when one is taken.
    pub fn register(&self, registry: &mut Registry) -> Result<(), Clash> {
        let mut with = registry.clone();
        self.executors().try_for_each(|executor| with.register(executor))?;
        *registry = with;
        Ok(())
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({} {})", self.info.name, self.info.version)
    }
}

impl PluginReport {
    /// Whether the plugin serves.
    pub fn is_active(&self) -> bool {
        self.state == PluginState::Active
    }

    /// Why it does not serve.
    pub fn failure(&self) -> Option<&str> {
        match &self.state {
            PluginState::Active => None,
            PluginState::Failed { reason } => Some(reason),
        }
    }
}

impl Capability {
    pub(crate) fn new(kind: &str, capability: types::Capability) -> Self {
        let line = |text: &str| crate::text::line(text, 200);
        Self {
            kind: kind.to_owned(),
            name: line(&capability.name),
            scope: capability.scope.iter().take(100).map(|scope| line(scope)).collect(),
            optional: capability.optional,
            reason: line(&capability.reason),
        }
    }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn info<S: serde::Serializer>(plugin: &Option<Arc<Plugin>>, serializer: S) -> Result<S::Ok, S::Error> {
    plugin.as_ref().map(|plugin| &plugin.info).serialize(serializer)
}
