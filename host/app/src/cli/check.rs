//! `lapwing check KIND`: one check, now.

use super::{Exit, OneCheck, Shared, Usage, kind, table, unique::Unique};
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
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// What `lapwing plugin run` shows in place of the examples of `lapwing check`.
pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  lapwing plugin run smtp --plugins ./plugins --config '{\"host\": \"127.0.0.1\", \"port\": 25}'
  lapwing plugin run my-check --plugins dist --config @example.json --json

Exit codes: 0 up, 1 down, 2 could not tell, 64 unknown kind or unfit configuration";

/// What the page of one kind says of the command itself.
const GENERAL: &str = "
Options: --config JSON|@FILE|@-, --timeout TIME, --json, --plugins DIR; `lapwing check --help` has them all.";

/// `lapwing check`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lapwing check tcp --help                 what the kind takes
  lapwing check tcp --config '{\"host\": \"127.0.0.1\", \"port\": 6379}'
  lapwing check http --config @shop.json --timeout 5s --json
  echo '{\"url\": \"http://127.0.0.1/\"}' | lapwing check http --config @-

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
    #[command(flatten)]
    around: OneCheck,
}

impl CheckArgs {
    fn shared(&self) -> Shared {
        Shared {
            plugins: self.plugins.clone(),
            ..self.around.shared("warn")
        }
    }
}

/// Runs it.
pub(crate) fn main(args: &CheckArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.shared(), environment)?;
    config.start_logging();
    let given = read(&args.config)?;
    let console = Console::new(args.json);
    role::block_on(async {
        let role = Role::load_for(&args.kind, &config, !args.json).await?;
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

/// What the kind takes, and how the command's own help is had.
pub(crate) fn explain(args: &CheckArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.shared(), environment)?;
    config.start_logging();
    role::block_on(async {
        let kinds = Role::load_for(&args.kind, &config, false).await?.prober.kinds;
        let executor = kinds.executor(&args.kind).map_err(Usage::of)?;
        let command = format!("lapwing check {}", args.kind);
        console::line(&kind::page(executor.info(), &command));
        console::line(GENERAL);
        Ok(Exit::Up)
    })
}

/// Reads a check's configuration as commands take it: JSON, `@FILE`, or `@-` for standard input.
pub(super) fn read(config: &str) -> anyhow::Result<Map<String, Value>> {
    let text = match config.strip_prefix('@') {
        Some("-") => {
            std::io::read_to_string(std::io::stdin()).context("--config: cannot read standard input")
        }
        Some(file) => {
            std::fs::read_to_string(file).with_context(|| format!("--config: cannot read `{file}`"))
        }
        None => Ok(config.to_owned()),
    };
    let object = text.and_then(|text| {
        let read = serde_json::from_str(&text).and_then(|Unique(value)| serde_json::from_value(value));
        read.with_context(|| match config.strip_prefix('@') {
            Some("-") => "--config: standard input is no JSON object".to_owned(),
            Some(file) => format!("--config: `{file}` is no JSON object"),
            None if Path::new(config).extension().is_some_and(|end| end == "json") && Path::new(config).is_file() => {
                format!("--config: did you mean `@{config}`?")
            }
            None => "--config: expected a JSON object, the check's configuration, or `@FILE`; a settings file goes \
                     with --settings"
                .to_owned(),
        })
    });
    object.map_err(Usage::of)
}
