//! What operators decided, kept over restarts: plugins that are switched off, approvals, grants.
//!
//! One file, `plugins.json`, in a folder of this user alone; written whole, read again before each change, so that two
//! processes of one user do not undo each other's. When it goes away under a process, what it said still holds there, and is
//! written again. Approvals and grants are kept as they come: what they mean is known to who grants and asks.

use crate::{
    cache::private,
    load::{LoadError, file},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The version this program writes and reads.
const VERSION: u32 = 1;

/// What operators decided.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decisions {
    /// 0 as long as nothing was read or written.
    version: u32,
    /// Plugins that must not serve, by name.
    disabled: BTreeSet<String>,
    /// Files that must not serve whatever they call themselves: the SHA-256 in hex of each, with the name it was
    /// switched off by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    disabled_files: BTreeMap<String, String>,
    /// The plugin that each kind of each folder was last served by: a newcomer does not take it by being first after a
    /// restart.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) kinds: BTreeMap<PathBuf, BTreeMap<String, String>>,
    /// What was approved, by the plugin file's digest.
    pub approvals: BTreeMap<String, Value>,
    /// What was granted, by the plugin's name.
    pub grants: BTreeMap<String, Value>,
}

impl Decisions {
    /// Whether the plugin `name` is off, or its file with the SHA-256 `digest` is.
    pub fn is_disabled(&self, name: &str, digest: &str) -> bool {
        self.disabled.contains(name) || self.disabled_files.contains_key(digest)
    }

    /// Switches the plugin `name` off, and each of its `files` whatever it calls itself from then on.
    pub fn disable(&mut self, name: &str, files: impl IntoIterator<Item = String>) {
        self.disabled.insert(name.to_owned());
        let files = files.into_iter().map(|digest| (digest, name.to_owned()));
        self.disabled_files.extend(files);
    }

    /// Switches the plugin `name` on again, its `files`, and all that were switched off with it.
    pub fn enable(&mut self, name: &str, files: &[String]) {
        self.disabled.remove(name);
        self.disabled_files.retain(|_, by| by != name);
        for digest in files {
            self.disabled_files.remove(digest);
        }
    }

    /// Switches one file of the plugin `name` on, and what was put in the folder under that name since.
    pub fn enable_file(&mut self, name: &str, digest: &str) {
        self.disabled.remove(name);
        self.disabled_files.remove(digest);
    }
}

