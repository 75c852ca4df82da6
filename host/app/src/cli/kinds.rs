//! `lapwing kinds`: every kind of check there is.

use super::{Exit, Usage, kind, table};
use crate::{
    cli::Shared,
    config::{Config, Environment},
    console,
    role::{self, Role},
};
use clap::Args;

/// `lapwing kinds`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lapwing kinds\n  lapwing kinds http             the settings of its configuration\n  lapwing kinds http --json      with the schema of its configuration"
)]
pub(crate) struct KindsArgs {
    /// Only this kind
    kind: Option<String>,
    /// Print everything, schemas included, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shared: Shared,
}

/// Runs it.
pub(crate) fn main(args: &KindsArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.shared.quiet(), environment)?;
    config.start_logging();
    role::block_on(async {
        let there = Role::load(&config, !args.json).await?.prober.kinds;
        let registry = there.registry();
        let one = args.kind.as_ref().map(|kind| there.executor(kind));
        let one = one.transpose().map_err(Usage::of)?;
        let kinds: Vec<_> = match &one {
            Some(executor) => vec![executor.info()],
            None => registry.kinds().collect(),
        };
        console::line(&match (&one, args.json) {
            (_, true) => serde_json::to_string_pretty(&kinds)?,
            (Some(one), false) => {
                let command = format!("lapwing check {}", one.info().kind);
                kind::page(one.info(), &command)
            }
            (None, false) => table::of_kinds(&kinds),
        });
        Ok(Exit::Up)
    })
}
