//! Compiled plugins on disk: what was compiled once is loaded in milliseconds from then on.
//!
//! Machine code is not sandboxed by anything, so the folder belongs to this user alone, every entry carries a digest of
//! our own that is checked before a byte of it is mapped, and entries appear whole: written beside, synced, renamed. An
//! entry is two files: `KEY.cwasm`, the code, and `KEY.json`, what is known of it, written last. The key names the
//! component's digest and the engine's compatibility; what fits neither is compiled again, never tried.

pub(crate) mod private;

use crate::{
    compile::wire::Made,
    load::{LoadError, world::Facts},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};
use tempfile::{NamedTempFile, TempDir};
use tokio::io::AsyncWriteExt;
use wasmtime::{Engine, component::Component};

/// Version of the entries: of their format, and of how plugins are asked what they are. Another version's are other keys.
const FORMAT: u32 = 3;

/// What is known of one component's code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) made: Made,
    pub(crate) facts: Facts,
    /// BLAKE3 of the code, in hex.
    code: String,
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    most_bytes: u64,
    compatibility: String,
    /// Keys of what this process has mapped, counted.
    in_use: Mutex<HashMap<String, usize>>,
    /// The folder, when it is for this process only; removed with it.
    _temporary: Option<TempDir>,
}

/// Code on its way into the cache; dropped, it vanishes.
pub(crate) struct Draft {
    path: tempfile::TempPath,
    file: tokio::fs::File,
    hasher: blake3::Hasher,
    left: u64,
    most_mib: u64,
}

