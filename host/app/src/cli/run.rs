//! `lapwing run`: producer, worker and admin API in one process.

use super::{Exit, Shared, table};
use crate::{
    admin,
    config::{Config, Environment, Faults, Numbered, QueueSettings},
    console::{self, Console},
    producer::{self, Producer},
    queues::Queues,
    review,
    role::Role,
    shutdown,
};
use clap::Args;
use futures_util::{StreamExt, stream::FuturesUnordered};
use lapwing_model::CheckResult;
use lapwing_queue::Sink;
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

/// `lapwing run`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lapwing run --config monitors.toml\n  lapwing run --config monitors.yaml --once --json\n\n\
                        With --once: exits 1 if any monitor is down, else 2 if any could not be told, else 0."
)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    shared: Shared,
    /// Check every monitor once, print a table and exit
    #[arg(long)]
    once: bool,
    /// Stop after this time, such as `15s`
    #[arg(long, value_name = "TIME", value_parser = super::span, conflicts_with = "once")]
    r#for: Option<Duration>,
    /// Print results as JSON, one object a line (with --once: one array)
    #[arg(long)]
    json: bool,
}

/// The queue that `run` keeps to itself on a shared Redis.
const QUEUE: &str = "lapwing";

/// Runs it.
pub(crate) fn main(args: &RunArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.shared, environment)?;
    config.start_logging();
    if config.monitors.is_empty() {
        let mut faults = Faults::of(config.file.as_ref());
        let next = match config.file {
            Some(_) => "there is nothing to watch; add a [[monitors]] table",
            None => "there is nothing to watch; name a file with [[monitors]] tables with --config",
        };
        faults.push("monitors", next);
        return Err(faults.into());
    }
    let console = Console::new(args.json);
    crate::role::block_on(async {
        if args.once {
            let role = Role::load(&config, !args.json).await?;
            let mut faults = Faults::of(config.file.as_ref());
            review::monitors(&role.prober.kinds, &config.monitors, &mut faults).await;
            faults.into_result(())?;
            once(&config, &role, console).await
        } else {
            let role = Role::new(&config)?;
            watch(config, role, console, args.r#for).await
        }
    })
}

async fn once(config: &Config, role: &Role, console: Console) -> anyhow::Result<Exit> {
    let slots = tokio::sync::Semaphore::new(config.concurrency);
    let mut runs: FuturesUnordered<_> = config
        .monitors
        .iter()
        .enumerate()
        .map(async |(index, Numbered { monitor, .. })| {
            let _slot = slots.acquire().await;
            let task = Arc::new(producer::task(monitor, &*role.prober.clock));
            (index, role.prober.run(&task).await)
        })
        .collect();
    let mut results = Vec::with_capacity(config.monitors.len());
    while let Some(result) = runs.next().await {
        results.push(result);
    }
    results.sort_by_key(|(index, _)| *index);
    let results: Vec<CheckResult> = results.into_iter().map(|(_, result)| result).collect();
    let exit = worst(&results);
    console::line(&if console.json {
        serde_json::to_string(&results)?
    } else {
        table::of_results(&results, console)
    });
    Ok(exit)
}

/// Down before unknown before up.
fn worst(results: &[CheckResult]) -> Exit {
    let any = |exit| {
        results
            .iter()
            .any(|result| Exit::from(result.observation.status) == exit)
    };
    [Exit::Down, Exit::Unknown]
        .into_iter()
        .find(|exit| any(*exit))
        .unwrap_or(Exit::Up)
}

async fn watch(
    config: Config,
    role: Role,
    console: Console,
    limit: Option<Duration>,
) -> anyhow::Result<Exit> {
    let server = admin::Server::bind(config.listen).await?;
    let _plugins = role.plugins(&config);
    let stop = shutdown::on_signal()?;
    if let Some(limit) = limit {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            stop.cancel();
        });
    }
    let queues = if config.redis.is_named {
        info!("tasks go through Redis at {}", config.redis.shown);
        let queue = QueueSettings::asynq(QUEUE, config.concurrency);
        let Some(queues) = role.connect(&config, &[queue], &stop).await? else {
            return Ok(Exit::Up);
        };
        queues
    } else {
        let queues = Queues::in_memory(config.monitors.len(), config.concurrency);
        role.show(&queues);
        queues
    };
    let Some(queue) = queues.iter().next().map(|open| open.producer.clone()) else {
        return Ok(Exit::Up);
    };
    info!(
        "watching {} monitors; admin API at http://{}/api/v1/",
        config.monitors.len(),
        server.address
    );
    let (tracker, ended) = (TaskTracker::new(), CancellationToken::new());
    tracker.spawn(server.run(role.admin(&config), ended.clone()));
    let clock = role.prober.clock.clone();
    let worker = role.worker(&config, false);
    let sink: Arc<dyn Sink> = Arc::new(console);
    tracker.spawn(
        Producer {
            monitors: config
                .monitors
                .into_iter()
                .map(|numbered| numbered.monitor)
                .collect(),
            queue,
            clock,
        }
        .run(stop.clone()),
    );
    let outcome = worker.run(queues.served(Some(&sink)), stop).await;
    ended.cancel();
    tracker.close();
    tracker.wait().await;
    outcome.map(|()| Exit::Up)
}
