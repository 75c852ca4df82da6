//! `lapwing plugin build`: makes `dist/NAME.wasm` of a project, with the tools of its language.
//!
//! Tools that are missing are installed once for all projects, in versions that were tried, from the language's own
//! registry; compilers are never installed, but named.

mod c;
mod js;
mod python;
mod rust;
mod tools;

use super::kit::{self, Language, Project};
use crate::{
    cli::{Exit, Usage},
    config::Environment,
    console,
};
use anyhow::Context;
use clap::Args;
use std::{fs, path::PathBuf};
use tools::Tools;

/// `lapwing plugin build`
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// File to write [default: DIR/dist/NAME.wasm]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Folder of build tools that are installed when missing [env: LAPWING_TOOLS] [default: lapwing/tools in the user's
    /// cache]
    #[arg(long, value_name = "DIR")]
    tools: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn main(args: &BuildArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let folder = fs::canonicalize(&args.folder)
        .with_context(|| format!("cannot find the folder `{}`", args.folder.display()))
        .map_err(Usage::of)?;
    let project = Project::read(&folder).map_err(Usage::of)?;
    if kit::supply(&folder, project.language)? {
        console::note("wrote the SDK to vendor/ and wit/");
    }
    let output = match &args.output {
        Some(file) => std::path::absolute(file)?,
        None => folder.join("dist").join(&project.name).with_extension("wasm"),
    };
    if let Some(parent) = output.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make `{}`", parent.display()))?;
    }
    let tools = Tools::new(args.tools.clone().or_else(|| environment.tools()))?;
    // Written beside and moved into place: a worker that watches the folder never sees half a plugin.
    let made = output.with_extension("wasm.part");
    let built = match project.language {
        Language::Rust => rust::build(&folder, &made),
        Language::Js => js::build(&folder, &made, &tools),
        Language::Python => python::build(&folder, &made, &tools),
        Language::C => c::build(&folder, &made, &tools),
    };
    let placed = built.and_then(|()| {
        fs::rename(&made, &output).with_context(|| format!("cannot write `{}`", output.display()))
    });
    if placed.is_err() {
        let _ = fs::remove_file(&made);
    }
    placed?;
    let kib = fs::metadata(&output)?.len().div_ceil(1024);
    console::line(&format!("{} ({kib} KiB)", output.display()));
    Ok(Exit::Up)
}
