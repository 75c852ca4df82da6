//! `plugins.lock`: the digests that the files of a plugin folder must have.
//!
//! A line for each file, as `sha256sum` writes it: digest, blanks, file name. `#` begins a comment. One file may have
//! several lines, so that a new version can be pinned before it is copied.

use crate::{
    folder::look,
    load::{LoadError, file},
    text,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs, io,
    path::Path,
};

/// The file's name.
pub const LOCK: &str = "plugins.lock";

/// Largest lock file; a line has some 100 bytes.
const LOCK_KIB: u32 = 1 << 10;

/// What the lock file of a folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pins {
    /// There is none.
    Absent,
    /// The digests of each file.
    Pinned(BTreeMap<String, BTreeSet<String>>),
    /// It cannot be used, and so no file can; why.
    Broken(String),
}

impl Pins {
    /// Reads a folder's lock file. Blocks.
    pub(crate) fn read(folder: &Path) -> Self {
        let path = folder.join(LOCK);
        match look::text(&path, LOCK_KIB) {
            Ok(text) => Self::parse(&text),
            // A link that leads nowhere is no word that there are no pins.
            Err(_) if is_absent(&path) => Self::Absent,
            Err(error) => Self::Broken(format!("the lock file: {error}")),
        }
    }

    fn parse(text: &str) -> Self {
        let mut pinned = BTreeMap::<_, BTreeSet<_>>::new();
        for (index, line) in text.lines().enumerate() {
            match entry(line) {
                Some(Ok((digest, name))) => {
                    pinned
                        .entry(name.to_owned())
                        .or_default()
                        .insert(digest.to_ascii_lowercase());
                }
                Some(Err(())) => {
                    return Self::Broken(format!("line {} is not `sha256  file-name`", index + 1));
                }
                None => {}
            }
        }
        Self::Pinned(pinned)
    }

    /// Whether a file with this digest may be loaded.
    pub(crate) fn judge(&self, path: &Path, digest: &str, required: bool) -> Result<(), LoadError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let why = match self {
            Self::Absent if !required => return Ok(()),
            Self::Absent => "there is none".to_owned(),
            Self::Broken(why) => why.clone(),
            Self::Pinned(pinned) if pinned.get(&*name).is_some_and(|pins| pins.contains(digest)) => {
                return Ok(());
            }
            Self::Pinned(_) => format!("if you trust the file, add `{digest}  {name}`"),
        };
        Err(LoadError::Unpinned(why))
    }
}

fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// A line's digest and file name; `None` when it has neither.
fn entry(line: &str) -> Option<Result<(&str, &str), ()>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let parts = line.split_once(char::is_whitespace);
    // `sha256sum --binary` puts a star before the name.
    let parts = parts.map(|(digest, name)| (digest, name.trim_start().trim_start_matches('*')));
    Some(
        parts
            .filter(|(digest, _)| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .ok_or(()),
    )
}

