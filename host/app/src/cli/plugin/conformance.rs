//! `lapwing plugin conformance FILE`: does a plugin behave, whatever its target does?
//!
//! Real runs, with the host's own limits, against servers on loopback; nothing else can be reached. What the plugin
//! cannot know (what a good answer is) is not judged: a plugin passes when trouble of any sort is told as what it is.

mod report;
mod servers;
mod trials;

use crate::{
    cli::{Exit, OneCheck, check},
    config::{Config, Environment},
    console::{self, Console},
    role,
};
use clap::Args;
use std::{path::PathBuf, time::Duration};

/// `lapwing plugin conformance`
#[derive(Debug, Args)]
#[command(after_help = "\
Each kind is run with its own example configuration, pointed at loopback servers that refuse, hang, close, reset, flood
and talk nonsense, or HTTP of no use, and once without any network. The fields to point are those the schema marks as target
(`x-lapwing-target`, or `format`: uri, hostname, ipv4).

Examples:
  lapwing plugin conformance ./my-check.wasm
  lapwing plugin conformance ./my-check.wasm --kind my-check --json
  lapwing plugin conformance ./my-check.wasm --config '{\"url\": \"http://x/\", \"login\": true}'

Exit codes: 0 all passed, 1 something failed, 2 it could not be tried, 64 the command line is wrong")]
pub(crate) struct ConformanceArgs {
    /// A component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only this kind of it
    #[arg(long)]
    kind: Option<String>,
    /// Its configuration in place of the example's: JSON, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON|@FILE")]
    config: Option<String>,
    /// Time each run may take
    #[arg(long, value_name = "TIME", value_parser = crate::cli::timeout, default_value = "1s")]
    timeout: Duration,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    around: OneCheck,
}

/// Runs it.
pub(crate) fn main(args: &ConformanceArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let mut config = Config::load(&args.around.shared("error"), environment)?;
    config.start_logging();
    let given = args.config.as_deref().map(check::read).transpose()?;
    // Every run counts here: none is to be spared for the faults of those before it.
    config.plugin_settings.quarantine.faults = 1000;
    role::block_on(async {
        let report = trials::all(
            &args.file,
            trials::Trying {
                kind: args.kind.as_deref(),
                given: given.as_ref(),
                timeout: args.timeout,
            },
            &config,
            !args.json,
        )
        .await?;
        console::line(&if args.json {
            serde_json::to_string_pretty(&report)?
        } else {
            report.table(Console::new(false))
        });
        Ok(if report.passed { Exit::Up } else { Exit::Down })
    })
}
