//! What every role is built from: the kinds, the prober, the metrics, and who this process is.

use crate::{
    admin,
    cli::Exit,
    config::{Config, Faults, QueueSettings},
    consent, console,
    kinds::Kinds,
    metrics::{Metrics, plugins::Plugins, queue::Queue},
    probe::Prober,
    pulse::Pulse,
    queues::Queues,
    review,
    state::RedisState,
    worker::Worker,
};
use anyhow::Context;
use jiff::Timestamp;
use lapwing_checks::Net;
use lapwing_model::{Clock, SystemClock, WorkerIdentity};
use lapwing_queue::{Memos, beacon};
use lapwing_wasm::{HostError, PluginHost};
use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// Between two tries to reach a Redis that is away; each try itself takes up to two seconds.
const RETRY: Duration = Duration::from_millis(250);

/// The parts of one process.
pub(crate) struct Role {
    /// Runs checks.
    pub(crate) prober: Prober,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    queues: watch::Sender<Queues>,
    clock: Arc<LateClock>,
}

/// The system's clock, and Redis' as soon as it is known.
#[derive(Default)]
struct LateClock(OnceLock<Arc<dyn Clock>>);

impl Clock for LateClock {
    fn now(&self) -> Timestamp {
        self.0
            .get()
            .map_or_else(|| SystemClock.now(), |clock| clock.now())
    }
}

/// Runs `role` on a runtime with a thread for each processor.
pub(crate) fn block_on<T>(role: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(role);
    // What still runs (an abandoned look-up) must not hold up the exit.
    runtime.shutdown_background();
    outcome
}

/// Whether a worker of each queue lives, by their health-check keys: `lapwing worker --check`.
pub(crate) async fn lives(config: &Config) -> anyhow::Result<Exit> {
    let redis = &config.redis;
    let mut exit = Exit::Up;
    for queue in &config.queues {
        let key = &queue.health_check_key;
        let lit = beacon::is_lit(&redis.server, key).await;
        let lit = lit.with_context(|| format!("cannot use Redis at {}", redis.shown))?;
        let (name, word) = (&queue.name, if lit { "lives" } else { "none lives" });
        console::line(&format!("worker of queue `{name}`: {word} (key `{key}`)"));
        if !lit {
            exit = Exit::Down;
        }
    }
    Ok(exit)
}

/// What the plugin host says of its settings is a fault of the configuration, like any other.
fn of_settings(error: anyhow::Error, config: &Config) -> anyhow::Error {
    let all = match error.downcast::<HostError>() {
        Ok(HostError::Settings(all)) => all,
        Ok(error) => return error.into(),
        Err(error) => return error,
    };
    let mut faults = Faults::of(config.file.as_ref());
    for fault in &all {
        let (field, why) = fault.split_once(": ").unwrap_or(("settings", fault));
        faults.push(format!("plugins.{field}"), why);
    }
    faults.into()
}