/// Names code built by engines like this one, as a part of file names.
pub(crate) fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    (FORMAT, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

impl Cache {
    /// Opens `folder`, or makes one for this process alone when there is none or it cannot be made. `Err` when the
    /// folder is there and others could write what this process would run.
    pub(crate) fn open(folder: Option<&Path>, most_mib: u32, engine: &Engine) -> Result<Self, String> {
        let (folder, temporary) = match folder.map(|folder| (folder, private::folder(folder))) {
            Some((folder, Ok(()))) => (folder.to_owned(), None),
            Some((_, Err(private::Refusal::Unsafe(why)))) => return Err(why),
            other => {
                let why = match other {
                    Some((_, Err(why))) => why.to_string(),
                    _ => "no folder is set".to_owned(),
                };
                tracing::warn!("plugins are compiled anew at every start: {why} (`plugins.cache`)");
                let temporary = tempfile::Builder::new().prefix("lapwing-plugins-").tempdir();
                let temporary = temporary.map_err(|error| format!("no temporary folder either: {error}"))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let cache = Self {
            folder,
            most_bytes: u64::from(most_mib) << 20,
            compatibility: compatibility(engine),
            in_use: Mutex::default(),
            _temporary: temporary,
        };
        private::sweep(&cache.folder, private::DRAFT);
        Ok(cache)
    }

    fn path(&self, digest: &str, extension: &str) -> PathBuf {
        self.folder
            .join(format!("{digest}-{}.{extension}", self.compatibility))
    }

    /// The component with this digest, when a whole and unharmed entry of it is here. A harmed one is removed. Blocks.
    pub(crate) fn load(&self, engine: &Engine, digest: &str) -> Option<(Component, Record)> {
        let (code, about) = (self.path(digest, "cwasm"), self.path(digest, "json"));
        match read(&code, &about).and_then(|record| Ok((map(engine, &code)?, record))) {
            Ok(found) => {
                // Lets the least lately used go first. Without it, the oldest do.
                let now = SystemTime::from(lapwing_model::Clock::now(&lapwing_model::SystemClock));
                let _ = File::options()
                    .append(true)
                    .open(&about)
                    .and_then(|file| file.set_modified(now));
                Some(found)
            }
            Err(why) => {
                if about.exists() {
                    tracing::warn!(digest, "cached code is not used, compiling again: {why}");
                    let _ = fs::remove_file(&about);
                    let _ = fs::remove_file(&code);
                }
                None
            }
        }
    }

    /// A place for code. Blocks.
    pub(crate) fn draft(&self) -> Result<Draft, LoadError> {
        let named = self.temp().map_err(|error| self.unkept(&error))?;
        let (file, path) = named.into_parts();
        Ok(Draft {
            path,
            file: file.into(),
            hasher: blake3::Hasher::new(),
            left: self.most_bytes,
            most_mib: self.most_bytes >> 20,
        })
    }

    /// Keeps a whole draft, and makes room when there is too much. Blocks.
    pub(crate) fn store(
        &self,
        draft: Draft,
        digest: &str,
        made: Made,
        facts: Facts,
    ) -> Result<(), LoadError> {
        let record = Record {
            made,
            facts,
            code: draft.hasher.finalize().to_hex().to_string(),
        };
        let mut about = serde_json::to_vec(&record).map_err(io::Error::other);
        let kept = about
            .as_mut()
            .map_err(|error| io::Error::other(error.to_string()))
            .and_then(|about| {
                let sum = blake3::hash(about).to_hex();
                let mut named = self.temp()?;
                writeln!(named, "{sum}")?;
                named.write_all(about)?;
                named.as_file().sync_all()?;
                draft.path.persist(self.path(digest, "cwasm"))?;
                named.persist(self.path(digest, "json"))?;
                File::open(&self.folder)?.sync_all()
            });
        kept.map_err(|error| self.unkept(&error))?;
        self.make_room();
        Ok(())
    }

    fn temp(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(private::DRAFT)
            .tempfile_in(&self.folder)
    }

    fn unkept(&self, error: &io::Error) -> LoadError {
        LoadError::Internal(format!(
            "compiled code cannot be kept in `{}`: {error}",
            self.folder.display()
        ))
    }

    /// Notes that code is mapped, until the guard is dropped.
    pub(crate) fn hold(self: &std::sync::Arc<Self>, digest: &str) -> Hold {
        *self.in_use().entry(digest.to_owned()).or_default() += 1;
        Hold {
            cache: self.clone(),
            digest: digest.to_owned(),
        }
    }

    fn in_use(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the least lately used entries until the rest fits. One that another process has mapped stays with that
    /// process: a mapped file lives on without its name.
    fn make_room(&self) {
        let used: HashSet<String> = self.in_use().keys().cloned().collect();
        let mut entries = self.entries();
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        entries.sort_by_key(|entry| entry.used);
        for entry in entries {
            if total <= self.most_bytes {
                return;
            }
            let ours = entry.about.to_string_lossy().contains(&self.compatibility);
            let digest = entry
                .about
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            let digest = digest
                .as_deref()
                .and_then(|name| name.split('-').next())
                .unwrap_or_default();
            if ours && used.contains(digest) {
                continue;
            }
            total = total.saturating_sub(entry.bytes);
            let _ = fs::remove_file(&entry.about);
            let _ = fs::remove_file(entry.about.with_extension("cwasm"));
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files
            .filter_map(|file| {
                let about = file.path();
                let metadata = file.metadata().ok()?;
                let code = fs::metadata(about.with_extension("cwasm")).map_or(0, |code| code.len());
                (about.extension()? == "json").then_some(())?;
                Some(Entry {
                    bytes: metadata.len() + code,
                    used: metadata.modified().ok()?,
                    about,
                })
            })
            .collect()
    }
}

/// One entry, as the folder shows it.
struct Entry {
    about: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// While it lives, an entry is not removed to make room.
#[derive(Debug)]
pub(crate) struct Hold {
    cache: std::sync::Arc<Cache>,
    digest: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut in_use = self.cache.in_use();
        if let Some(count) = in_use.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                in_use.remove(&self.digest);
            }
        }
    }
}

impl Draft {
    /// Appends code.
    pub(crate) async fn write(&mut self, part: &[u8]) -> Result<(), LoadError> {
        let Some(left) = self.left.checked_sub(part.len() as u64) else {
            let most = self.most_mib;
            return Err(LoadError::CompileLimit(format!(
                "{most} MiB of code (`plugins.cache_mib`)"
            )));
        };
        self.left = left;
        self.hasher.update(part);
        let written = self.file.write_all(part).await;
        written.map_err(|error| LoadError::Internal(format!("compiled code cannot be written: {error}")))
    }

    /// Everything is written.
    pub(crate) async fn finish(&mut self) -> Result<(), LoadError> {
        let synced = self.file.sync_all().await;
        synced.map_err(|error| LoadError::Internal(format!("compiled code cannot be written: {error}")))
    }
}

/// What an entry says, when both its files are as they were written.
fn read(code: &Path, about: &Path) -> Result<Record, String> {
    let text = |error: io::Error| error.to_string();
    let about = fs::read(about).map_err(text)?;
    let (sum, json) = about.split_at_checked(65).ok_or("it has no description")?;
    if sum != format!("{}\n", blake3::hash(json).to_hex()).as_bytes() {
        return Err("its description was changed".to_owned());
    }
    let record: Record = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let mut file = File::open(code).map_err(text)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let got = file.read(&mut buffer).map_err(text)?;
        if got == 0 {
            break;
        }
        hasher.update(buffer.get(..got).unwrap_or_default());
    }
    if hasher.finalize().to_hex().as_str() != record.code {
        return Err("its code was changed".to_owned());
    }
    Ok(record)
}

#[expect(unsafe_code, reason = "loading compiled code is what the cache is for")]
fn map(engine: &Engine, code: &Path) -> Result<Component, String> {
    // SAFETY: the file was written by our own compiler process into a folder that only this user can write, its digest
    // was just compared with the one taken then, and entries are replaced whole or unlinked, never written in place.
    let component = unsafe { Component::deserialize_file(engine, code) };
    component.map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn code_larger_than_the_cache_is_refused() {
        let cache = Cache::open(None, 1, &Engine::default()).unwrap();
        let mut draft = cache.draft().unwrap();
        draft.write(&vec![0; 1 << 20]).await.unwrap();
        let refusal = draft.write(b"x").await.unwrap_err().to_string();
        assert!(
            refusal.contains("1 MiB of code (`plugins.cache_mib`)"),
            "{refusal}"
        );
    }
}
