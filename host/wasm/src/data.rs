//! What operators decided, kept over restarts: plugins that are switched off, approvals, grants.
//!
//! One file, `plugins.json`, in a folder of this user alone; written whole, read again before each change, so that two
//! processes of one user do not undo each other's. Approvals and grants are kept as they come: what they mean is known
//! to who grants and asks.

use crate::cache::private;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The version this program writes and reads.
const VERSION: u32 = 1;

/// What operators decided.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decisions {
    version: u32,
    /// Plugins that must not serve, by name.
    disabled: BTreeSet<String>,
    /// Files that must not serve whatever they call themselves: the SHA-256 in hex of each, with the name it was
    /// switched off by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    disabled_files: BTreeMap<String, String>,
    /// Files that came by upload and that nobody has let serve yet: the SHA-256 in hex of each.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    uploaded: BTreeSet<String>,
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
        self.disabled.contains(name)
            || self.disabled_files.contains_key(digest)
            || self.uploaded.contains(digest)
    }

    /// Switches the plugin `name` off, and each of its `files` whatever it calls itself from then on.
    pub fn disable(&mut self, name: &str, files: impl IntoIterator<Item = String>) {
        self.disabled.insert(name.to_owned());
        let files = files.into_iter().map(|digest| (digest, name.to_owned()));
        self.disabled_files.extend(files);
    }

    /// Keeps a file that was uploaded from serving until it is let serve. Others of its name are not concerned.
    pub fn hold(&mut self, digest: &str) {
        self.uploaded.insert(digest.to_owned());
    }

    /// As if it had not been uploaded.
    pub fn release(&mut self, digest: &str) {
        self.uploaded.remove(digest);
    }

    /// Switches the plugin `name` on again, its `files`, and all that were switched off with it. A file that was uploaded
    /// comes with it only when it is the only one of that name: of several somebody has to say which was looked at.
    pub fn enable(&mut self, name: &str, files: &[String]) {
        self.disabled.remove(name);
        self.disabled_files.retain(|_, by| by != name);
        for digest in files {
            self.disabled_files.remove(digest);
        }
        if let [only] = files {
            self.uploaded.remove(only);
        }
    }

    /// Switches one file of the plugin `name` on, and what was put in the folder under that name since.
    pub fn enable_file(&mut self, name: &str, digest: &str) {
        self.disabled.remove(name);
        self.disabled_files.remove(digest);
        self.uploaded.remove(digest);
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
        let file = folder.join("plugins.json");
        Ok(Self {
            decisions: Mutex::new(Arc::new(read(&file)?)),
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
        let mut decisions = read(file)?;
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
        let found = read(file)?;
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

fn read(file: &Path) -> Result<Decisions, DataError> {
    let unknown = |why: String| DataError::Unknown {
        path: file.to_owned(),
        why,
    };
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Decisions {
                version: VERSION,
                ..Decisions::default()
            });
        }
        Err(source) => {
            return Err(DataError::Io {
                path: file.to_owned(),
                source,
            });
        }
    };
    let decisions: Decisions = serde_json::from_slice(&bytes).map_err(|error| unknown(error.to_string()))?;
    if decisions.version != VERSION {
        return Err(unknown(format!(
            "version {}, expected {VERSION}",
            decisions.version
        )));
    }
    Ok(decisions)
}

/// Whole or not at all. Temporary files are for this user alone, and so is what they become.
fn write(file: &Path, decisions: &Decisions) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new().prefix(".draft-").tempfile_in(folder)?;
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
    use std::os::unix::fs::MetadataExt;

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
    fn an_uploaded_file_says_nothing_of_its_name_and_waits_for_its_digest() {
        let mut decisions = Decisions::default();
        let both = ["d1".to_owned(), "d2".to_owned()];
        decisions.hold("d1");
        assert!(decisions.is_disabled("smtp", "d1") && !decisions.is_disabled("smtp", "d2"));
        decisions.disable("smtp", both.clone());
        decisions.enable("smtp", &both);
        assert!(
            decisions.is_disabled("smtp", "d1"),
            "nobody said that it is the one"
        );
        assert!(!decisions.is_disabled("smtp", "d2"));
        decisions.enable_file("smtp", "d1");
        assert_eq!(decisions, Decisions::default());
        decisions.hold("d1");
        decisions.enable("smtp", &both[..1]);
        assert_eq!(decisions, Decisions::default(), "the only one of its name");
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
    }
}
