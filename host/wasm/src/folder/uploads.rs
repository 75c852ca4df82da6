//! What uploads leave in the folder beside plugin files: drafts, and a mark for each content that nobody has let serve yet.
//!
//! The mark of a content is an empty file, `.uploaded-` and its SHA-256. It lies in the folder itself, so that whoever
//! serves from there heeds it, whatever decisions that process has. Blocks.

use super::look;
use crate::cache::private;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// How the names of files begin that are being uploaded: no scan of the folder looks at them.
const DRAFT: &str = ".upload-";
/// How the names of marks begin.
const MARK: &str = ".uploaded-";

/// A file to write an upload to, of this user alone; gone when it is dropped.
pub(super) fn draft(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(DRAFT).tempfile_in(folder)
}

/// Removes what uploads left behind that ended with their process.
pub(super) fn sweep(folder: &Path) {
    private::sweep(folder, DRAFT);
}

/// What marks are called by; [`is_marked`] tells whether they are any.
pub(super) fn marked(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let digest = name.to_str().and_then(|name| name.strip_prefix(MARK));
        found.extend(digest.map(str::to_owned));
    }
    Ok(found)
}

/// Whether the content with this SHA-256 (hex) is marked. A mark of somebody whose plugin files would be refused marks nothing.
pub(super) fn is_marked(folder: &Path, digest: &str) -> bool {
    let mark = path(folder, digest);
    fs::symlink_metadata(&mark).is_ok_and(|facts| look::stranger(&facts, look::keeper(&mark)).is_none())
}

/// Marks a content, for good before this returns.
pub(super) fn mark(folder: &Path, digest: &str) -> io::Result<()> {
    File::create(path(folder, digest))?;
    File::open(folder)?.sync_all()
}

/// Takes the mark away, if there is one.
pub(super) fn unmark(folder: &Path, digest: &str) -> io::Result<()> {
    match fs::remove_file(path(folder, digest)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the mark of a content lies.
pub(super) fn path(folder: &Path, digest: &str) -> PathBuf {
    folder.join(format!("{MARK}{digest}"))
}
