//! The kinds of check this process can run: the native ones and those of the plugin folder, as one registry.

use lapwing_checks::{Registry, native};
use lapwing_wasm::{Custody, Data, PluginFolder, PluginHost, PluginReport, PluginSettings};
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
        if required && !folder.is_dir() {
            anyhow::bail!(
                "plugin folder `{}` does not exist or is not a folder",
                folder.display()
            );
        }
        let data = Arc::new(Data::open(settings.data.as_deref())?);
        let host = PluginHost::new(settings)?;
        let custody = host.custody().clone();
        let approver = lapwing_wasm::approver(custody.clone(), data.clone());
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

    /// What became of each file of the folder, as of now.
    pub(crate) fn plugins(&self) -> Arc<Vec<PluginReport>> {
        let reports = self.folder.as_ref().map(PluginFolder::reports);
        Arc::new(reports.unwrap_or_default())
    }

    /// The folder, to switch plugins on and off, approve and grant.
    #[expect(dead_code, reason = "for the admin API")]
    pub(crate) fn folder(&self) -> Option<&PluginFolder> {
        self.folder.as_ref()
    }
}

fn native_kinds() -> anyhow::Result<Registry> {
    let mut registry = Registry::default();
    native::register(&mut registry)?;
    Ok(registry)
}
