//! `lapwing plugin new`: a complete project, ready to be built, tested and changed.

use super::kit::{self, Language};
use crate::{
    cli::{Exit, Usage},
    console,
    kinds::Kinds,
};
use anyhow::Context;
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
    kit::check_name(&args.name).map_err(Usage::of)?;
    if Kinds::native()?.registry().get(&args.name).is_some() {
        return Err(Usage::says(format!(
            "`{}` is a native kind, and no plugin may take its place: give another name",
            args.name
        )));
    }
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let shown = folder.display();
    if folder.symlink_metadata().is_ok() {
        let why = format!("`{shown}` exists already: give another name, or another folder with `--path`");
        return Err(Usage::says(why));
    }
    if let Err(error) = kit::write(&folder, &args.name, args.lang) {
        // Half a project would only be in the way; what is there is all ours.
        let _ = fs::remove_dir_all(&folder);
        return Err(error).with_context(|| format!("cannot make the project `{shown}`"));
    }
    let name = &args.name;
    let file = format!("dist/{name}.wasm");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let mut steps = vec![match shown.to_string() {
        path if path.chars().all(plain) => format!("cd {path}"),
        path => format!("cd '{}'", path.replace('\'', r"'\''")),
    }];
    steps.extend(args.lang.test().map(str::to_owned));
    steps.extend([
        "lapwing plugin build".to_owned(),
        format!("lapwing plugin test {file} --config @example.json"),
        format!("lapwing check {name} --plugins dist --config @example.json"),
    ]);
    console::line(&format!(
        "`{shown}` is a plugin with one kind, `{name}`. Next:\n\n  {}\n\n\
         example.json names a web server at http://127.0.0.1:8080/ (`python3 -m http.server 8080` is one). The kind is in \
         every worker whose plugin folder `{file}` is dropped into. README.md tells what is where.",
        steps.join("\n  ")
    ));
    Ok(Exit::Up)
}
