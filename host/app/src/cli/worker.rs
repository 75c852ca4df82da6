//! `lapwing worker`: takes tasks from Redis and publishes results, as Peekaping's worker does.

use super::{Exit, Shared};
use crate::{
    admin,
    config::{Config, Environment},
    role::{self, Role},
    shutdown,
};
use clap::Args;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

/// `lapwing worker`
#[derive(Debug, Args)]
#[command(after_help = "\
Environment (those of Peekaping's worker):
  REDIS_URL, or REDIS_HOST [redis], REDIS_PORT [6379], REDIS_PASSWORD, REDIS_DB [0]
  QUEUE_CONCURRENCY [128], LOG_LEVEL [info], MODE [dev], SERVICE_NAME
Lapwing's own: LAPWING_CONFIG, LAPWING_PLUGINS, LAPWING_ADMIN_LISTEN, LAPWING_ADMIN_TOKEN

Example:
  REDIS_HOST=127.0.0.1 lapwing worker --plugins ./plugins")]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    shared: Shared,
}

/// Runs it.
pub(crate) fn main(args: &WorkerArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let mut config = Config::load(&args.shared, environment)?;
    config.start_logging();
    let redis = config.redis.take().unwrap_or_else(|| environment.redis_default());
    role::block_on(async {
        let mut role = Role::new(&config)?;
        let server = admin::Server::bind(config.listen).await?;
        let _plugins = role.plugins(&config);
        let stop = shutdown::on_signal()?;
        let (tracker, ended) = (TaskTracker::new(), CancellationToken::new());
        info!(
            "admin API at http://{}/api/v1/; tasks from Redis at {}",
            server.address, redis.shown
        );
        tracker.spawn(server.run(role.admin(&config), ended.clone()));
        if let Some(asynq) = role.connect(&redis, Role::asynq_options(&config), &stop).await? {
            role.worker(&config, asynq.clone(), asynq).run(stop).await;
        }
        ended.cancel();
        tracker.close();
        tracker.wait().await;
        Ok(Exit::Up)
    })
}
