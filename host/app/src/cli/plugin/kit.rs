//! What `plugin new` writes and `plugin build` reads: the SDKs and templates of `sdk/` and `plugins/sdk`, embedded, so that
//! a project is complete with nothing but the public registries.

mod files;

use anyhow::{Context, bail};
use clap::ValueEnum;
use files::File;
use serde::Deserialize;
use std::{fs, path::Path};

/// A language that plugins are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    /// Rust: small and fast, the usual choice
    Rust,
    /// JavaScript or TypeScript: a component of 12 MB
    Js,
    /// Python: a component of 18 MB
    Python,
    /// C: the smallest
    C,
}

/// `plugin.toml`, the file that makes a folder a plugin's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Project {
    /// What the component is called.
    pub(crate) name: String,
    /// What it is written in.
    pub(crate) language: Language,
}

impl Project {
    /// Reads `folder/plugin.toml`.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("plugin.toml");
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read `{}`: is this a folder made by `lapwing plugin new`?",
                path.display()
            )
        })?;
        let project: Self = toml::from_str(&text)
            .with_context(|| format!("`{}` must hold `name` and `language`", path.display()))?;
        check_name(&project.name)?;
        Ok(project)
    }
}

impl Language {
    /// How a project's own tests are run in its folder; C has none.
    pub(crate) fn test(self) -> Option<&'static str> {
        match self {
            Self::Rust => Some("cargo test"),
            Self::Js => Some("npm test"),
            Self::Python => Some("python3 -m unittest"),
            Self::C => None,
        }
    }
}

/// A name must do for a kind, a package of each language and a file.
pub(crate) fn check_name(name: &str) -> anyhow::Result<()> {
    let mut letters = name.chars();
    let begins = letters.next().is_some_and(|first| first.is_ascii_lowercase());
    let fit = begins
        && letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    if !fit || name.len() > 32 || name.ends_with('-') || name.contains("--") {
        bail!(
            "`{name}` is no name for a plugin: take up to 32 of a-z, 0-9 and single `-`, a letter first, like `door-bell`"
        );
    }
    if RESERVED.contains(&name) {
        bail!("`{name}` names something else to the tools of one of the languages: take another name");
    }
    Ok(())
}

/// Words that are no package or module name somewhere.
const RESERVED: [&str; 12] = [
    "plugin",
    "test",
    "core",
    "std",
    "alloc",
    "self",
    "super",
    "crate",
    "vendor",
    "wit",
    "dist",
    "lapwing-plugin-sdk",
];

/// Writes a new project of this name into a folder that is not there yet.
pub(crate) fn write(folder: &Path, name: &str, language: Language) -> anyhow::Result<()> {
    for file in files::template(language) {
        let path = if file.path == "gitignore" {
            ".gitignore"
        } else {
            file.path
        };
        let text = std::str::from_utf8(file.bytes).with_context(|| format!("`{}` is text", file.path))?;
        let text = text
            .replace("{{name}}", name)
            .replace("{{ident}}", &name.replace('-', "_"));
        put(&folder.join(path), text.as_bytes())?;
    }
    supply(folder, language)?;
    Ok(())
}

/// Writes the SDK (`vendor`) and the interface (`wit`), where they are missing. Tells whether they were.
pub(crate) fn supply(folder: &Path, language: Language) -> anyhow::Result<bool> {
    let (vendor, wit) = (folder.join("vendor"), folder.join("wit"));
    let missing = !vendor.exists() || !wit.exists();
    for (root, files) in [(&vendor, files::vendor(language)), (&wit, files::WIT)] {
        if !root.exists() {
            for File { path, bytes } in files {
                put(&root.join(path), bytes)?;
            }
        }
    }
    Ok(missing)
}

/// The package file, every version pinned, of the tools that JavaScript plugins are built with.
pub(crate) const JS_TOOLS: &[File] = files::JS_TOOLS;

/// Writes one file, and the folders it lies in.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn a_name_does_for_every_language() {
        for name in ["door", "door-bell", "a2s", "x"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "Door",
            "2door",
            "door_bell",
            "-door",
            "door-",
            "a--b",
            "../x",
            "plugin",
            "dör",
            &"x".repeat(33),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
