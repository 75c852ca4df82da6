//! `lapwing plugin enable|disable`: lets a plugin serve, or keeps it from serving, as the API does.

use crate::{
    cli::{Exit, Folder, Usage},
    config::{Config, Environment},
    console::{self, one_line},
    role::{self, Role},
};
use anyhow::Context;
use clap::Args;
use lapwing_wasm::PluginFolder;

/// `lapwing plugin enable|disable`
#[derive(Debug, Args)]
#[command(after_help = "\
The decision is kept in `plugins.json` in the folder `plugins.data` [default: lapwing in the user's state folder]. A running
worker of this user and this folder goes by it within seconds.

Example:
  lapwing plugin disable smtp --plugins ./plugins")]
pub(crate) struct SwitchArgs {
    /// The plugin, as `lapwing plugin list` names it
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    folder: Folder,
}

/// `lapwing plugin enable`
#[derive(Debug, Args)]
pub(crate) struct EnableArgs {
    #[command(flatten)]
    switch: SwitchArgs,
    /// Only the file with this SHA-256 (hex); of several files of the name, one that was uploaded needs it
    #[arg(long, value_name = "SHA256")]
    digest: Option<String>,
}

/// Runs `enable`.
pub(crate) fn enable(args: &EnableArgs, environment: &Environment) -> anyhow::Result<Exit> {
    switch(&args.switch, "enabled", environment, |folder, name| {
        let Some(digest) = &args.digest else {
            return Ok(folder.set_enabled(name, true)?);
        };
        if folder.enable_file(name, digest)? {
            return Ok(());
        }
        let (name, digest) = (one_line(name), one_line(digest));
        Err(Usage::says(format!(
            "no file of plugin `{name}` has SHA-256 `{digest}`"
        )))
    })
}

/// Runs `disable`.
pub(crate) fn disable(args: &SwitchArgs, environment: &Environment) -> anyhow::Result<Exit> {
    switch(args, "disabled", environment, |folder, name| {
        Ok(folder.set_enabled(name, false)?)
    })
}

fn switch(
    args: &SwitchArgs,
    word: &str,
    environment: &Environment,
    change: impl FnOnce(&PluginFolder, &str) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let shared = args.folder.shared();
    let mut config = Config::load(&shared.quiet(), environment)?;
    config.log.folder = shared.log_level.is_some();
    config.start_logging();
    role::block_on(async {
        let kinds = Role::load(&config, true).await?.prober.kinds;
        let name = one_line(&args.name);
        let plugins = kinds.plugins();
        if !plugins.iter().any(|plugin| plugin.name == args.name) {
            let known = plugins.iter().map(|plugin| format!("`{}`", plugin.name));
            let known: Vec<_> = known.filter(|name| name.len() > 2).collect();
            let folder = config.plugins.display();
            let message = format!("no plugin `{name}` in `{folder}`; known: {}", known.join(", "));
            return Err(Usage::says(message));
        }
        let folder = kinds.folder().context("the plugin folder is not loaded")?;
        change(folder, &args.name)?;
        let Some(file) = kinds.decisions().filter(|file| file.exists()) else {
            let why = "there is no folder to keep decisions in; name one in `plugins.data`";
            return Err(Usage::says(why));
        };
        console::line(&format!(
            "plugin `{name}` is {word} in `{}`; a running worker goes by it within seconds",
            file.display()
        ));
        Ok(Exit::Up)
    })
}
