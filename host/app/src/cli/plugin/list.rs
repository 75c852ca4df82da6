//! `lapwing plugin list`: what became of each file of the plugin folder.

use crate::{
    cli::{Exit, Shared, table},
    config::{Config, Environment},
    console,
    role::{self, Role},
};
use clap::Args;

/// `lapwing plugin list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    shared: Shared,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it. Exits 2 if any plugin was refused.
pub(crate) fn main(args: &ListArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let mut config = Config::load(&args.shared.quiet(), environment)?;
    // What became of each file is what is printed.
    config.log.folder = args.shared.log_level.is_some();
    config.start_logging();
    role::block_on(async {
        let plugins = Role::load(&config, !args.json).await?.prober.kinds.plugins();
        console::line(&if args.json {
            serde_json::to_string_pretty(&plugins)?
        } else {
            table::of_plugins(&plugins, &config.plugins)
        });
        Ok(if plugins.iter().any(|plugin| plugin.failure().is_some()) {
            Exit::Unknown
        } else {
            Exit::Up
        })
    })
}
