//! The watched folder: what is dropped, replaced, broken, removed, and what serves meanwhile.

mod changes;
mod choice;
mod refusals;

use crate::support::{fixture, small};
use lapwing_checks::{Registry, native};
use lapwing_wasm::{Approver, Data, PluginFolder, PluginHost, PluginReport, PluginSettings};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// A plugin folder that is watched.
struct Watched {
    folder: PluginFolder,
    root: tempfile::TempDir,
    /// A folder of our own around it, where nobody else could have made it.
    _around: tempfile::TempDir,
}

impl Watched {
    async fn new() -> Self {
        Self::with(small(), Arc::new(|_: &_| Vec::new())).await
    }

    async fn with(settings: PluginSettings, approver: Approver) -> Self {
        let around = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir_in(around.path()).unwrap();
        let folder = open(root.path(), settings, approver).await;
        folder.watch();
        Self {
            folder,
            root,
            _around: around,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Puts bytes there as careful programs do: beside, then renamed.
    fn put(&self, name: &str, bytes: &[u8]) {
        let draft = self.path(".draft");
        fs::write(&draft, bytes).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }

    fn report(&self, name: &str) -> Option<PluginReport> {
        let path = self.path(name);
        self.folder
            .reports()
            .into_iter()
            .find(|report| report.path == path)
    }

    fn state(&self, name: &str) -> String {
        self.report(name)
            .map_or_else(|| "absent".to_owned(), |report| report.state.to_string())
    }

    fn serves(&self, kind: &str) -> bool {
        self.folder.registry().borrow().executor(kind).is_ok()
    }

    async fn until(&self, name: &str, what: &str) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !self.state(name).contains(what) {
            assert!(
                Instant::now() < limit,
                "`{name}` is {}, not {what}",
                self.state(name)
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_degraded(&self, name: &str, what: &str) -> PluginReport {
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            let report = self.report(name).unwrap();
            if report.degraded.as_deref().is_some_and(|why| why.contains(what)) {
                return report;
            }
            assert!(
                Instant::now() < limit,
                "{:?} {:?}, not {what}",
                report.state,
                report.degraded
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn open(path: &Path, settings: PluginSettings, approver: Approver) -> PluginFolder {
    let host = PluginHost::new(settings).unwrap();
    let mut base = Registry::default();
    native::register(&mut base).unwrap();
    PluginFolder::open(host, path, base, Arc::new(Data::in_memory()), approver)
        .await
        .unwrap()
}

/// The `echo` fixture in another version.
fn version(version: &str) -> Vec<u8> {
    patched(fs::read(fixture("echo")).unwrap(), "0.1.0", version)
}

/// A file with another text, of the same length, wherever it has this one.
fn patched(mut bytes: Vec<u8>, text: &str, other: &str) -> Vec<u8> {
    let length = text.len();
    assert_eq!(other.len(), length);
    let places: Vec<usize> = (0..bytes.len() - length)
        .filter(|&at| bytes[at..].starts_with(text.as_bytes()))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + length].copy_from_slice(other.as_bytes());
    }
    bytes
}