impl Role {
    /// Builds the parts, with native kinds alone until the plugins are looked for: [`Self::plugins`].
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let kinds = Kinds::new(config).map_err(|error| of_settings(error, config))?;
        Ok(Self::build(config, kinds))
    }

    /// Builds the parts and loads the plugins; where some must be compiled, `note` has it told on standard error.
    pub(crate) async fn load(config: &Config, note: bool) -> anyhow::Result<Self> {
        let role = Self::new(config)?;
        let slow = |path: &Path| {
            if note {
                console::note(&format!("compiling the plugins of `{}` …", path.display()));
            }
        };
        role.prober.kinds.look(slow).await?;
        Ok(role)
    }

    /// Builds the parts to run `kind` alone: plugins are loaded only for a kind that is not native.
    pub(crate) async fn load_for(kind: &str, config: &Config, note: bool) -> anyhow::Result<Self> {
        let native = Self::native(config)?;
        if native.prober.kinds.executor_as(kind, true).is_ok() {
            return Ok(native);
        }
        Self::load(config, note).await
    }

    /// Builds the parts with native kinds alone.
    pub(crate) fn native(config: &Config) -> anyhow::Result<Self> {
        Ok(Self::build(config, Kinds::native()?))
    }

    /// Loads the plugins beside all else, watches their folder from then on, and warns of the monitors that they find
    /// fault with. Ends with the handle.
    pub(crate) fn plugins(&self, config: &Config) -> AbortOnDropHandle<()> {
        let (kinds, monitors) = (self.prober.kinds.clone(), config.monitors.clone());
        let mut faults = Faults::of(config.file.as_ref());
        AbortOnDropHandle::new(tokio::spawn(async move {
            kinds.look_and_watch().await;
            review::monitors(&kinds, &monitors, &mut faults).await;
            if !faults.is_empty() {
                tracing::warn!("{faults}");
            }
        }))
    }

    fn build(config: &Config, kinds: Kinds) -> Self {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        if let Some(custody) = kinds.custody() {
            custody.set_secrets(config.secrets.clone());
            consent::warn_of_unknown_secrets(custody, &config.secret_names);
        }
        let (kinds, metrics, clock) = (Arc::new(kinds), Metrics::new(), Arc::<LateClock>::default());
        metrics.watch(Plugins::of(&kinds));
        let queues = watch::Sender::<Queues>::default();
        metrics.watch(Queue(queues.subscribe()));
        Self {
            prober: Prober {
                kinds,
                net: Net::new(config.network.clone()),
                clock: clock.clone(),
                identity: WorkerIdentity {
                    name: format!("{host}:{}", std::process::id()),
                    region: config.region.clone(),
                },
            },
            metrics: Arc::new(metrics),
            pulse: Arc::new(Pulse::new()),
            queues,
            clock,
        }
    }

    /// A plugin host by itself, to look into a file.
    pub(crate) fn host(config: &Config) -> anyhow::Result<Arc<PluginHost>> {
        PluginHost::new(config.plugin_settings.clone()).map_err(|error| of_settings(error.into(), config))
    }

    /// Connects to the queues, trying again while Redis is away, until `stop`. From then on this process goes by Redis'
    /// clock: producers stamp tasks with it, and a task's age is only right by the same one.
    pub(crate) async fn connect(
        &self,
        config: &Config,
        queues: &[QueueSettings],
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Queues>> {
        let (redis, mut said) = (&config.redis, None);
        while !stop.is_cancelled() {
            match Queues::connect(config, queues, &self.prober.kinds).await {
                Ok(connected) => {
                    let _ = self.clock.0.set(connected.clock);
                    if let Some(custody) = self.prober.kinds.custody() {
                        custody.set_state(RedisState(Memos::new(&redis.server)));
                    }
                    self.show(&connected.queues);
                    return Ok(Some(connected.queues));
                }
                Err(error) if error.is_temporary() => {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    if said.as_ref() != Some(&error) {
                        tracing::warn!("cannot use Redis at {} yet, trying again: {error}", redis.shown);
                        said = Some(error);
                    }
                    tokio::select! { () = tokio::time::sleep(RETRY) => {}, () = stop.cancelled() => {} }
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot use Redis at {}", redis.shown));
                }
            }
        }
        Ok(None)
    }

    /// Lets the admin API see `queues`.
    pub(crate) fn show(&self, queues: &Queues) {
        self.queues.send_replace(queues.clone());
    }

    /// The worker of this process.
    pub(crate) fn worker(&self, config: &Config, burst: bool) -> Worker {
        Worker {
            prober: self.prober.clone(),
            metrics: self.metrics.clone(),
            pulse: self.pulse.clone(),
            grace: config.grace,
            burst,
        }
    }

    /// What the admin API of this process works on.
    pub(crate) fn admin(&self, config: &Config) -> admin::State {
        admin::State {
            queues: self.queues.subscribe(),
            loads: Arc::default(),
            prober: self.prober.clone(),
            metrics: self.metrics.clone(),
            pulse: self.pulse.clone(),
            liveness: config.liveness,
            token: config.token.clone(),
            checks: admin::State::check_slots(),
            upload_token: config.upload_token.clone(),
            upload_limit: u64::from(config.plugin_settings.file_mib) << 20,
            uploads: Arc::default(),
            secrets: config.secret_names.clone(),
        }
    }
}
