//! The command line: what can be asked, and how the answer becomes an exit code.

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod enqueue;
pub(crate) mod health;
mod kind;
pub(crate) mod kinds;
pub(crate) mod plugin;
pub(crate) mod run;
pub(crate) mod table;
mod unique;
pub(crate) mod worker;

use crate::config::HumanDuration;
use clap::{Args, Parser, Subcommand, error::ErrorKind};
use lapwing_model::{Status, task::LONGEST_TIMEOUT};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

const EXAMPLES: &str = "\
Examples:
  lapwing run --config monitors.toml            watch everything in the file, serve the admin API
  lapwing run --config monitors.toml --once     check everything once and print a table
  lapwing check http --config '{\"url\": \"https://example.com\"}'
  lapwing check smtp --config @smtp.json --json
  REDIS_HOST=redis lapwing worker               a drop-in for Peekaping's worker
  lapwing plugin list

--config is what a command works by: the check's own configuration (JSON, or @FILE) where one check is run (check, plugin
test, plugin run, plugin bench), the settings file everywhere else. --settings is the settings file everywhere.

Exit codes:
  0   up, or done          1   down
  2   could not tell, or could not do it
  64  the command line or the configuration is wrong";

/// A check executor for uptime monitoring, extensible by sandboxed WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(name = "lapwing", version, about, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The check that help was asked for, by a command line that clap answered with `error`: `lapwing check KIND --help`.
    pub(crate) fn check_to_explain(error: &clap::Error) -> Option<check::CheckArgs> {
        if error.kind() != ErrorKind::DisplayHelp {
            return None;
        }
        let rest = std::env::args_os().filter(|argument| argument != "--help" && argument != "-h");
        match Self::try_parse_from(rest).ok()?.command {
            Command::Check(args) | Command::Plugin(plugin::PluginCommand::Run(args)) => Some(args),
            _ => None,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch the monitors of a file, all in one process; with REDIS_URL or REDIS_HOST set, through Redis
    Run(run::RunArgs),
    /// Take tasks from Redis and publish results; as Peekaping's worker does, or as the settings say
    Worker(worker::WorkerArgs),
    /// Run one check now and tell the result
    Check(check::CheckArgs),
    /// Show the settings in force, and where each came from
    Config(config::ConfigArgs),
    /// Put one task on a queue, and wait for its result if asked to
    Enqueue(enqueue::EnqueueArgs),
    /// List the kinds of check there are, native and plugin
    Kinds(kinds::KindsArgs),
    /// Look at plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Ask a running worker whether it is alive (for container health checks)
    Health(health::HealthArgs),
}

/// Flags that most commands share.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Shared {
    /// Settings file, TOML or YAML [env: LAPWING_CONFIG]
    #[arg(long, visible_alias = "settings", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of plugins [env: LAPWING_PLUGINS]
    #[arg(long, value_name = "DIR")]
    pub(crate) plugins: Option<PathBuf>,
    /// Address of the admin API [env: LAPWING_ADMIN_LISTEN] [default: 127.0.0.1:8085]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Least severe log level: debug, info, warn or error [default: LOG_LEVEL or info of `run` and `worker`, else warn]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
}

/// Flags of the commands that work on the plugin folder alone.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// Settings file, TOML or YAML [env: LAPWING_CONFIG]
    #[arg(long, visible_alias = "settings", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of plugins [env: LAPWING_PLUGINS]
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Least severe log level: debug, info, warn or error [default: warn]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Folder {
    /// The flags that other commands have in their place.
    pub(crate) fn shared(&self) -> Shared {
        Shared {
            config: self.config.clone(),
            plugins: self.plugins.clone(),
            log_level: self.log_level.clone(),
            listen: None,
        }
    }
}

impl Shared {
    /// As a command has it that answers and ends: what is wrong is logged, not what is done, whatever level the
    /// environment sets for the worker.
    pub(crate) fn quiet(&self) -> Self {
        let level = self.log_level.clone().unwrap_or_else(|| "warn".to_owned());
        Self {
            log_level: Some(level),
            ..self.clone()
        }
    }
}

/// Flags of the commands that run one check: their `--config` is the check's own.
#[derive(Debug, Args)]
pub(crate) struct OneCheck {
    /// Settings file (network policy, plugin limits, grants, secrets), TOML or YAML [env: LAPWING_CONFIG]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Least severe log level: debug, info, warn or error [default: warn of `check`, else error]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl OneCheck {
    /// The flags that other commands have in their place; `level` where none is given.
    pub(crate) fn shared(&self, level: &str) -> Shared {
        Shared {
            config: self.settings.clone(),
            log_level: Some(self.log_level.as_deref().unwrap_or(level).to_owned()),
            ..Shared::default()
        }
    }
}

/// The command line is wrong, or what it names: exit 64.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub(crate) struct Usage(anyhow::Error);

impl Usage {
    /// Makes an error the user's to mend.
    pub(crate) fn of(error: impl Into<anyhow::Error>) -> anyhow::Error {
        Self(error.into()).into()
    }

    /// One with this text.
    pub(crate) fn says(text: impl Into<String>) -> anyhow::Error {
        Self(anyhow::Error::msg(text.into())).into()
    }
}

/// Whether the file that the command line names is there.
pub(crate) fn present(file: &Path) -> anyhow::Result<()> {
    let shown = file.display();
    match file.metadata() {
        Ok(facts) if facts.is_dir() => Err(Usage::says(format!("`{shown}` is a folder; name a file"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Usage::says(format!("no such file: `{shown}`")))
        }
        _ => Ok(()),
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Up, or done.
    Up,
    /// Down.
    Down,
    /// Could not tell, or could not do it.
    Unknown,
    /// The command line or the configuration is wrong.
    Usage,
}

impl From<Status> for Exit {
    fn from(status: Status) -> Self {
        match status {
            Status::Up | Status::Degraded => Self::Up,
            Status::Down => Self::Down,
            Status::Unknown => Self::Unknown,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Up => 0,
            Exit::Down => 1,
            Exit::Unknown => 2,
            Exit::Usage => 64,
        })
    }
}

/// The time a check may take, on the command line.
pub(crate) fn timeout(text: &str) -> Result<std::time::Duration, String> {
    let timeout = span(text)?;
    if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
        return Err(format!("`{text}` is not more than zero and at most `1h`"));
    }
    Ok(timeout)
}

/// A time span on the command line.
pub(crate) fn span(text: &str) -> Result<std::time::Duration, String> {
    text.parse::<HumanDuration>()
        .map(|span| span.0)
        .map_err(|error| error.to_string())
}
