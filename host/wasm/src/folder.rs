//! A plugin folder that is watched: what is dropped, replaced or removed takes effect without a restart.
//!
//! Every file has an [`entry::Entry`] that goes from discovered to serving or to a reason why not. [`scan`] compares the
//! folder with the entries and starts loading what is whole; [`choose`] decides, over all of them, which plugins serve;
//! [`watch`] says when to look again. Running checks keep the executor they began with, so that replaced code ends
//! with its last run. This module must not know what its plugins are run for.

mod choose;
pub(crate) mod entry;
pub(crate) mod look;
mod scan;
mod uploads;
mod watch;

pub use choose::{Approver, Candidate};

use crate::{
    data::{Data, DataError},
    host::PluginHost,
    plugin::{Plugin, PluginReport},
    trust::pins::Pins,
};
use entry::Entry;
use lapwing_checks::Registry;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tempfile::NamedTempFile;
use tokio::{
    sync::{Notify, watch as channel},
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

/// A plugin folder and what serves from it. Dropping it ends the watching and what is being compiled.
pub struct PluginFolder {
    shared: Arc<Shared>,
    watcher: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// What the folder's tasks work on.
struct Shared {
    host: Arc<PluginHost>,
    path: PathBuf,
    /// The kinds that are there without plugins.
    base: Registry,
    data: Arc<Data>,
    approver: Approver,
    files: Mutex<Files>,
    /// One look at the folder at a time.
    looking: tokio::sync::Mutex<()>,
    registry: channel::Sender<Arc<Registry>>,
    /// Something may have changed: look again.
    wake: Notify,
    /// A file came to a conclusion.
    concluded: Notify,
    /// Who looks on serves monitors, and remembers whose each kind is.
    watched: AtomicBool,
}

/// The folder's files as they are known.
struct Files {
    entries: BTreeMap<PathBuf, Entry>,
    pins: Pins,
    /// The contents that were uploaded and that nobody has let serve yet, by SHA-256 in hex.
    held: BTreeSet<String>,
    /// Numbers the loads: one that was overtaken has no say.
    loads: u64,
    /// The folder's device and inode; `None` until there is one.
    folder: Option<(u64, u64)>,
    /// Why it could not be read the last time.
    fault: Option<String>,
    /// The plugins in force.
    serving: Vec<Arc<Plugin>>,
}

impl PluginFolder {
    /// Looks at `path` for the first time and loads what is there; files that are still being written are waited for no
    /// longer than two seconds. A folder that does not exist is an empty one, until it is made; one that is gone later
    /// leaves what serves. `base` has the kinds that no plugin may take. Nothing is watched until [`Self::watch`].
    ///
    /// `Err` when the folder cannot be read. Must be called within a Tokio runtime.
    pub async fn open(
        host: Arc<PluginHost>,
        path: &Path,
        base: Registry,
        data: Arc<Data>,
        approver: Approver,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            host,
            path: path.to_owned(),
            registry: channel::Sender::new(Arc::new(base.clone())),
            base,
            data,
            approver,
            files: Mutex::new(Files {
                entries: BTreeMap::new(),
                pins: Pins::Absent,
                held: BTreeSet::new(),
                loads: 0,
                folder: None,
                fault: None,
                serving: Vec::new(),
            }),
            looking: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            concluded: Notify::new(),
            watched: AtomicBool::new(false),
        });
        let folder = Self {
            shared,
            watcher: Mutex::default(),
        };
        folder.reload().await?;
        Ok(folder)
    }

    /// Looks again from now on, whenever something changes in the folder. Must be called within a Tokio runtime.
    pub fn watch(&self) {
        self.shared.watched.store(true, Relaxed);
        let watching = tokio::spawn(watch::run(self.shared.clone()));
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(AbortOnDropHandle::new(watching));
    }

    /// Looks again now, tries again what was refused, and waits until every file has come to a conclusion; two seconds for
    /// those that are still being written. Files that did not change are not loaded again. Cancel safe.
    pub async fn reload(&self) -> io::Result<Vec<PluginReport>> {
        let end = Instant::now() + scan::PATIENCE + scan::SETTLE;
        let mut due = self.shared.scan(true).await?;
        loop {
            let mut concluded = std::pin::pin!(self.shared.concluded.notified());
            // From here on a conclusion is not missed.
            concluded.as_mut().enable();
            let now = Instant::now();
            let awaits = |entry: &Entry| entry.is_awaited(end);
            if !self.shared.files().entries.values().any(awaits) {
                return Ok(self.reports());
            }
            let next = due.unwrap_or(now + watch::POLL);
            let next = if now < end { next.min(end) } else { next };
            tokio::select! { () = concluded => {}, () = sleep_until(next) => {} }
            due = self.shared.scan(false).await?;
        }
    }

    /// What became of each file, as of now; or as of when the folder could be read.
    pub fn reports(&self) -> Vec<PluginReport> {
        let files = self.shared.files();
        let report = |(path, entry): (&PathBuf, &Entry)| {
            let mut report = entry.report(path);
            if let Some(fault) = files.fault.as_ref().filter(|_| report.is_active()) {
                report.degraded = Some(format!("the plugin folder cannot be read: {fault}"));
            }
            report
        };
        files.entries.iter().map(report).collect()
    }

    /// The kinds in force: those of `base` and of the plugins that serve. Changes are seen by
    /// [`channel::Receiver::changed`].
    pub fn registry(&self) -> channel::Receiver<Arc<Registry>> {
        self.shared.registry.subscribe()
    }

    /// Lets a plugin serve, or keeps it from serving, from now on and after restarts: all that has its name, and the
    /// files it has now by any name. Of several files of the name, one that was uploaded goes on waiting for
    /// [`Self::enable_file`]: somebody has to say which was looked at. Blocks for a write of the data file.
    pub fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), DataError> {
        let files = self.digests(name);
        self.shared.data.change(|decisions| {
            if enabled {
                decisions.enable(name, &files);
            } else {
                decisions.disable(name, files.iter().cloned());
            }
        })?;
        if let ([only], true) = (&*files, enabled) {
            self.release(only)?;
        }
        self.decide();
        Ok(())
    }

    /// Lets the file with this SHA-256 (hex) serve as the plugin `name`; `false` when none of its files has it. Blocks for a
    /// write of the data file.
    pub fn enable_file(&self, name: &str, digest: &str) -> Result<bool, DataError> {
        let files = self.digests(name);
        let Some(digest) = files.iter().find(|own| own.eq_ignore_ascii_case(digest)) else {
            return Ok(false);
        };
        self.shared
            .data
            .change(|decisions| decisions.enable_file(name, digest))?;
        self.release(digest)?;
        self.decide();
        Ok(true)
    }

    /// A file in the folder to write an upload to; no look at the folder sees it, and it is gone when it is dropped. Blocks.
    pub fn draft(&self) -> io::Result<NamedTempFile> {
        uploads::draft(self.path())
    }

    /// Makes a draft the plugin file `NAME.wasm`, marked beforehand by its SHA-256 (hex), so that from this folder it serves
    /// for nobody until [`Self::set_enabled`] or [`Self::enable_file`]; not under any other name either. `Err` of
    /// [`io::ErrorKind::AlreadyExists`]: there is such a file, and it stays. Blocks.
    pub fn place(&self, draft: NamedTempFile, name: &str, digest: &str) -> io::Result<PathBuf> {
        let target = self.path().join(format!("{name}.wasm"));
        uploads::mark(self.path(), digest)?;
        let Err(refused) = draft.persist_noclobber(&target) else {
            return Ok(target);
        };
        // Who came first may have uploaded the same content, by another process: then it is that one's mark.
        if refused.error.kind() != io::ErrorKind::AlreadyExists {
            uploads::unmark(self.path(), digest)?;
        }
        Err(refused.error)
    }

    /// Removes what [`Self::place`] put there, and its mark. Blocks.
    pub fn withdraw(&self, target: &Path, digest: &str) -> io::Result<()> {
        std::fs::remove_file(target)?;
        uploads::unmark(self.path(), digest)
    }

    /// Whether the content with this SHA-256 (hex) came to `folder` by upload, and nobody has let it serve yet. Blocks.
    pub fn is_held(folder: &Path, digest: &str) -> bool {
        uploads::is_marked(folder, digest)
    }

    /// Takes the mark of an upload away.
    fn release(&self, digest: &str) -> Result<(), DataError> {
        let mut files = self.shared.files();
        uploads::unmark(self.path(), digest).map_err(|source| DataError::Io {
            path: uploads::path(self.path(), digest),
            source,
        })?;
        files.held.remove(digest);
        Ok(())
    }

    /// Of the files that call themselves so.
    fn digests(&self, name: &str) -> Vec<String> {
        let files = self.shared.files();
        let contents = files.entries.values().flat_map(Entry::contents);
        let own = contents.filter(|loaded| loaded.plugin.name == name);
        own.map(|loaded| loaded.digest.clone()).collect()
    }

    /// Decides anew which plugins serve: what is approved or granted changed.
    pub fn decide(&self) {
        self.shared.decide(&mut self.shared.files());
    }

    /// What operators decided.
    pub fn data(&self) -> &Arc<Data> {
        &self.shared.data
    }

    /// The host that loads and runs the plugins.
    pub fn host(&self) -> &Arc<PluginHost> {
        &self.shared.host
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl Shared {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn is_busy(&self) -> bool {
        self.entries.values().any(Entry::is_busy)
    }
}

impl fmt::Debug for PluginFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginFolder")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}
