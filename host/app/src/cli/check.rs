//! `lapwing check KIND`: one check, now.

use super::{Exit, Shared, table};
use crate::{
    admin::checks::adhoc,
    config::{Config, Environment},
    console::{self, Console},
    producer,
    role::{self, Role},
};
use anyhow::Context;
use clap::Args;
use lapwing_model::{Reason, task::DEFAULT_TIMEOUT};
use serde_json::{Map, Value};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// `lapwing check`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lapwing check tcp --config '{\"host\": \"127.0.0.1\", \"port\": 6379}'
  lapwing check http --config @shop.json --timeout 5s --json
  echo '{\"url\": \"http://127.0.0.1/\"}' | lapwing check http --config @-

The configuration file, for network policy and plugin limits, is taken from LAPWING_CONFIG.

Exit codes: 0 up, 1 down, 2 could not tell, 64 unknown kind or unfit configuration")]
pub(crate) struct CheckArgs {
    /// The kind of check; `lapwing kinds` lists them
    kind: String,
    /// Its configuration: JSON, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON|@FILE", default_value = "{}")]
    config: String,
    /// Time it may take
    #[arg(long, value_name = "TIME", value_parser = super::timeout)]
    timeout: Option<Duration>,
    /// Print the whole result as JSON
    #[arg(long)]
    json: bool,
    /// Folder of plugins [env: LAPWING_PLUGINS]
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Least severe log level: debug, info, warn or error
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: String,
}

/// Runs it.
pub(crate) fn main(args: &CheckArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let shared = Shared {
        config: None,
        plugins: args.plugins.clone(),
        listen: None,
        log_level: Some(args.log_level.clone()),
    };
    let config = Config::load(&shared, environment)?;
    config.start_logging();
    let given = match read(&args.config) {
        Ok(given) => given,
        Err(error) => {
            crate::console::error(&error);
            return Ok(Exit::Usage);
        }
    };
    let console = Console::new(args.json);
    role::block_on(async {
        let role = Role::load_for(&args.kind, &config).await?;
        let monitor = adhoc(&args.kind, given, args.timeout.unwrap_or(DEFAULT_TIMEOUT));
        let task = Arc::new(producer::task(&monitor, &*role.prober.clock));
        let result = role.prober.try_out(&task).await;
        console::line(&if args.json {
            serde_json::to_string_pretty(&result)?
        } else {
            table::of_result(&result, console)
        });
        Ok(match result.observation.reason {
            Some(Reason::InvalidConfig | Reason::UnknownKind) => Exit::Usage,
            _ => result.observation.status.into(),
        })
    })
}

/// Reads a configuration as commands take it: JSON, `@FILE`, or `@-` for standard input.
pub(super) fn read(config: &str) -> anyhow::Result<Map<String, Value>> {
    let text = match config.strip_prefix('@') {
        Some("-") => {
            std::io::read_to_string(std::io::stdin()).context("--config: cannot read standard input")?
        }
        Some(file) => {
            std::fs::read_to_string(file).with_context(|| format!("--config: cannot read `{file}`"))?
        }
        None => config.to_owned(),
    };
    serde_json::from_str(&text).context("--config: expected a JSON object")
}
