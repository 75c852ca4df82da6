//! The kinds of check this process can run: the native ones and those of the plugin folder, as one registry.

use crate::{
    cli::Usage,
    config::Config,
    consent,
    console::{self, one_line},
};
use lapwing_checks::{CheckError, Executor, Registry, native, text::nearest};
use lapwing_wasm::{Custody, Data, PluginFolder, PluginHost, PluginReport, PluginState, grantable};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{SetOnce, watch};

/// Until a folder that could not be read is looked at again.
const AGAIN: Duration = Duration::from_secs(5);

/// Holds the registry in force. Running checks keep the executor they started with.
pub(crate) struct Kinds {
    native: Arc<Registry>,
    /// The kinds of load tests, for the queues that run them.
    load: Registry,
    /// `None` where only native kinds are wanted.
    plugins: Option<Plugins>,
}

/// The plugin folder, and what is there before it.
struct Plugins {
    path: PathBuf,
    host: Arc<PluginHost>,
    data: Arc<Data>,
    /// The file of `data`.
    decisions: Option<PathBuf>,
    /// Set once every file that was there at the start is loaded or refused.
    folder: SetOnce<Folder>,
}

struct Folder {
    folder: PluginFolder,
    registry: watch::Receiver<Arc<Registry>>,
}

impl Kinds {
    /// The native kinds, at once; [`Self::look`] adds the plugins of the folder. One that cannot be read is an error,
    /// and so is one that was asked for and is not there.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let (folder, settings) = (&*config.plugins, config.plugin_settings.clone());
        if config.plugins_required {
            present(folder)?;
        }
        match folder.read_dir() {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(unreadable(folder, &error)),
            _ => {}
        }
        let decisions = settings.data.as_ref().map(|data| data.join("plugins.json"));
        let data = Arc::new(Data::open(settings.data.as_deref())?);
        let host = PluginHost::new(settings)?;
        consent::enforce(host.custody(), &data);
        Ok(Self {
            native: Arc::new(native_kinds()?),
            load: load_kinds()?,
            plugins: Some(Plugins {
                path: folder.to_owned(),
                host,
                data,
                decisions,
                folder: SetOnce::new(),
            }),
        })
    }

    /// The native kinds alone: quicker, where no plugin is asked for.
    pub(crate) fn native() -> anyhow::Result<Self> {
        Ok(Self {
            native: Arc::new(native_kinds()?),
            load: load_kinds()?,
            plugins: None,
        })
    }

    /// Loads the plugins of the folder; `slow` is called when that takes a while. A broken plugin is reported and stops
    /// nothing. Cancel safe: what is being compiled ends.
    pub(crate) async fn look(&self, slow: impl FnOnce(&Path)) -> anyhow::Result<()> {
        let Some(Plugins {
            path,
            host,
            data,
            folder,
            ..
        }) = &self.plugins
        else {
            return Ok(());
        };
        let native = Registry::clone(&self.native);
        let approver = consent::approver(host, data);
        let opening = PluginFolder::open(host.clone(), path, native, data.clone(), approver);
        let opened = console::patiently(opening, || slow(path)).await;
        let opened = opened.map_err(|error| unreadable(path, &error))?;
        let _ = folder.set(Folder {
            registry: opened.registry(),
            folder: opened,
        });
        let there = self.plugins();
        let granted = host.custody().grants().names();
        for name in granted.filter(|name| there.iter().all(|plugin| plugin.name != *name)) {
            let (name, folder) = (one_line(name), path.display());
            tracing::warn!("`plugins.grants` has `{name}`, but no plugin in `{folder}` has that name");
        }
        Ok(())
    }

    /// As [`Self::look`], until it works; from then on, changes of the folder take effect by themselves.
    pub(crate) async fn look_and_watch(&self) {
        let slow = |path: &Path| {
            tracing::info!(
                "compiling the plugins of `{}`; native kinds are there already",
                path.display()
            );
        };
        while let Err(error) = self.look(slow).await {
            tracing::warn!("{error:#}; trying again");
            tokio::time::sleep(AGAIN).await;
        }
        if let Some(folder) = self.folder() {
            folder.watch();
        }
    }

    /// Waits until the plugins that were there at the start are loaded. Cancel safe.
    pub(crate) async fn loaded(&self) {
        if let Some(plugins) = &self.plugins {
            plugins.folder.wait().await;
        }
    }

    /// Waits until it is known who provides `kind`: not at all for a native one. Cancel safe.
    pub(crate) async fn settled(&self, kind: &str) {
        if self.native.get(kind).is_none() && self.load.get(kind).is_none() {
            self.loaded().await;
        }
    }

    /// Looks at the folder again, tries anew what was refused, and waits for the result. Files that did not change are
    /// not loaded again.
    pub(crate) async fn reload(&self) -> anyhow::Result<Arc<Vec<PluginReport>>> {
        self.loaded().await;
        if let Some(folder) = self.folder() {
            let reloaded = folder.reload().await;
            reloaded.map_err(|error| unreadable(folder.path(), &error))?;
        }
        Ok(self.plugins())
    }

    /// What plugins are lent and granted, and the records of each; none where only native kinds are wanted.
    pub(crate) fn custody(&self) -> Option<&Arc<Custody>> {
        self.host().map(|host| host.custody())
    }

    /// The registry in force.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.open()
            .map_or_else(|| self.native.clone(), |open| open.registry.borrow().clone())
    }

    /// The executor of `kind`; the error says which plugin would provide it, where the folder knows one.
    pub(crate) fn executor(&self, kind: &str) -> Result<Arc<dyn Executor>, CheckError> {
        let found = self.registry().executor(kind).cloned();
        found.map_err(|error| match error {
            // Nobody knows yet whether there is such a kind; on the wire an unknown one is down.
            CheckError::UnknownKind { kind, .. } if self.is_loading() => CheckError::Internal(format!(
                "monitor type `{kind}` is not there yet: the plugins are still being compiled"
            )),
            CheckError::UnknownKind { kind, away, known } => CheckError::UnknownKind {
                away: self.away(&kind).or(away).or_else(|| self.hint(&kind, &known)),
                kind,
                known,
            },
            other => other,
        })
    }

    /// As [`Self::executor`]; with `load_test`, there are the kinds of load tests, too.
    pub(crate) fn executor_as(&self, kind: &str, load_test: bool) -> Result<Arc<dyn Executor>, CheckError> {
        match self.load.get(kind) {
            Some(executor) if load_test => Ok(executor.clone()),
            _ => self.executor(kind),
        }
    }

    /// The kinds of load tests.
    pub(crate) fn load(&self) -> &Registry {
        &self.load
    }

    /// Why a plugin that would provide `kind` does not. Of a file that never told its kinds its name must do.
    fn away(&self, kind: &str) -> Option<String> {
        let reports = self.folder()?.reports();
        let away = |report: &&PluginReport| !report.is_active();
        let provides = |report: &&PluginReport| report.kinds.iter().any(|its| its == kind);
        let named = |report: &&PluginReport| {
            report.kinds.is_empty() && report.path.file_stem().is_some_and(|stem| stem == kind)
        };
        let standing = |state: &PluginState| match state {
            PluginState::Failed { reason } => format!("was refused: {reason}"),
            state => format!("is {state}"),
        };
        if let Some(report) = reports.iter().filter(away).find(provides) {
            let PluginReport { name, state, .. } = report;
            let next = match state {
                PluginState::Disabled => format!(
                    "{}; `lapwing plugin enable {name}` or `POST /api/v1/plugins/{name}/enable` lets it serve",
                    self.decisions()
                        .map_or_else(String::new, |file| format!(" in `{}`", file.display()))
                ),
                PluginState::PendingApproval { .. }
                    if report
                        .about
                        .as_ref()
                        .is_some_and(|about| grantable(&about.capabilities)) =>
                {
                    format!("; grant it, or `POST /api/v1/plugins/{name}/approve`")
                }
                _ => String::new(),
            };
            let standing = standing(state);
            return Some(format!("plugin `{name}` provides it and {standing}{next}"));
        }
        let PluginReport { path, state, .. } = reports.iter().filter(away).find(named)?;
        let file = path.file_name()?.to_string_lossy();
        Some(format!("plugin file `{file}` {}", standing(state)))
    }

    /// Of a kind that nobody has heard of: the known one it may be meant for, and where plugins are looked for.
    fn hint(&self, kind: &str, known: &[String]) -> Option<String> {
        let meant =
            nearest(kind, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        let looked = self.plugins.as_ref().map(|plugins| {
            let folder = plugins.path.display();
            format!("no plugin in `{folder}` provides it (--plugins names another folder)")
        });
        let hints: Vec<_> = meant.into_iter().chain(looked).collect();
        (!hints.is_empty()).then(|| hints.join(" "))
    }

    /// What became of each file of the folder, as of now.
    pub(crate) fn plugins(&self) -> Arc<Vec<PluginReport>> {
        let reports = self.folder().map(PluginFolder::reports);
        Arc::new(reports.unwrap_or_default())
    }

    /// What runs the plugins; `None` where only native kinds are wanted.
    pub(crate) fn host(&self) -> Option<&Arc<PluginHost>> {
        self.plugins.as_ref().map(|plugins| &plugins.host)
    }

    /// The file that decisions on plugins are kept in, if they are kept.
    pub(crate) fn decisions(&self) -> Option<&Path> {
        self.plugins.as_ref()?.decisions.as_deref()
    }

    /// The folder, to switch plugins on and off, approve and grant; `None` until it is loaded.
    pub(crate) fn folder(&self) -> Option<&PluginFolder> {
        self.open().map(|open| &open.folder)
    }

    fn is_loading(&self) -> bool {
        self.plugins.is_some() && self.open().is_none()
    }

    fn open(&self) -> Option<&Folder> {
        self.plugins.as_ref()?.folder.get()
    }
}

