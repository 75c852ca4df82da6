//! The kinds of check this process can run: the native ones and those of the plugin folder, as one registry.

use crate::{cli::Usage, consent};
use lapwing_checks::{CheckError, Executor, Registry, native};
use lapwing_wasm::{Custody, Data, PluginFolder, PluginHost, PluginReport, PluginSettings, PluginState};
use std::{path::Path, sync::Arc};
use tokio::sync::watch;

/// Holds the registry in force. Running checks keep the executor they started with.
pub(crate) struct Kinds {
    /// `None` where only native kinds are wanted.
    folder: Option<PluginFolder>,
    custody: Option<Arc<Custody>>,
    registry: watch::Receiver<Arc<Registry>>,
}

impl Kinds {
    /// The native kinds and the plugins of `folder`. A broken plugin is reported and stops nothing; a folder that is
    /// `required` and is not there is an error.
    pub(crate) async fn load(
        folder: &Path,
        required: bool,
        settings: PluginSettings,
    ) -> anyhow::Result<Self> {
        if required {
            present(folder)?;
        }
        let data = Arc::new(Data::open(settings.data.as_deref())?);
        let host = PluginHost::new(settings)?;
        let custody = host.custody().clone();
        consent::enforce(&custody, &data);
        let approver = consent::approver(&host, &data);
        let opened = PluginFolder::open(host, folder, native_kinds()?, data, approver).await;
        let folder = opened
            .map_err(|error| anyhow::anyhow!("cannot read plugin folder `{}`: {error}", folder.display()))?;
        Ok(Self {
            registry: folder.registry(),
            folder: Some(folder),
            custody: Some(custody),
        })
    }

    /// The native kinds alone: quicker, where no plugin is asked for.
    pub(crate) fn native() -> anyhow::Result<Self> {
        Ok(Self {
            folder: None,
            custody: None,
            registry: watch::channel(Arc::new(native_kinds()?)).1,
        })
    }

    /// From now on, changes of the folder take effect by themselves.
    pub(crate) fn watch(&self) {
        if let Some(folder) = &self.folder {
            folder.watch();
        }
    }

    /// Looks at the folder again, tries anew what was refused, and waits for the result. Files that did not change are
    /// not loaded again.
    pub(crate) async fn reload(&self) -> anyhow::Result<Arc<Vec<PluginReport>>> {
        if let Some(folder) = &self.folder {
            folder.reload().await?;
        }
        Ok(self.plugins())
    }

    /// What plugins are lent and granted, and the records of each; none where only native kinds are wanted.
    pub(crate) fn custody(&self) -> Option<&Arc<Custody>> {
        self.custody.as_ref()
    }

    /// The registry in force.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry.borrow().clone()
    }

    /// The executor of `kind`; the error says which plugin would provide it, where the folder knows one.
    pub(crate) fn executor(&self, kind: &str) -> Result<Arc<dyn Executor>, CheckError> {
        let found = self.registry().executor(kind).cloned();
        found.map_err(|error| match error {
            CheckError::UnknownKind { kind, known, .. } => CheckError::UnknownKind {
                away: self.away(&kind),
                kind,
                known,
            },
            other => other,
        })
    }

    /// Why a plugin that would provide `kind` does not. Of a file that never told its kinds its name must do.
    fn away(&self, kind: &str) -> Option<String> {
        let reports = self.folder.as_ref()?.reports();
        let away = |report: &&PluginReport| !report.is_active();
        let provides = |report: &&PluginReport| report.kinds.iter().any(|its| its == kind);
        let named = |report: &&PluginReport| {
            report.kinds.is_empty() && report.path.file_stem().is_some_and(|stem| stem == kind)
        };
        let standing = |state: &PluginState| match state {
            PluginState::Failed { reason } => format!("was refused: {reason}"),
            state => format!("is {state}"),
        };
        if let Some(PluginReport { name, state, .. }) = reports.iter().filter(away).find(provides) {
            let next = match state {
                PluginState::Disabled => format!("; `POST /api/v1/plugins/{name}/enable` lets it serve"),
                PluginState::PendingApproval { .. } => {
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

    /// What became of each file of the folder, as of now.
    pub(crate) fn plugins(&self) -> Arc<Vec<PluginReport>> {
        let reports = self.folder.as_ref().map(PluginFolder::reports);
        Arc::new(reports.unwrap_or_default())
    }

    /// What runs the plugins; `None` where only native kinds are wanted.
    pub(crate) fn host(&self) -> Option<&Arc<PluginHost>> {
        self.folder().map(PluginFolder::host)
    }

    /// The folder, to switch plugins on and off, approve and grant.
    pub(crate) fn folder(&self) -> Option<&PluginFolder> {
        self.folder.as_ref()
    }
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

fn native_kinds() -> anyhow::Result<Registry> {
    let mut registry = Registry::default();
    native::register(&mut registry)?;
    Ok(registry)
}
