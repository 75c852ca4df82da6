//! `lapwing config`: the settings in force, and where each came from.

use super::{Exit, Shared, table};
use crate::{
    config::{Config, Environment, shown},
    console,
};
use clap::Args;

/// `lapwing config`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lapwing config --config queues.toml
  REDIS_HOST=redis lapwing config --json | jq -r '.[] | select(.from != \"default\") | .field'

Flags win over variables, these over the file, and that over defaults. Secrets are masked.
Exit codes: 0, or 64 with every fault of the settings")]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    shared: Shared,
    /// Leave out what is at its default
    #[arg(long)]
    set: bool,
    /// Print an array of {field, value, from}
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn main(args: &ConfigArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.shared, environment)?;
    let mut settings = shown::all(&config, &args.shared, environment);
    settings.retain(|setting| !args.set || setting.from != "default");
    console::line(&if args.json {
        serde_json::to_string_pretty(&settings)?
    } else {
        let rows: Vec<_> = settings
            .into_iter()
            .map(|setting| [setting.field, setting.value.to_string(), setting.from])
            .collect();
        table::grid(["SETTING", "VALUE", "FROM"], &rows)
    });
    Ok(Exit::Up)
}
