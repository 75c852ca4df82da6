//! `lapwing worker`: takes tasks from its queues and publishes results; by default as Peekaping's worker does.

use super::{Exit, Shared};
use crate::{
    admin,
    config::{Config, Environment, Faults},
    role::{self, Role},
    shutdown, watch,
};
use clap::Args;
use std::net::SocketAddr;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

/// `lapwing worker`
#[derive(Debug, Args)]
#[command(after_help = "\
Environment (those of Peekaping's worker and of arq ones):
  REDIS_URL (REDIS_URL_LOCAL outside of containers), or REDIS_HOST [redis], REDIS_PORT [6379], REDIS_USERNAME,
  REDIS_PASSWORD, REDIS_DB [0], REDIS_SSL; REDIS_MAX_CONNECTIONS, REDIS_CONNECTION_TIMEOUT
  QUEUE_CONCURRENCY [128], WORKER_KEEP_RESULT_SECONDS, WORKER_MAX_TRIES
  LOG_LEVEL [info], MODE or ENVIRONMENT [dev], SERVICE_NAME, TZ
Lapwing's own: LAPWING_CONFIG, LAPWING_PLUGINS, LAPWING_ADMIN_LISTEN, LAPWING_ADMIN_TOKEN

Exit codes: 0 stopped or drained; of --check: 0 a worker lives, 1 none does; 2 could not do it; 64 the configuration is wrong

Examples:
  REDIS_HOST=127.0.0.1 lapwing worker --plugins ./plugins
  lapwing worker --config queues.toml --burst     until the queues are empty
  lapwing worker --config queues.toml --check     does a worker live?")]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    shared: Shared,
    /// End once the queues are empty, what is scheduled for later included
    #[arg(long)]
    burst: bool,
    /// Only tell whether a worker of these queues lives, by their health-check keys
    #[arg(long, conflicts_with_all = ["burst", "watch"])]
    check: bool,
    /// Start again when the settings file changes; a file with faults changes nothing
    #[arg(long, conflicts_with = "burst")]
    watch: bool,
}

/// Runs it.
pub(crate) fn main(args: &WorkerArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.shared, environment)?;
    config.start_logging();
    role::block_on(async {
        if args.check {
            return role::lives(&config).await;
        }
        let stop = shutdown::on_signal()?;
        if !args.watch {
            return serve(config, args.burst, &stop).await;
        }
        let load = |now: SocketAddr| {
            let config = Config::load(&args.shared, environment)?;
            // The present worker must not make room for one that cannot start.
            if config.listen != now
                && let Err(error) = std::net::TcpListener::bind(config.listen)
            {
                let mut faults = Faults::of(config.file.as_ref());
                faults.push(
                    "admin.listen",
                    format!("cannot listen on {}: {error}", config.listen),
                );
                return Err(faults);
            }
            Ok(config)
        };
        watch::restarting(config, load, stop, async |config, stop| {
            serve(config, false, &stop).await.map(drop)
        })
        .await?;
        Ok(Exit::Up)
    })
}

/// One life of the worker, until `stop`.
async fn serve(config: Config, burst: bool, stop: &CancellationToken) -> anyhow::Result<Exit> {
    let role = Role::new(&config)?;
    let server = admin::Server::bind(config.listen).await?;
    let _plugins = role.plugins(&config);
    let (tracker, ended) = (TaskTracker::new(), CancellationToken::new());
    info!(
        "admin API at http://{}/api/v1/; tasks from Redis at {}",
        server.address, config.redis.shown
    );
    tracker.spawn(server.run(role.admin(&config), ended.clone()));
    let mut outcome = Ok(());
    let connected = role.connect(&config, &config.queues, stop).await;
    if let Ok(Some(queues)) = &connected {
        config.hooks.start(stop).await?;
        let beacons = queues.beacons();
        outcome = role
            .worker(&config, burst)
            .run(queues.served(None), stop.clone())
            .await;
        beacons.put_out().await;
        config.hooks.stop().await;
    }
    ended.cancel();
    tracker.close();
    tracker.wait().await;
    outcome.and(connected).map(|_| Exit::Up)
}
