//! The plugin host: one engine, its threads, and the plugins that are loaded into it.

use crate::{
    abi::v1,
    engine,
    load::{LoadError, Loader, file},
    plugin::{Plugin, PluginReport, PluginState},
    run::Runner,
    settings::PluginSettings,
};
use futures_util::{StreamExt, stream};
use lapwing_checks::Registry;
use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// Loads plugins and runs them. One per process; dropping it and every plugin of it ends its threads.
pub struct PluginHost {
    loader: Arc<Loader>,
    /// What is loaded, by digest: a file that did not change is not compiled again.
    loaded: Mutex<HashMap<String, Weak<Plugin>>>,
}

/// The plugin host cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Settings out of their ranges, each as `field: expectation`.
    #[error("plugin settings out of range: {}", .0.join("; "))]
    Settings(Vec<String>),
    /// The engine refuses this machine.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// No threads to run on.
    #[error("cannot start the plugins' threads")]
    Threads(#[source] io::Error),
}

impl PluginHost {
    /// Starts the engine and its threads.
    pub fn new(settings: PluginSettings) -> Result<Arc<Self>, HostError> {
        let faults = settings.faults();
        if !faults.is_empty() {
            return Err(HostError::Settings(faults));
        }
        let refuse = |error: wasmtime::Error| HostError::Engine(format!("{error:#}"));
        let engine = engine::build(&settings).map_err(refuse)?;
        let linker = v1::linker(&engine).map_err(refuse)?;
        let runner = Arc::new(Runner::new(&settings).map_err(HostError::Threads)?);
        let loader = Arc::new(Loader { engine, linker, runner, settings });
        Ok(Arc::new(Self { loader, loaded: Mutex::default() }))
    }

    /// Loads every `*.wasm` of a folder (dotfiles are passed over) and adds its kinds to `registry`: all kinds of a
    /// plugin, or none when one is taken. Files that are already loaded are not compiled again. One report a file, by
    /// name; a file that is refused stops no other. `Err` when the folder itself cannot be read.
    ///
    /// Must be called within a Tokio runtime. Cancel safe, but `registry` may then have some of the kinds.
    pub async fn load_dir(&self, folder: &Path, registry: &mut Registry) -> io::Result<Vec<PluginReport>> {
        let files = {
            let folder = folder.to_owned();
            tokio::task::spawn_blocking(move || file::list(&folder)).await.map_err(io::Error::other)??
        };
        let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut reports: Vec<PluginReport> =
            stream::iter(files).map(|path| self.load_file(path)).buffered(at_once).collect().await;
        for report in &mut reports {
            if let (PluginState::Active, Some(plugin)) = (&report.state, &report.plugin)
                && let Err(clash) = plugin.register(registry)
            {
                report.state = PluginState::Failed { reason: clash.to_string() };
            }
            log(report);
        }
        Ok(reports)
    }

    /// Loads one file without adding its kinds anywhere. Cancel safe.
    pub async fn load_file(&self, path: impl Into<PathBuf>) -> PluginReport {
        let path = path.into();
        let mut report = PluginReport {
            path: path.clone(),
            digest: None,
            size_bytes: None,
            state: PluginState::Active,
            plugin: None,
        };
        let limit = self.loader.settings.file_mib;
        let content = tokio::task::spawn_blocking(move || file::read(&path, limit)).await;
        let loaded = match content {
            Err(error) => Err(LoadError::Internal(error.to_string())),
            Ok(Err(error)) => Err(error),
            Ok(Ok(content)) => {
                report.digest = Some(content.digest.clone());
                report.size_bytes = Some(content.bytes.len() as u64);
                self.load(content).await
            }
        };
        match loaded {
            Ok(plugin) => report.plugin = Some(plugin),
            Err(error) => report.state = PluginState::Failed { reason: error.to_string() },
        }
        report
    }

    async fn load(&self, content: file::Content) -> Result<Arc<Plugin>, LoadError> {
        let digest = content.digest.clone();
        if let Some(plugin) = self.loaded().get(&digest).and_then(Weak::upgrade) {
            return Ok(plugin);
        }
        let plugin = Arc::new(self.loader.load(content).await?);
        let mut loaded = self.loaded();
        loaded.retain(|_, plugin| plugin.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&plugin));
        Ok(plugin)
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<Plugin>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(report: &PluginReport) {
    let file = report.path.display();
    match (&report.state, &report.plugin) {
        (PluginState::Failed { reason }, _) => tracing::warn!(%file, reason, "plugin refused"),
        (PluginState::Active, Some(plugin)) => {
            let info = plugin.info();
            tracing::info!(%file, plugin = info.name, version = info.version, kinds = ?info.kinds, "plugin loaded");
        }
        (PluginState::Active, None) => {}
    }
}

impl fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginHost").field("settings", &self.loader.settings).finish_non_exhaustive()
    }
}