/// Pins every plugin file of `folder` as it is now: comments stay, files that are gone go. Returns the number of files
/// pinned. Blocks.
pub fn lock(folder: &Path) -> io::Result<usize> {
    let path = folder.join(LOCK);
    let before = match look::text(&path, LOCK_KIB) {
        Ok(text) => text,
        Err(_) if is_absent(&path) => {
            "# The plugins that may be loaded from this folder: sha256, file name. Written by `lapwing plugin lock`.\n"
                .to_owned()
        }
        Err(error) => return Err(named(&path, &error)),
    };
    let mut text: String = before
        .lines()
        .filter(|line| entry(line).is_none())
        .flat_map(|line| [line, "\n"])
        .collect();
    let files = file::list(folder)?;
    for path in &files {
        let digest = digest(path).map_err(|error| named(path, &error))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let _ = writeln!(text, "{digest}  {name}");
    }
    let draft = tempfile::Builder::new()
        .prefix(".plugins.lock-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)?;
    fs::write(draft.path(), text)?;
    draft.persist(path)?;
    Ok(files.len())
}

/// The digest of a file that can be pinned.
fn digest(path: &Path) -> Result<String, LoadError> {
    if !file::has_plain_name(path) {
        return Err(LoadError::Name);
    }
    file::read(path, u32::MAX).map(|content| content.digest)
}

fn named(path: &Path, error: &LoadError) -> io::Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    io::Error::other(text::line(&format!("`{name}`: {error}"), 1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn a_digest_must_be_pinned_under_its_own_name() {
        let (one, two) = ("1".repeat(64), "A".repeat(64));
        let pins = Pins::parse(&format!(
            "# ours\n\n{one}  a.wasm\n{two} *a.wasm\n{one}  b c.wasm\n"
        ));
        let judge = |name: &str, digest: &str| pins.judge(Path::new(name), digest, false);
        assert!(judge("/x/a.wasm", &one).is_ok());
        assert!(judge("/x/a.wasm", &"a".repeat(64)).is_ok());
        assert!(judge("b c.wasm", &one).is_ok());
        let refusal = judge("b c.wasm", &"a".repeat(64)).unwrap_err().to_string();
        assert!(
            refusal.contains(&format!("add `{}  b c.wasm`", "a".repeat(64))),
            "{refusal}"
        );
        assert!(judge("d.wasm", &one).is_err());
    }

    #[test]
    fn without_a_lock_file_pins_are_asked_for_only_when_required() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::read(folder.path());
        assert!(pins.judge(Path::new("a.wasm"), "", false).is_ok());
        assert!(pins.judge(Path::new("a.wasm"), "", true).is_err());
    }

    #[test]
    fn a_broken_lock_file_lets_nothing_pass() {
        let pins = Pins::parse("hello\n");
        let refusal = pins
            .judge(Path::new("a.wasm"), "", false)
            .unwrap_err()
            .to_string();
        assert!(refusal.contains("line 1 is not `sha256  file-name`"), "{refusal}");
    }

    #[test]
    fn locking_pins_what_is_there_and_keeps_comments() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a.wasm", "b.wasm", "c.txt"] {
            fs::write(path(name), name).unwrap();
        }
        assert_eq!(lock(folder.path()).unwrap(), 2);
        fs::remove_file(path("b.wasm")).unwrap();
        fs::write(path("a.wasm"), "new").unwrap();
        let mut text = fs::read_to_string(path(LOCK)).unwrap();
        text.insert_str(0, "# mine\n");
        fs::write(path(LOCK), text).unwrap();
        assert_eq!(lock(folder.path()).unwrap(), 1);
        let text = fs::read_to_string(path(LOCK)).unwrap();
        assert!(text.starts_with("# mine\n# The plugins"), "{text}");
        let digest = hex::encode(Sha256::digest("new"));
        assert!(text.ends_with(&format!("\n{digest}  a.wasm\n")), "{text}");
        assert!(
            Pins::read(folder.path())
                .judge(&path("a.wasm"), &digest, true)
                .is_ok()
        );
    }

    #[test]
    fn a_lock_file_that_is_none_or_that_others_could_have_written_lets_nothing_pass() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        let refusal = || {
            let judged = Pins::read(folder.path()).judge(Path::new("a.wasm"), "", false);
            judged.unwrap_err().to_string()
        };
        let refused = |why: &str| {
            let refusal = refusal();
            assert!(refusal.contains(why), "{why}: {refusal}");
            fs::remove_file(&path).unwrap();
        };
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, 0o600.into(), 0).unwrap();
        refused("not a regular file");
        symlink("/dev/zero", &path).unwrap();
        refused("writable by others (mode 666)");
        symlink("none", &path).unwrap();
        refused("cannot be read");
        fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
        refused("larger than 1024 KiB");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
        refused("writable by others (mode 646)");
        fs::write(&path, "").unwrap();
        // Who is not root cannot give files away.
        if chown(&path, Some(12_345), None).is_ok() {
            refused("belongs to user 12345");
        }
    }

    #[test]
    fn what_cannot_be_pinned_is_told_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let forged = folder.path().join(format!("a\n{}  evil.wasm", "1".repeat(64)));
        fs::write(&forged, "").unwrap();
        let error = lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains("its name "), "{error}");
        fs::remove_file(forged).unwrap();
        let fifo = (folder.path().join("b.wasm"), rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo.0, fifo.1, 0o600.into(), 0).unwrap();
        let error = lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains("`b.wasm`: not a regular file"), "{error}");
        assert!(!folder.path().join(LOCK).exists());
    }
}
