//! `lapwing plugin lock`: pins the plugin folder's files as they are.

use crate::{
    cli::{Exit, Folder},
    config::{Config, Environment},
    console, kinds,
};
use anyhow::Context;
use clap::Args;
use lapwing_wasm::trust::pins;

/// `lapwing plugin lock`
#[derive(Debug, Args)]
#[command(
    after_help = "Writes `plugins.lock` into the folder: a line for each file, comments stay. A running worker goes \
                        by it at once."
)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    folder: Folder,
}

/// Runs it.
pub(crate) fn main(args: &LockArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.folder.shared().quiet(), environment)?;
    config.start_logging();
    let folder = &config.plugins;
    kinds::present(folder)?;
    let count =
        pins::lock(folder).with_context(|| format!("cannot pin the files of `{}`", folder.display()))?;
    console::line(&format!(
        "{count} plugins pinned in `{}`",
        folder.join(pins::LOCK).display()
    ));
    Ok(Exit::Up)
}