/// The file and what it says.
#[derive(Debug)]
pub struct Data {
    /// `None` keeps nothing over a restart.
    file: Option<PathBuf>,
    decisions: Mutex<Arc<Decisions>>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Others could change it.
    #[error("{0} (`plugins.data`)")]
    Folder(String),
    /// It cannot be read or written.
    #[error("`{path}` cannot be read or written")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what this program wrote. It is left as it is.
    #[error("`{path}` is not understood: {why}; mend it, or move it away to decide everything anew")]
    Unknown {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Data {
    /// Opens `plugins.json` in `folder`, which is made when there is none; without a folder, or where it
    /// cannot be made, decisions are kept in memory.
    /// Blocks.
    pub fn open(folder: Option<&Path>) -> Result<Self, DataError> {
        let Some(folder) = folder else {
            return Ok(Self::in_memory());
        };
        match private::folder(folder) {
            Ok(()) => {}
            Err(private::Refusal::Unsafe(why)) => return Err(DataError::Folder(why)),
            Err(private::Refusal::Absent(why)) => {
                tracing::warn!("decisions on plugins do not outlive this process: {why} (`plugins.data`)");
                return Ok(Self::in_memory());
            }
        }
        private::sweep(folder, private::DRAFT);
        let file = folder.join("plugins.json");
        Ok(Self {
            decisions: Mutex::new(Arc::new(read(&file)?.unwrap_or_default())),
            file: Some(file),
        })
    }

    /// Keeps nothing over a restart.
    pub fn in_memory() -> Self {
        Self {
            file: None,
            decisions: Mutex::default(),
        }
    }

    /// What is decided.
    pub fn decisions(&self) -> Arc<Decisions> {
        self.lock().clone()
    }

    /// Changes what is decided, here and on disk; on an error nothing changed. Blocks.
    pub fn change(&self, change: impl FnOnce(&mut Decisions)) -> Result<(), DataError> {
        let mut held = self.lock();
        let Some(file) = &self.file else {
            change(Arc::make_mut(&mut held));
            return Ok(());
        };
        let fault = |source| DataError::Io {
            path: file.clone(),
            source,
        };
        let guard = File::create(file.with_extension("lock")).map_err(fault)?;
        rustix::fs::flock(&guard, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| fault(error.into()))?;
        let mut decisions = read(file)?.unwrap_or_else(|| Decisions::clone(&held));
        change(&mut decisions);
        decisions.version = VERSION;
        write(file, &decisions).map_err(fault)?;
        *held = Arc::new(decisions);
        Ok(())
    }

    /// Reads what another process decided; true when that is something new. Blocks.
    pub fn refresh(&self) -> Result<bool, DataError> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let mut held = self.lock();
        let Some(found) = read(file)? else {
            let had = held.version > 0;
            drop(held);
            if had {
                tracing::warn!(
                    "`{}` is gone; what it said still holds, and is written again",
                    file.display()
                );
                self.change(|_| ())?;
            }
            return Ok(false);
        };
        let new = **held != found;
        if new {
            *held = Arc::new(found);
        }
        Ok(new)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Decisions>> {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None`: there is no file.
fn read(path: &Path) -> Result<Option<Decisions>, DataError> {
    let unknown = |why: String| DataError::Unknown {
        path: path.to_owned(),
        why,
    };
    let fault = |source| DataError::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    match file::open(path) {
        Ok((mut file, _)) => file.read_to_end(&mut bytes).map_err(fault)?,
        Err(LoadError::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(LoadError::Unreadable(error)) => return Err(fault(error)),
        Err(other) => return Err(unknown(other.to_string())),
    };
    let decisions: Decisions = serde_json::from_slice(&bytes).map_err(|error| unknown(error.to_string()))?;
    if decisions.version != VERSION {
        return Err(unknown(format!(
            "version {}, expected {VERSION}",
            decisions.version
        )));
    }
    Ok(Some(decisions))
}

/// Whole or not at all. Temporary files are for this user alone, and so is what they become.
fn write(file: &Path, decisions: &Decisions) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new()
        .prefix(private::DRAFT)
        .tempfile_in(folder)?;
    serde_json::to_writer_pretty(&mut draft, decisions)?;
    draft.write_all(b"\n")?;
    draft.as_file().sync_all()?;
    draft.persist(file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::{fs, os::unix::fs::MetadataExt};

    #[test]
    fn decisions_outlive_the_process_and_are_for_its_user_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state/lapwing");
        let data = Data::open(Some(&folder)).unwrap();
        assert!(!data.decisions().is_disabled("smtp", "d1"));
        data.change(|decisions| {
            decisions.disable("smtp", ["d1".to_owned()]);
            decisions.grants.insert("imap".into(), json!({"hosts": ["a:1"]}));
        })
        .unwrap();
        let again = Data::open(Some(&folder)).unwrap().decisions();
        assert!(again.is_disabled("smtp", "d2") && again.is_disabled("other", "d1"));
        assert_eq!(again.grants["imap"]["hosts"][0], "a:1");
        let mode = fs::metadata(folder.join("plugins.json")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn two_processes_do_not_undo_each_others_decisions() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        let (one, two) = (
            Data::open(Some(&folder)).unwrap(),
            Data::open(Some(&folder)).unwrap(),
        );
        one.change(|decisions| decisions.disable("a", [])).unwrap();
        two.change(|decisions| decisions.disable("b", [])).unwrap();
        assert_eq!(two.decisions().disabled.len(), 2);
        assert!(one.refresh().unwrap());
        assert_eq!(one.decisions().disabled.len(), 2);
        assert!(!one.refresh().unwrap());
    }

    #[test]
    fn a_file_that_was_switched_off_stays_so_under_another_name() {
        // As the version before wrote it.
        let mut decisions: Decisions =
            serde_json::from_value(json!({"version": 1, "disabled": ["old"]})).unwrap();
        assert!(decisions.is_disabled("old", "d0"));
        decisions.disable("smtp", ["d1".to_owned(), "d2".to_owned()]);
        assert!(decisions.is_disabled("smtp", "d3") && decisions.is_disabled("pop", "d1"));
        decisions.enable("pop", &["d1".to_owned()]);
        assert!(!decisions.is_disabled("pop", "d1") && decisions.is_disabled("pop", "d2"));
        decisions.enable("smtp", &[]);
        assert!(!decisions.is_disabled("smtp", "d2") && decisions.is_disabled("old", "d0"));
    }

    #[test]
    fn decisions_outlive_their_file_under_a_running_process() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        let data = Data::open(Some(&folder)).unwrap();
        assert!(!data.refresh().unwrap(), "there never was one");
        assert!(!folder.join("plugins.json").exists());
        data.change(|decisions| decisions.disable("smtp", [])).unwrap();
        fs::remove_file(folder.join("plugins.json")).unwrap();
        assert!(!data.refresh().unwrap());
        assert!(data.decisions().is_disabled("smtp", "d"));
        let again = Data::open(Some(&folder)).unwrap();
        assert!(again.decisions().is_disabled("smtp", "d"), "written again");
        fs::remove_file(folder.join("plugins.json")).unwrap();
        data.change(|decisions| decisions.disable("imap", [])).unwrap();
        assert!(data.decisions().is_disabled("smtp", "d"), "changed meanwhile");
        fs::rename(&folder, root.path().join("away")).unwrap();
        assert!(data.refresh().is_err() && data.change(|_| ()).is_err());
        assert!(data.decisions().is_disabled("smtp", "d"), "the whole folder");
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        drop(Data::open(Some(&folder)).unwrap());
        let file = folder.join("plugins.json");
        for text in ["{", r#"{"version":2}"#, r#"{"version":1,"x":1}"#] {
            fs::write(&file, text).unwrap();
            let error = Data::open(Some(&folder)).unwrap_err().to_string();
            assert!(
                error.contains("plugins.json") && error.contains("is not understood"),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        fs::remove_file(&file).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &file,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let error = Data::open(Some(&folder)).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
