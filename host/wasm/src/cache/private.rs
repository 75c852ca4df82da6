//! Folders and files that belong to this user alone.

use std::{
    fmt, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

/// Why a folder is not used.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is not there and cannot be made, or cannot be written.
    Absent(String),
    /// Others could change what is in it; the text says what to do.
    Unsafe(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(why) | Self::Unsafe(why) => f.write_str(why),
        }
    }
}

/// Makes `folder` (mode 700) when it is not there, and sees that nobody else has a say in it. Blocks.
pub(crate) fn folder(folder: &Path) -> Result<(), Refusal> {
    let name = folder.display();
    let absent = |error: io::Error| Refusal::Absent(format!("folder `{name}` cannot be made: {error}"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(absent)?;
    let metadata = fs::symlink_metadata(folder).map_err(absent)?;
    if !metadata.is_dir() {
        return Err(Refusal::Unsafe(format!(
            "`{name}` is a link, not a folder; name the folder itself"
        )));
    }
    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() != me {
        return Err(Refusal::Unsafe(format!(
            "folder `{name}` belongs to user {}, not to {me} who runs this; give it away with `chown`, or name another",
            metadata.uid()
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Refusal::Unsafe(format!(
            "folder `{name}` is open to others (mode {:03o}); close it with `chmod 700`",
            metadata.mode() & 0o777
        )));
    }
    tempfile::Builder::new()
        .prefix(".draft-")
        .tempfile_in(folder)
        .map(drop)
        .map_err(|error| Refusal::Absent(format!("folder `{name}` cannot be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn folders_that_others_can_enter_are_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        folder(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        folder(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let refusal = folder(&path).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Unsafe(why) if why.contains("mode 750")),
            "{refusal}"
        );
        let link = root.path().join("link");
        std::os::unix::fs::symlink(root.path().join("a"), &link).unwrap();
        assert!(matches!(folder(&link), Err(Refusal::Unsafe(_))));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_apart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(folder(&file.path().join("a")), Err(Refusal::Absent(_))));
    }
}
