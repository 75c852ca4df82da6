//! Folders and files that belong to this user alone.

use std::{
    fmt, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
    time::Duration,
};

/// How the names of files begin that are not whole yet.
pub(crate) const DRAFT: &str = ".draft-";
/// The age at which they never will be.
const STALE: Duration = Duration::from_hours(1);

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
    way_to(folder, me)?;
    tempfile::Builder::new()
        .prefix(DRAFT)
        .tempfile_in(folder)
        .map(drop)
        .map_err(|error| Refusal::Absent(format!("folder `{name}` cannot be written: {error}")))
}

/// Removes the files of `folder` whose names begin so and that nobody has touched for an hour: who wrote them is gone. Blocks.
pub(crate) fn sweep(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(prefix);
        let modified = entry
            .metadata()
            .ok()
            .filter(fs::Metadata::is_file)
            .and_then(|facts| facts.modified().ok());
        let age = modified.and_then(|at| at.elapsed().ok());
        if ours && age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether nobody but root, who runs this, and `keeper`, who may own `folder`, can put another folder in its place. Blocks.
pub(crate) fn way_to(folder: &Path, keeper: u32) -> Result<(), Refusal> {
    // As it is named, and where links on that way lead.
    let ways = [std::path::absolute(folder), fs::canonicalize(folder)];
    for way in ways {
        let way = way.map_err(|error| Refusal::Absent(format!("`{}`: {error}", folder.display())))?;
        let mut owner = keeper;
        for parent in way.ancestors().skip(1) {
            owner = guarded(parent, folder, keeper, owner)?;
        }
    }
    Ok(())
}

/// Whoever may rename what is in `parent` may put another folder in the place of `folder`. With the sticky bit others may
/// not; but where anybody could have made it, it has to be ours: `owner` is whose what lies there is. The parent's owner.
fn guarded(parent: &Path, folder: &Path, keeper: u32, owner: u32) -> Result<u32, Refusal> {
    let (name, above) = (folder.display(), parent.display());
    let me = rustix::process::geteuid().as_raw();
    let facts = fs::metadata(parent)
        .map_err(|error| Refusal::Absent(format!("folder `{above}` cannot be looked at: {error}")))?;
    if ![0, me, keeper].contains(&facts.uid()) {
        return Err(Refusal::Unsafe(format!(
            "folder `{name}` lies in `{above}`, which belongs to user {} and not to {me} who runs this; name one that lies elsewhere",
            facts.uid()
        )));
    }
    let ours = [0, me].contains(&owner);
    match open_to_others(parent, &facts) {
        Some(mode) if mode & STICKY == 0 || !ours => Err(Refusal::Unsafe(format!(
            "folder `{name}` lies in `{above}`, where others may put another in its place (mode {:03o}); close that with `chmod go-w`, or name one that lies elsewhere",
            mode & 0o1777
        ))),
        _ => Ok(facts.uid()),
    }
}

/// The bit that keeps others from each other's files in a shared folder.
pub(crate) const STICKY: u32 = 0o1000;

/// The mode, if more than the owner may write what is at `path`. A group with its owner's number is the owner's alone, by
/// custom, and root's group is root: who works with a umask of 002 is not kept out. Where there is an access list
/// (acl(5)), the group's bits are what any user named there may do at most. Blocks.
pub(crate) fn open_to_others(path: &Path, facts: &fs::Metadata) -> Option<u32> {
    let mode = facts.mode() & 0o7777;
    let alone = || [0, facts.uid()].contains(&facts.gid()) && !has_access_list(path);
    let open = mode & 0o002 != 0 || mode & 0o020 != 0 && !alone();
    open.then_some(mode)
}

fn has_access_list(path: &Path) -> bool {
    let none: &mut [u8] = &mut [];
    rustix::fs::getxattr(path, "system.posix_acl_access", none).is_ok()
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
    fn a_folder_that_others_can_put_another_in_the_place_of_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let open = root.path().join("open");
        let path = open.join("a/b");
        folder(&path).unwrap();
        for (mode, refused) in [(0o777, true), (0o1777, false), (0o755, false)] {
            fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
            let why = folder(&path).err().map(|refusal| refusal.to_string());
            assert_eq!(why.is_some(), refused, "{mode:o}: {why:?}");
            let named =
                why.is_none_or(|why| why.contains(&*open.to_string_lossy()) && why.contains("mode 777"));
            assert!(named, "the folder above is named");
        }
    }

    #[test]
    fn only_old_drafts_are_swept_away() {
        let folder = tempfile::tempdir().unwrap();
        for (name, age) in [
            (".draft-old", STALE * 2),
            (".draft-new", Duration::ZERO),
            ("smtp.wasm", STALE * 2),
        ] {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            let now = file.metadata().unwrap().modified().unwrap();
            file.set_modified(now - age).unwrap();
        }
        sweep(folder.path(), DRAFT);
        let there = |name: &str| folder.path().join(name).exists();
        assert!(!there(".draft-old") && there(".draft-new") && there("smtp.wasm"));
        sweep(&folder.path().join("nowhere"), DRAFT);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_apart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(folder(&file.path().join("a")), Err(Refusal::Absent(_))));
    }
}
