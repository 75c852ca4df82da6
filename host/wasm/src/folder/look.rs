//! What the file system shows of a plugin folder, and which of it is fit to be read at all.
//!
//! A plugin is code that will run here: a file that others could have put there or could change is not read. Blocks;
//! called by [`super::scan`].

use super::uploads;
use crate::{
    cache::private::{self, STICKY, open_to_others},
    load::{LoadError, file},
    trust::pins::Pins,
};
use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: Option<Marks>,
    /// The file a link leads to.
    target: Option<Marks>,
    signature: Option<Marks>,
    /// Why it is not to be read; also for what its folders are.
    pub(crate) unfit: Option<String>,
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
}

/// The folder at one moment.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: Vec<Look>,
    /// The SHA-256 in hex of each content that was uploaded and that nobody has let serve yet.
    pub(crate) held: BTreeSet<String>,
    /// Which folder it was: another of the same name is another. `None` when there never was one.
    pub(crate) folder: Option<(u64, u64)>,
}

/// Where the signature of a plugin file lies: beside it, as `FILE.minisig`.
pub fn signature_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// Looks at every plugin file and at the lock file, all of one and the same folder.
pub(crate) fn folder(path: &Path) -> io::Result<(Listing, Pins)> {
    let looked = (list(path)?, Pins::read(path));
    // One that went away meanwhile looks as if it had lost its files, or its pins.
    if Some(identity(path)?) == looked.0.folder {
        Ok(looked)
    } else {
        Err(io::Error::other("it is being replaced"))
    }
}

fn identity(folder: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(folder).map(|facts| (facts.dev(), facts.ino()))
}

/// Looks at every plugin file.
pub(crate) fn list(folder: &Path) -> io::Result<Listing> {
    let facts = fs::metadata(folder)?;
    private::way_to(folder, facts.uid()).map_err(|refusal| io::Error::other(refusal.to_string()))?;
    let identity = identity(folder)?;
    let root = fs::canonicalize(folder)?;
    let files = file::list_with_mistaken(folder)?;
    Ok(Listing {
        files: files.into_iter().map(|path| look(path, &root)).collect(),
        // After the files: an uploaded one is there only after its mark.
        held: uploads::marked(folder)?,
        folder: Some(identity),
    })
}

fn look(path: PathBuf, root: &Path) -> Look {
    let target = fs::metadata(&path);
    let modified = target.as_ref().ok().and_then(|target| target.modified().ok());
    Look {
        stamp: Stamp {
            file: fs::symlink_metadata(&path).as_ref().map(marks).ok(),
            target: target.as_ref().map(marks).ok(),
            signature: fs::metadata(signature_of(&path)).as_ref().map(marks).ok(),
            unfit: target
                .map_err(LoadError::Unreadable)
                .and_then(|target| fit(&path, &target, root))
                .err()
                .map(|error| error.to_string()),
        },
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

fn fit(path: &Path, target: &Metadata, root: &Path) -> Result<(), LoadError> {
    if !file::has_plain_name(path) {
        return Err(LoadError::Name);
    }
    if let Some(error) = file::mistaken(path) {
        return Err(error);
    }
    if !target.is_file() {
        return Err(LoadError::NotAFile);
    }
    let real = fs::canonicalize(path).map_err(LoadError::Unreadable)?;
    if !real.starts_with(root) {
        return Err(LoadError::Outside(real));
    }
    let keeper = keeper(path);
    let folders = real.ancestors().skip(1);
    folders
        .take_while(|folder| folder.starts_with(root))
        .try_for_each(|folder| closed(folder, keeper))?;
    owned(path)
}

/// Who owns the folder that `path` is listed in. Its files could be replaced by that user anyway, and the operator chose
/// it: a folder of one's own, mounted into a container that runs as root, has to do.
pub(super) fn keeper(path: &Path) -> Option<u32> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let facts = fs::metadata(folder.unwrap_or(Path::new(".")));
    facts.map(|facts| facts.uid()).ok()
}

/// Whether nobody else can put files into this folder in place of ours.
fn closed(folder: &Path, keeper: Option<u32>) -> Result<(), LoadError> {
    let facts = fs::metadata(folder).map_err(LoadError::Unreadable)?;
    if let Some(other) = stranger(&facts, keeper) {
        return Err(LoadError::ForeignFolder(folder.to_owned(), other));
    }
    match open_to_others(folder, &facts) {
        Some(mode) if mode & STICKY == 0 => Err(LoadError::OpenFolder(folder.to_owned(), mode)),
        _ => Ok(()),
    }
}

/// Whether nobody else can change the file at `path`, which these facts are of.
pub(crate) fn own(path: &Path, facts: &Metadata) -> Result<(), LoadError> {
    if let Some(other) = stranger(facts, keeper(path)) {
        return Err(LoadError::Foreign(other));
    }
    open_to_others(path, facts).map_or(Ok(()), |mode| Err(LoadError::OpenFile(mode)))
}

/// As [`own`], and the link that leads to it: its owner can lead it elsewhere between this look and the reading.
fn owned(path: &Path) -> Result<(), LoadError> {
    let link = fs::symlink_metadata(path).map_err(LoadError::Unreadable)?;
    let stranger = stranger(&link, keeper(path));
    stranger.map_or(Ok(()), |other| Err(LoadError::Foreign(other)))?;
    own(path, &fs::metadata(path).map_err(LoadError::Unreadable)?)
}

/// The owner, unless that is root, who runs this, or the keeper of the folder.
pub(super) fn stranger(facts: &Metadata, keeper: Option<u32>) -> Option<u32> {
    let me = rustix::process::geteuid().as_raw();
    Some(facts.uid()).filter(|uid| ![0, me].contains(uid) && Some(*uid) != keeper)
}

/// A text of at most `limit_kib` beside the plugins, by the rules for them: nobody else has a say in what it says.
/// Blocks.
pub(crate) fn text(path: &Path, limit_kib: u32) -> Result<String, LoadError> {
    // Whose it is comes first: what is passed over for that must not be in the way.
    owned(path)?;
    let (file, facts) = file::open(path)?;
    own(path, &facts)?;
    let limit = u64::from(limit_kib) << 10;
    let mut text = String::new();
    let read = file.take(limit + 1).read_to_string(&mut text);
    let length = read.map_err(LoadError::Unreadable)?;
    if length as u64 > limit {
        let why = format!("larger than {limit_kib} KiB");
        return Err(LoadError::Unreadable(io::Error::other(why)));
    }
    Ok(text)
}

/// How long ago a file was changed, by its own word; zero when that lies in the future.
pub(crate) fn age(modified: SystemTime) -> Duration {
    let now = SystemTime::from(lapwing_model::Clock::now(&lapwing_model::SystemClock));
    now.duration_since(modified).unwrap_or_default()
}