fn unreadable(folder: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!("cannot read plugin folder `{}`: {error}", folder.display())
}

/// Whether there is a plugin folder where somebody said that there is.
pub(crate) fn present(folder: &Path) -> anyhow::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let shown = folder.display();
    let next = if folder.exists() {
        "is not a folder; name the folder that plugins are in with --plugins".to_owned()
    } else {
        format!("does not exist; make it (`mkdir -p {shown}`), or name another with --plugins")
    };
    Err(Usage::says(format!("plugin folder `{shown}` {next}")))
}

/// The native kinds, as a registry.
pub(crate) fn native_kinds() -> anyhow::Result<Registry> {
    let mut registry = Registry::default();
    native::register(&mut registry)?;
    Ok(registry)
}

fn load_kinds() -> anyhow::Result<Registry> {
    let mut registry = Registry::default();
    native::register_load(&mut registry)?;
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::checks::adhoc, probe::Prober, producer};
    use lapwing_checks::Net;
    use lapwing_model::{Reason, SystemClock, WorkerIdentity};

    #[tokio::test(start_paused = true)]
    async fn native_kinds_are_there_before_any_plugin_is_and_others_are_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let shared = crate::cli::Shared {
            plugins: Some(folder.path().to_owned()),
            ..Default::default()
        };
        let config = Config::load(&shared, &crate::config::Environment::default()).unwrap();
        let kinds = Arc::new(Kinds::new(&config).unwrap());
        assert!(kinds.executor("tcp").is_ok());
        kinds.settled("tcp").await;
        let prober = Prober {
            kinds: kinds.clone(),
            net: Net::new(config.network),
            clock: Arc::new(SystemClock),
            identity: WorkerIdentity {
                name: "test".to_owned(),
                region: None,
            },
        };
        let monitor = adhoc("smtp", serde_json::Map::new(), Duration::from_secs(3));
        let task = Arc::new(producer::task(&monitor, &*prober.clock));
        let seen = prober.run(&task).await.observation;
        assert_eq!(seen.reason, Some(Reason::Internal));
        assert!(seen.message.contains("still being compiled"), "{}", seen.message);
        let (looked, result) = tokio::join!(kinds.look(|_| ()), prober.run(&task));
        looked.unwrap();
        assert_eq!(result.observation.reason, Some(Reason::UnknownKind));
    }
}
