//! `lapwing enqueue KIND`: puts one task on a queue, and waits for its result if asked to.

use super::{Exit, OneCheck, Shared, Usage, check};
use crate::{
    config::{Config, Environment},
    console::{self, Console},
    enqueue::Order,
    queues::{Open, Queues},
    role::{self, Role},
};
use anyhow::{Context, bail};
use clap::Args;
use lapwing_model::{Status, Task};
use lapwing_queue::{Enqueued, KeptResult, TaskState};
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Between two looks for the result: soon at first, then rarely.
const SOON: Duration = Duration::from_millis(10);
const RARELY: Duration = Duration::from_millis(500);

/// `lapwing enqueue`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lapwing enqueue http --config '{\"url\": \"https://example.com\"}' --settings queues.toml --wait
  lapwing enqueue tcp --config @db.json --queue arq:queue:system --delay 30s
  lapwing enqueue check --config '{\"kind\": \"tcp\", \"id\": \"db\", \"config\": {\"host\": \"db\", \"port\": 5432}}'

The queues and their Redis are those of the settings file (LAPWING_CONFIG), as a worker has them.

Exit codes: 0 enqueued, or with --wait up; 1 down; 2 could not tell, or could not do it; 64 unknown kind, queue or
unfit configuration")]
pub(crate) struct EnqueueArgs {
    /// The kind of check; or `check`, with a whole task as its configuration
    kind: String,
    /// Its configuration: JSON, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON|@FILE", default_value = "{}")]
    config: String,
    /// The queue, or what follows the last `:` of its name [default: the first one of the settings]
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Time until it is due
    #[arg(long, value_name = "TIME", value_parser = super::span, default_value = "0s")]
    delay: Duration,
    /// Time one run may take
    #[arg(long, value_name = "TIME", value_parser = super::timeout)]
    timeout: Option<Duration>,
    /// Wait for the result, and exit by it
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this time
    #[arg(long, value_name = "TIME", value_parser = super::span, default_value = "5m", requires = "wait")]
    patience: Duration,
    /// Enqueue it whether or not this binary knows the kind and its configuration
    #[arg(long)]
    unchecked: bool,
    /// Print the task's id, or the result, as JSON
    #[arg(long)]
    json: bool,
    /// Folder of plugins [env: LAPWING_PLUGINS]
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    #[command(flatten)]
    around: OneCheck,
}

/// Runs it.
pub(crate) fn main(args: &EnqueueArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let shared = Shared {
        plugins: args.plugins.clone(),
        ..args.around.shared("warn")
    };
    let config = Config::load(&shared, environment)?;
    config.start_logging();
    let given = check::read(&args.config)?;
    let mut order = Order::of(&args.kind, given).map_err(Usage::of)?;
    if let Some(timeout) = args.timeout {
        order.limit(timeout);
    }
    role::block_on(async {
        let role = if args.unchecked {
            Role::native(&config)?
        } else {
            Role::load_for(order.kind(), &config, !args.json).await?
        };
        let connected = Queues::connect(&config, &config.queues, &role.prober.kinds).await;
        let connected = connected.with_context(|| format!("cannot use Redis at {}", config.redis.shown))?;
        let open = match &args.queue {
            Some(name) => connected.queues.named(name).map_err(Usage::of)?,
            None => connected.queues.iter().next().context("there is no queue")?,
        };
        if args.wait && open.settings.keep_result.is_zero() {
            let name = &open.settings.name;
            let why = format!("--wait: queue `{name}` keeps no results; set `keep_result` for it");
            return Err(Usage::says(why));
        }
        let now = connected.clock.now();
        let task = if args.unchecked {
            order.unchecked(now)
        } else {
            let reviewed = order.review(&role.prober.kinds, open.settings.load_test, now);
            reviewed.await.map_err(Usage::of)?
        };
        put(args, open, &task).await
    })
}

async fn put(args: &EnqueueArgs, open: &Arc<Open>, task: &Task) -> anyhow::Result<Exit> {
    let (id, queue) = (open.producer.task_id(task), &open.settings.name);
    let added = open.producer.schedule(task, args.delay).await;
    let added = added.with_context(|| format!("not enqueued on `{queue}`"))? == Enqueued::Added;
    let fate = if added { "is" } else { "was already" };
    if !args.wait {
        console::line(&if args.json {
            json!({"task_id": id, "queue": queue, "added": added}).to_string()
        } else {
            format!("task `{id}` {fate} on queue `{queue}`")
        });
        return Ok(Exit::Up);
    }
    let KeptResult { ok, value } = wait(args, open, &id).await?;
    let status = value.get("status").and_then(Value::as_str).filter(|_| ok);
    let status = [Status::Up, Status::Degraded, Status::Down]
        .into_iter()
        .find(|known| status == Some(known.as_str()))
        .unwrap_or(Status::Unknown);
    let message = value.get("message").unwrap_or(&value);
    let message = message
        .as_str()
        .map_or_else(|| message.to_string(), str::to_owned);
    console::line(&if args.json {
        serde_json::to_string_pretty(&value)?
    } else {
        format!("{} {message}", Console::new(false).status(status))
    });
    Ok(status.into())
}

/// The result, once it is there.
async fn wait(args: &EnqueueArgs, open: &Open, id: &str) -> anyhow::Result<KeptResult> {
    let (end, mut pause) = (Instant::now() + args.patience, SOON);
    loop {
        let queue = &open.settings.name;
        if let Some(result) = open.dialect.result(queue, id).await? {
            return Ok(result);
        }
        if let Some(status) = open.dialect.status(queue, id).await?
            && status.state == TaskState::Archived
        {
            bail!(
                "task `{id}` was given up: {}",
                status.why.as_deref().unwrap_or("no reason is known")
            );
        }
        if Instant::now() + pause > end {
            let waited = args.patience;
            bail!("task `{id}` has no result after {waited:?}; is a worker of queue `{queue}` running?");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RARELY);
    }
}
