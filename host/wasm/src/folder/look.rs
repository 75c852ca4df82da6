//! What the file system shows of a plugin folder, and which of it is fit to be read at all.
//!
//! A plugin is code that will run here: a file that others could have put there or could change is not read. Blocks;
//! called by [`super::scan`].

use crate::load::{LoadError, file};
use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: Option<Marks>,
    /// The file a link leads to.
    target: Option<Marks>,
    signature: Option<Marks>,
}

/// Device, inode, size, times of change in nanoseconds, mode and owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks(u64, u64, u64, i128, i128, u32, u32);

/// One file of the folder.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
    pub(crate) modified: SystemTime,
    /// Why it is not to be read.
    pub(crate) unfit: Option<LoadError>,
}

/// The folder at one moment.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: Vec<Look>,
    /// Which folder it was: another of the same name is another.
    pub(crate) folder: Option<(u64, u64)>,
}

/// Where the signature of a plugin file lies: beside it, as `FILE.minisig`.
pub fn signature_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// Looks at every plugin file. A folder that does not exist is an empty one.
pub(crate) fn list(folder: &Path) -> io::Result<Listing> {
    let metadata = match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
        other => other?,
    };
    let root = fs::canonicalize(folder)?;
    let files = file::list(folder)?;
    Ok(Listing {
        files: files
            .into_iter()
            .map(|path| look(path, &root, &metadata))
            .collect(),
        folder: Some((metadata.dev(), metadata.ino())),
    })
}

fn look(path: PathBuf, root: &Path, folder: &Metadata) -> Look {
    let target = fs::metadata(&path);
    let stamp = Stamp {
        file: fs::symlink_metadata(&path).as_ref().map(marks).ok(),
        target: target.as_ref().map(marks).ok(),
        signature: fs::metadata(signature_of(&path)).as_ref().map(marks).ok(),
    };
    let modified = target.as_ref().ok().and_then(|target| target.modified().ok());
    Look {
        unfit: target
            .map_err(LoadError::Unreadable)
            .and_then(|target| fit(&path, &target, root, folder))
            .err(),
        stamp,
        modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
        path,
    }
}

fn marks(of: &Metadata) -> Marks {
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Marks(
        of.dev(),
        of.ino(),
        of.len(),
        nanoseconds(of.mtime(), of.mtime_nsec()),
        nanoseconds(of.ctime(), of.ctime_nsec()),
        of.mode(),
        of.uid(),
    )
}

/// Others' write permission, and the bit that keeps them from each other's files in a shared folder.
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

fn fit(path: &Path, target: &Metadata, root: &Path, folder: &Metadata) -> Result<(), LoadError> {
    if !target.is_file() {
        return Err(LoadError::NotAFile);
    }
    let real = fs::canonicalize(path).map_err(LoadError::Unreadable)?;
    if !real.starts_with(root) {
        return Err(LoadError::Outside(real));
    }
    let shared = folder.mode() & OTHERS_WRITE != 0;
    if shared && folder.mode() & STICKY == 0 {
        return Err(LoadError::OpenFolder(root.to_owned(), folder.mode() & 0o7777));
    }
    own(path, target, folder)
}

/// Whether nobody else could have put the file there, or could change it.
fn own(path: &Path, target: &Metadata, folder: &Metadata) -> Result<(), LoadError> {
    let me = rustix::process::geteuid().as_raw();
    if folder.mode() & OTHERS_WRITE != 0 {
        // A link, too: who owns it can lead it elsewhere between this look and the reading.
        let link = fs::symlink_metadata(path).map_err(LoadError::Unreadable)?;
        if let Some(other) = [target.uid(), link.uid()]
            .into_iter()
            .find(|uid| ![0, me].contains(uid))
        {
            return Err(LoadError::Foreign(other));
        }
    }
    if target.mode() & OTHERS_WRITE != 0 {
        return Err(LoadError::OpenFile(target.mode() & 0o7777));
    }
    Ok(())
}

/// The facts of the signature of the plugin file `path`, by the rules for plugin files: nobody else must be able to bar
/// a plugin by what lies beside it. Blocks.
pub(crate) fn signature(path: &Path) -> Result<Metadata, LoadError> {
    let name = signature_of(path);
    let facts = fs::metadata(&name).map_err(LoadError::Unreadable)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::metadata(folder.unwrap_or(Path::new("."))).map_err(LoadError::Unreadable)?;
    own(&name, &facts, &folder).map(|()| facts)
}

/// How long ago a file was changed, by its own word; zero when that lies in the future.
pub(crate) fn age(modified: SystemTime) -> Duration {
    let now = SystemTime::from(lapwing_model::Clock::now(&lapwing_model::SystemClock));
    now.duration_since(modified).unwrap_or_default()
}
