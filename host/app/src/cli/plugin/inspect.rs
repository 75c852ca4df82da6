//! `lapwing plugin inspect`: all that is known of one file.

use crate::{
    cli::{Exit, Shared, table},
    config::{Config, Environment},
    console,
    role::{self, Role},
};
use clap::Args;
use std::path::PathBuf;

/// `lapwing plugin inspect`
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shared: Shared,
}

/// Runs it. Exits 2 if the file is no plugin.
pub(crate) fn main(args: &InspectArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.shared, environment)?;
    config.start_logging();
    role::block_on(async {
        let plugin = Role::host(&config)?.load_file(&args.file).await;
        console::line(&if args.json {
            serde_json::to_string_pretty(&plugin)?
        } else {
            table::of_plugin(&plugin)
        });
        Ok(if plugin.failure().is_some() {
            Exit::Unknown
        } else {
            Exit::Up
        })
    })
}
