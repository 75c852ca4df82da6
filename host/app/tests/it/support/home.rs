//! A worker with a folder of plugins of its own.

use super::{
    plugins,
    process::{Daemon, lapwing},
};
use std::{fs, path::PathBuf};

/// A folder of plugins, a configuration, and where decisions are kept.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    /// With these files of the built plugins, and these lines of `[admin]`.
    pub(crate) fn new(files: &[&str], admin: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("plugins")).unwrap();
        for file in files {
            let name = file.rsplit('/').next().unwrap();
            fs::copy(plugins().join(file), home.path().join("plugins").join(name)).unwrap();
        }
        let config = format!(
            "[admin]\n{admin}\n[plugins]\ndir = \"{}\"\ndata = \"{}\"\n[[monitors]]\nname = \"one\"\nkind = \"tcp\"\ninterval = \"1h\"\n[monitors.config]\nhost = \"127.0.0.1\"\nport = 9\n[secrets.mail]\nvalue = \"x\"\n",
            home.path().join("plugins").display(),
            home.path().join("data").display(),
        );
        let home = Self(home);
        fs::write(home.config(), config).unwrap();
        home
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.0.path().join("plugins")
    }

    /// The file of what was decided by API.
    pub(crate) fn decisions(&self) -> PathBuf {
        self.0.path().join("data/plugins.json")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.path().join("lapwing.toml")
    }

    pub(crate) fn daemon(&self) -> Daemon {
        let mut command = lapwing();
        command.arg("run").arg("--config").arg(self.config());
        Daemon::start(command)
    }
}
