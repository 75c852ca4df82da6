//! `lapwing plugin test FILE`: one run of a file that need not be in the folder, with all that is to be seen of it.

mod advice;

use super::subject::{self, Subject};
use crate::{
    cli::{Exit, OneCheck, check, table},
    config::{Config, Environment},
    console::{self, Console, one_line},
    role::{self, Role},
};
use clap::Args;
use lapwing_checks::{
    Net,
    net::scope::{Destination, DestinationError},
};
use lapwing_model::{CheckResult, Reason, task::DEFAULT_TIMEOUT};
use lapwing_wasm::{Call, Trial, TrialOptions};
use std::{path::PathBuf, time::Duration};

/// `lapwing plugin test`
#[derive(Debug, Args)]
#[command(after_help = "\
The run has the limits and rights of any other: it reaches what its configuration names, what is granted in the settings
file, and what --allow adds. What was refused is told with the line that would grant it.

Examples:
  lapwing plugin test ./my-check.wasm --config '{\"host\": \"127.0.0.1\", \"port\": 8025}'
  lapwing plugin test ./my-check.wasm --config @shop.json --allow api.example.com:443 --trace
  lapwing plugin test ./my-check.wasm --config @shop.json --json | jq .calls

Exit codes: 0 up, 1 down, 2 could not tell, 64 unknown kind or unfit configuration")]
pub(crate) struct TestArgs {
    /// A component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which kind of it, if it has several
    #[arg(long)]
    kind: Option<String>,
    /// Its configuration: JSON, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON|@FILE", default_value = "{}")]
    config: String,
    /// A place it may reach beyond its target, if it asks for it; can be repeated
    #[arg(long, value_name = "HOST:PORT", value_parser = place)]
    allow: Vec<Destination>,
    /// Time it may take
    #[arg(long, value_name = "TIME", value_parser = crate::cli::timeout)]
    timeout: Option<Duration>,
    /// Print each call to the host
    #[arg(long)]
    trace: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    around: OneCheck,
}

/// A place to allow: a bare word is more likely a slip than a name without a domain.
fn place(text: &str) -> Result<Destination, String> {
    let bare = !text.contains(['.', ':', '*', '/', '[']) && text != "localhost";
    if bare {
        return Err(format!(
            "`{text}` is no place such as `api.example.com:443`; give a name without a domain with its port, as `{text}:443`"
        ));
    }
    text.parse().map_err(|error: DestinationError| error.to_string())
}

/// Runs it.
pub(crate) fn main(args: &TestArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.around.shared("error"), environment)?;
    config.start_logging();
    let given = check::read(&args.config)?;
    role::block_on(async {
        let host = Role::host(&config)?;
        let subject = Subject::load(&args.file, &host, !args.json).await?;
        host.custody().set_secrets(config.secrets);
        let kind = subject.kind(args.kind.as_deref())?.info();
        let options = TrialOptions {
            allow: args.allow.clone(),
        };
        let run = subject::Run::new(
            kind,
            given,
            Net::new(config.network),
            args.timeout.unwrap_or(DEFAULT_TIMEOUT),
        );
        if !args.json {
            for hint in subject.hints(&host)? {
                console::note(&hint);
            }
        }
        let trial = match subject
            .plugin
            .trial(&kind.kind, run.config(), &run.cx, options)
            .await
        {
            Ok(trial) => trial,
            Err(error) if args.json => Trial::never(error),
            Err(error) => return Err(subject::unfit(kind, &error.to_string())),
        };
        let result = run.result(trial.result.clone());
        console::line(&if args.json {
            serde_json::to_string_pretty(&trial)?
        } else {
            of_trial(&trial, &result, args.trace, Console::new(false))
        });
        if !args.json {
            for hint in advice::advice(&kind.kind, &result.observation) {
                console::note(&one_line(&hint));
            }
        }
        Ok(match result.observation.reason {
            Some(Reason::InvalidConfig | Reason::UnknownKind) => Exit::Usage,
            _ => result.observation.status.into(),
        })
    })
}

/// The result, the calls (all, or those that failed), what was logged, and what it cost.
fn of_trial(trial: &Trial, result: &CheckResult, all: bool, console: Console) -> String {
    let mut lines = vec![table::of_result(result, console)];
    let calls: Vec<_> = trial.calls.iter().filter(|call| all || call.failed).collect();
    if !calls.is_empty() {
        let left = trial.calls.len() - calls.len();
        let only = if left > 0 {
            format!("  (those that failed; --trace shows {left} more)")
        } else {
            String::new()
        };
        lines.push(format!("\ncalls to the host{only}"));
        lines.extend(calls.into_iter().map(|call| of_call(call, console)));
    }
    if all && trial.more_calls > 0 {
        lines.push(format!("  and {} more", trial.more_calls));
    }
    if !trial.log.is_empty() {
        lines.push("\nlog".to_owned());
        lines.extend(
            trial
                .log
                .iter()
                .map(|line| format!("  {:5}  {}", line.level, one_line(&line.message))),
        );
    }
    if !trial.output.trim().is_empty() && !is_logged(trial) {
        lines.push("\noutput".to_owned());
        lines.extend(trial.output.lines().map(|line| format!("  {}", one_line(line))));
    }
    lines.push(format!(
        "\nused      {} in all, {} of its own code, {} waiting for a processor; {} KiB memory, {} connections, {} DNS questions, {} bytes",
        ms(trial.elapsed_us),
        ms(trial.cpu_us),
        ms(trial.queued_us),
        trial.memory_bytes / 1024,
        trial.connects,
        trial.dns_queries,
        trial.network_bytes
    ));
    lines.join("\n")
}

/// Whether the log has all of the output: the SDK writes a panic to both.
fn is_logged(trial: &Trial) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let output = words(&trial.output);
    trial
        .log
        .iter()
        .any(|line| words(&line.message).contains(&output))
}

fn of_call(call: &Call, console: Console) -> String {
    let took = call.elapsed_us.map_or_else(|| "–".to_owned(), ms);
    let outcome = one_line(&call.outcome);
    let outcome = if call.failed {
        console.color(&outcome, 31)
    } else {
        outcome
    };
    format!(
        "  {:>9}  {:16} {}  {took}  {outcome}",
        ms(call.at_us),
        call.call,
        one_line(&call.detail)
    )
}

/// Microseconds as people read them.
fn ms(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}
