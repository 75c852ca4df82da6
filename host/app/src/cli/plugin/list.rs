//! `lapwing plugin list`: what became of each file of the plugin folder.

use super::grants;
use crate::{
    cli::{Exit, Folder, table},
    config::{Config, Environment, Faults},
    console, review,
    role::{self, Role},
};
use clap::Args;

/// `lapwing plugin list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    folder: Folder,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it. Exits 2 if any plugin was refused.
pub(crate) fn main(args: &ListArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let shared = args.folder.shared();
    let mut config = Config::load(&shared.quiet(), environment)?;
    // What became of each file is what is printed.
    config.log.folder = shared.log_level.is_some();
    config.start_logging();
    role::block_on(async {
        let kinds = Role::load(&config, !args.json).await?.prober.kinds;
        let plugins = kinds.plugins();
        console::line(&if args.json {
            serde_json::to_string_pretty(&plugins)?
        } else {
            let granted = &config.plugin_settings.grants;
            let grants = plugins.iter().filter_map(|plugin| grants::table(plugin, granted));
            std::iter::once(table::of_plugins(&plugins, &config.plugins, kinds.decisions()))
                .chain(grants)
                .collect::<Vec<_>>()
                .join("\n\n")
        });
        // What is wrong with monitors of plugins' kinds shows only with the plugins there.
        let mut faults = Faults::of(config.file.as_ref());
        review::hold(&kinds, &config.monitors, &mut faults);
        faults.into_result(())?;
        Ok(if plugins.iter().any(|plugin| plugin.failure().is_some()) {
            Exit::Unknown
        } else {
            Exit::Up
        })
    })
}
