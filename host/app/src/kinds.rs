//! The kinds of check this process can run: the native ones and those of the plugin folder, reloadable as one.

use anyhow::Context;
use lapwing_checks::{Registry, native};
use lapwing_wasm::{Custody, PluginHost, PluginReport, PluginSettings};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Mutex;
use tracing::{info, warn};

/// Holds the registry in force. Running checks keep the executor they started with.
pub(crate) struct Kinds {
    /// The host and its folder; `None` where only native kinds are wanted.
    plugins: Option<(Arc<PluginHost>, PathBuf)>,
    /// One reload at a time; how many have begun.
    reloading: Mutex<()>,
    begun: AtomicU64,
    current: RwLock<Current>,
}

#[derive(Clone, Default)]
struct Current {
    registry: Arc<Registry>,
    plugins: Arc<Vec<PluginReport>>,
}

impl Kinds {
    /// The native kinds and the plugins of `folder`. A broken plugin is reported and stops nothing; a folder that is
    /// `required` and cannot be read is an error.
    pub(crate) async fn load(
        folder: &Path,
        required: bool,
        settings: PluginSettings,
    ) -> anyhow::Result<Self> {
        if required && !folder.is_dir() {
            anyhow::bail!(
                "plugin folder `{}` does not exist or is not a folder",
                folder.display()
            );
        }
        Self::new(Some((PluginHost::new(settings)?, folder.to_owned()))).await
    }

    /// The native kinds alone: quicker, where no plugin is asked for.
    pub(crate) async fn native() -> anyhow::Result<Self> {
        Self::new(None).await
    }

    async fn new(plugins: Option<(Arc<PluginHost>, PathBuf)>) -> anyhow::Result<Self> {
        let kinds = Self {
            plugins,
            reloading: Mutex::new(()),
            begun: AtomicU64::new(0),
            current: RwLock::default(),
        };
        kinds.reload().await?;
        Ok(kinds)
    }

    /// Reads the folder again and puts the result in force. Unchanged files are not compiled again. Callers that wait
    /// for one reload to end share the next.
    pub(crate) async fn reload(&self) -> anyhow::Result<Arc<Vec<PluginReport>>> {
        let begun = self.begun.load(Ordering::SeqCst);
        let _one = self.reloading.lock().await;
        if self.begun.load(Ordering::SeqCst) > begun {
            return Ok(self.plugins());
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut registry = Registry::default();
        native::register(&mut registry)?;
        let mut plugins = match &self.plugins {
            Some((host, folder)) if folder.is_dir() => {
                let loaded = host.load_dir(folder).await;
                loaded.with_context(|| format!("cannot read plugin folder `{}`", folder.display()))?
            }
            _ => Vec::new(),
        };
        for plugin in &mut plugins {
            plugin.register(&mut registry);
            match plugin.failure() {
                None => info!(
                    "plugin {} {} loaded: {}",
                    plugin.name,
                    plugin.version,
                    plugin.kinds.join(", ")
                ),
                Some(reason) => warn!("plugin file `{}` refused: {reason}", plugin.path.display()),
            }
        }
        let current = Current {
            registry: Arc::new(registry),
            plugins: Arc::new(plugins),
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current.clone();
        Ok(current.plugins)
    }

    /// What plugins are lent and granted, and the records of each; none where only native kinds are wanted.
    pub(crate) fn custody(&self) -> Option<&Arc<Custody>> {
        self.plugins.as_ref().map(|(host, _)| host.custody())
    }

    /// The registry in force.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.current().registry
    }

    /// What became of each file of the folder.
    pub(crate) fn plugins(&self) -> Arc<Vec<PluginReport>> {
        self.current().plugins
    }

    fn current(&self) -> Current {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
