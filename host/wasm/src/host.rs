//! The plugin host: one engine, its threads, and the plugins that are loaded into it.

use crate::{
    abi::v1,
    cache::Cache,
    compile::Compiler,
    custody::Custody,
    engine,
    folder::{
        entry::{Loaded, Refused},
        look,
    },
    load::{self, LoadError, Loader, file},
    plugin::{Plugin, PluginReport, PluginState},
    run::Runner,
    settings::PluginSettings,
    stats::{Compilations, Compiled, Usage},
    trust::{Keys, pins::Pins},
};
use futures_util::{StreamExt, stream};
use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, SystemTime},
};
use tokio::time::timeout;

/// Longest wait for one file: a dead network drive must not stop the others.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Loads plugins and runs them. One per process; dropping it and every plugin of it ends its threads.
pub struct PluginHost {
    loader: Arc<Loader>,
    keys: Arc<Keys>,
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
    /// This program does not find itself.
    #[error("cannot tell which program to compile plugins with")]
    Compiler(#[source] io::Error),
    /// The cache of compiled plugins cannot be used.
    #[error("cache of compiled plugins (`plugins.cache`): {0}")]
    Cache(String),
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
        let keys = Keys::new(&settings).map_err(HostError::Settings)?;
        let refuse = |error: wasmtime::Error| HostError::Engine(format!("{error:#}"));
        let (engine, layout) = engine::build(&settings).map_err(refuse)?;
        let linker = v1::linker(&engine).map_err(refuse)?;
        let runner = Arc::new(Runner::new(&settings).map_err(HostError::Threads)?);
        let compiler = Compiler::new(&settings, layout).map_err(HostError::Compiler)?;
        let cache = Cache::open(settings.cache.as_deref(), settings.cache_mib, &engine);
        let loader = Arc::new(Loader {
            cache: Arc::new(cache.map_err(HostError::Cache)?),
            compiler,
            compilations: Compilations::default(),
            engine,
            linker,
            runner,
            custody: Arc::new(Custody::new(settings.grants.clone())),
            settings,
        });
        Ok(Arc::new(Self {
            loader,
            keys: Arc::new(keys),
            loaded: Mutex::default(),
        }))
    }

    /// What is granted to plugins, which secrets they may use, where they keep state; and the records of each.
    pub fn custody(&self) -> &Arc<Custody> {
        &self.loader.custody
    }

    /// Loads every `*.wasm` of a folder; dotfiles are passed over, and files that are loaded already are not compiled
    /// again. One report a file, by name; a file that is refused stops no other. `Err` when the folder itself cannot be
    /// read. The caller puts them in a registry with [`PluginReport::register`].
    ///
    /// Must be called within a Tokio runtime. Cancel safe.
    pub async fn load_dir(&self, folder: &Path) -> io::Result<Vec<PluginReport>> {
        let folder = folder.to_owned();
        let files = tokio::task::spawn_blocking(move || file::list(&folder))
            .await
            .map_err(io::Error::other)??;
        let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(stream::iter(files)
            .map(|path| self.load_file(path))
            .buffered(at_once)
            .collect()
            .await)
    }

    /// Loads one file, wherever it is: neither pins nor signatures nor the folder's rules are asked. Must be called
    /// within a Tokio runtime. Cancel safe.
    pub async fn load_file(&self, path: impl Into<PathBuf>) -> PluginReport {
        let path = path.into();
        let mut report = PluginReport::new(path.clone());
        let loaded = async {
            let content = self.read(path).await?;
            report.digest = Some(content.digest.clone());
            report.size_bytes = Some(content.bytes.len() as u64);
            self.load(&content, &|_| ()).await
        };
        let loaded = loaded.await;
        report.conclude(loaded);
        report
    }

    /// What runs hold at this moment.
    pub fn usage(&self) -> Usage {
        self.loader.runner.usage()
    }

    /// How plugins came by their machine code, since this host began.
    pub fn compiled(&self) -> Compiled {
        self.loader.compilations.snapshot()
    }

    /// Loads a file of a plugin folder, if pins and keys allow it. `stage` hears of each step. Cancel safe.
    pub(crate) async fn load_trusted(
        &self,
        path: &Path,
        pins: &Pins,
        stage: &(impl Fn(PluginState) + Sync),
    ) -> Result<Loaded, (LoadError, Refused)> {
        let content = self.read(path.to_owned()).await.map_err(|error| {
            let refused = Refused::new(&error);
            (error, refused)
        })?;
        let (digest, size) = (content.digest.clone(), content.bytes.len() as u64);
        let loaded = async {
            // Again, as a link may lead elsewhere than when it was looked at.
            look::own(path, &content.facts)?;
            pins.judge(path, &digest, self.requires_pins())?;
            let (keys, path, bytes) = (self.keys.clone(), path.to_owned(), content.bytes.clone());
            load::blocking(move || keys.judge(&path, &bytes)).await??;
            self.load(&content, stage).await
        };
        match loaded.await {
            Ok(plugin) => {
                for warning in &plugin.about.warnings {
                    tracing::warn!(plugin.name = plugin.name, "plugin `{}`: {warning}", plugin.name);
                }
                Ok(Loaded {
                    plugin,
                    digest,
                    size_bytes: size,
                    modified: content.facts.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                })
            }
            Err(error) => {
                let refused = Refused {
                    digest: Some(digest),
                    size_bytes: Some(size),
                    ..Refused::new(&error)
                };
                Err((error, refused))
            }
        }
    }

    /// Whether a plugin without a pin is refused even where there is no lock file.
    pub(crate) fn requires_pins(&self) -> bool {
        self.loader.settings.require_pinned
    }

    async fn read(&self, path: PathBuf) -> Result<file::Content, LoadError> {
        let limit = self.loader.settings.file_mib;
        let read = load::blocking(move || file::read(&path, limit));
        timeout(READ_TIMEOUT, read)
            .await
            .unwrap_or_else(|_| Err(LoadError::Unreadable(io::ErrorKind::TimedOut.into())))
            .flatten()
    }

    async fn load(
        &self,
        content: &file::Content,
        stage: &(impl Fn(PluginState) + Sync),
    ) -> Result<Arc<Plugin>, LoadError> {
        if let Some(plugin) = self.loaded().get(&content.digest).and_then(Weak::upgrade) {
            return Ok(plugin);
        }
        let plugin = Arc::new(self.loader.load(content, stage).await?);
        let mut loaded = self.loaded();
        loaded.retain(|_, plugin| plugin.strong_count() > 0);
        loaded.insert(content.digest.clone(), Arc::downgrade(&plugin));
        Ok(plugin)
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<Plugin>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginHost")
            .field("settings", &self.loader.settings)
            .finish_non_exhaustive()
    }
}
