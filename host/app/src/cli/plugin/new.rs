//! `lapwing plugin new`: a complete project, ready to be built, tested and changed.

use super::kit::{self, Language};
use crate::{cli::Exit, console, kinds::Kinds};
use anyhow::{Context, bail};
use clap::Args;
use std::{fs, path::PathBuf};

/// `lapwing plugin new`
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// What the plugin and its first kind are called, like `door-bell`
    #[arg(value_name = "NAME")]
    name: String,
    /// What to write it in
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    lang: Language,
    /// Folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn main(args: &NewArgs) -> anyhow::Result<Exit> {
    kit::check_name(&args.name)?;
    if Kinds::native()?.registry().executor(&args.name).is_ok() {
        bail!(
            "`{}` is a native kind, and no plugin may take its place: give another name",
            args.name
        );
    }
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let shown = folder.display();
    if folder.symlink_metadata().is_ok() {
        bail!("`{shown}` exists already: give another name, or another folder with `--path`");
    }
    if let Err(error) = kit::write(&folder, &args.name, args.lang) {
        // Half a project would only be in the way; what is there is all ours.
        let _ = fs::remove_dir_all(&folder);
        return Err(error).with_context(|| format!("cannot make the project `{shown}`"));
    }
    let name = &args.name;
    console::line(&format!(
        "`{shown}` is a plugin with one kind, `{name}`. Next:\n\n  \
         cd {shown}\n  \
         lapwing plugin build\n  \
         lapwing check {name} --plugins dist --config @example.json\n\n\
         README.md tells what is where."
    ));
    Ok(Exit::Up)
}
