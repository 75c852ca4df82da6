//! Reading a plugin file, and telling what it is before anything is compiled.

use super::LoadError;
use bytes::Bytes;
use lapwing_checks::text::disturbs;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
};
use wasmtime::Engine;

/// A file's bytes and their name.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) bytes: Bytes,
    /// SHA-256 in hex.
    pub(crate) digest: String,
    /// Of the file that was read, whatever has its name now.
    pub(crate) facts: Metadata,
}

/// The plugin files of a folder by name: `*.wasm`, without dotfiles. Blocks.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = list_with_mistaken(folder)?;
    files.retain(|path| mistaken(path).is_none());
    Ok(files)
}

/// Why a file cannot be a plugin, going by its name alone.
pub(crate) fn mistaken(path: &Path) -> Option<LoadError> {
    match path.extension()?.to_str()? {
        "wat" => Some(LoadError::Text),
        "cwasm" => Some(LoadError::Precompiled),
        _ => None,
    }
}

/// As [`list`], with what somebody may have taken for a plugin. Blocks.
pub(crate) fn list_with_mistaken(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_plugin = path.extension().is_some_and(|extension| extension == "wasm");
        if !hidden && (is_plugin || mistaken(&path).is_some()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file's name is plain text, so that it can be shown and pinned.
pub(crate) fn has_plain_name(path: &Path) -> bool {
    path.file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|name| !name.contains(disturbs))
}

/// Opens a regular file, without ever waiting for anybody, and looks at what it opened. Blocks.
pub(crate) fn open(path: &Path) -> Result<(File, Metadata), LoadError> {
    let regular = |facts: io::Result<Metadata>| {
        let facts = facts.map_err(LoadError::Unreadable)?;
        if facts.is_file() {
            Ok(facts)
        } else {
            Err(LoadError::NotAFile)
        }
    };
    // Asked before, as opening a device can do something, and after, as it may be another by then.
    regular(path.metadata())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(file.map_err(|error| LoadError::Unreadable(error.into()))?);
    let facts = regular(file.metadata())?;
    Ok((file, facts))
}

/// Reads a regular file of at most `limit_mib`. Blocks.
///
/// No more than its length is read: the files of /proc, some of which block for ever, have none.
pub(crate) fn read(path: &Path, limit_mib: u32) -> Result<Content, LoadError> {
    let (file, facts) = open(path)?;
    if facts.len() == 0 {
        return Err(LoadError::Empty);
    }
    if facts.len() > u64::from(limit_mib) << 20 {
        return Err(LoadError::TooLarge(limit_mib));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(facts.len()).unwrap_or(0));
    file.take(facts.len())
        .read_to_end(&mut bytes)
        .map_err(LoadError::Unreadable)?;
    let digest = hex::encode(Sha256::digest(&bytes));
    Ok(Content {
        bytes: bytes.into(),
        digest,
        facts,
    })
}

/// Refuses what is no component, by its first bytes.
pub(crate) fn classify(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.is_empty() {
        return Err(LoadError::Empty);
    }
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(LoadError::Precompiled);
    }
    // The binary format's preamble: magic, version, layer (0 a module, 1 a component).
    match bytes.strip_prefix(b"\0asm") {
        Some([0x0d, 0, 1, 0, ..]) => Ok(()),
        Some([_, _, 0, 0, ..]) => Err(LoadError::CoreModule),
        Some([_, _, _, _, ..]) => Err(LoadError::Invalid(
            "of an unknown version of the binary format".to_owned(),
        )),
        Some(_) => Err(LoadError::Truncated),
        None if looks_like_text(bytes) => Err(LoadError::Text),
        None => Err(LoadError::NotWasm),
    }
}

fn looks_like_text(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    text.starts_with(b"(") || text.starts_with(b";;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_of_file_has_its_own_reason() {
        for (bytes, reason) in [
            (&b""[..], "empty"),
            (b"\x7fELF\x02\x01\x01", "not WebAssembly"),
            (b"PK\x03\x04", "not WebAssembly"),
            (b"  (component)", "text"),
            (b";; hello\n(component)", "text"),
            (b"\0asm\x01\0\0\0", "core module"),
            (b"\0asm\x0d", "truncated"),
            (b"\0asm\x0e\0\x01\0", "unknown version"),
        ] {
            let error = classify(bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{bytes:?}: {error}");
        }
        assert!(classify(b"\0asm\x0d\0\x01\0").is_ok());
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path(), 1), Err(LoadError::NotAFile)));
        assert!(matches!(
            read(&folder.path().join("none.wasm"), 1),
            Err(LoadError::Unreadable(_))
        ));
        let large = folder.path().join("large.wasm");
        std::fs::write(&large, vec![0; (1 << 20) + 1]).unwrap();
        assert!(matches!(read(&large, 1), Err(LoadError::TooLarge(1))));
        assert_eq!(read(&large, 2).unwrap().bytes.len(), (1 << 20) + 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_never_ends_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("kmsg.wasm");
        std::os::unix::fs::symlink("/proc/kmsg", &link).unwrap();
        assert!(matches!(read(&link, 1), Err(LoadError::Empty)));
    }

    #[test]
    fn dotfiles_and_other_names_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.wasm", "a.wasm", ".c.wasm", "d.wat", "e.cwasm", "wasm"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names = |files: io::Result<Vec<PathBuf>>| -> Vec<_> {
            let files = files.unwrap();
            files
                .iter()
                .map(|path| path.file_name().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names(list(folder.path())), ["a.wasm", "b.wasm"]);
        let more = names(list_with_mistaken(folder.path()));
        assert_eq!(more, ["a.wasm", "b.wasm", "d.wat", "e.cwasm"]);
    }
}
