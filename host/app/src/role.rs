//! What every role is built from: the kinds, the prober, the metrics, and who this process is.

use crate::{
    admin,
    config::{Config, Faults},
    kinds::Kinds,
    metrics::Metrics,
    probe::Prober,
    pulse::Pulse,
    worker::Worker,
};
use lapwing_checks::{Net, schema};
use lapwing_model::{SystemClock, WorkerIdentity};
use lapwing_queue::{Sink, Source, asynq};
use lapwing_wasm::PluginHost;
use serde_json::Value;
use std::sync::Arc;

/// The parts of one process.
pub(crate) struct Role {
    /// Runs checks.
    pub(crate) prober: Prober,
    /// Who this is.
    pub(crate) identity: WorkerIdentity,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
}

/// Runs `role` on a runtime with a thread for each processor.
pub(crate) fn block_on<T>(role: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(role);
    // What still runs (an abandoned look-up) must not hold up the exit.
    runtime.shutdown_background();
    outcome
}

impl Role {
    /// Loads plugins and builds the parts.
    pub(crate) async fn load(config: &Config) -> anyhow::Result<Self> {
        let net = Net::new(config.network.clone());
        let kinds = Kinds::load(
            &config.plugins,
            config.plugins_required,
            config.plugin_settings.clone(),
        )
        .await?;
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        Ok(Self {
            prober: Prober {
                kinds: Arc::new(kinds),
                net,
                clock: Arc::new(SystemClock),
            },
            identity: WorkerIdentity {
                name: format!("{host}:{}", std::process::id()),
                region: config.region.clone(),
            },
            metrics: Arc::new(Metrics::new()),
            pulse: Arc::new(Pulse::new()),
        })
    }

    /// Holds every monitor's configuration against its kind's schema. An unknown kind is only warned of: its plugin
    /// may be mended while the other monitors are watched.
    pub(crate) fn check_monitors(&self, config: &Config) -> Result<(), Faults> {
        let registry = self.prober.kinds.registry();
        let mut faults = Faults::of(config.file.as_ref());
        for (index, monitor) in config.monitors.iter().enumerate() {
            match registry.executor(&monitor.kind) {
                Ok(executor) => {
                    let value = serde_json::from_str(&monitor.config).unwrap_or(Value::Null);
                    for (field, message) in schema::faults(
                        &executor.info().schema,
                        &value,
                        &format!("monitors[{index}].config"),
                    ) {
                        faults.push(field, message);
                    }
                }
                Err(error) => tracing::warn!(monitor.id, "monitor `{}`: {error}", monitor.name),
            }
        }
        faults.into_result(())
    }

    /// A plugin host by itself, to look into a file.
    pub(crate) fn host(config: &Config) -> anyhow::Result<Arc<PluginHost>> {
        Ok(PluginHost::new(config.plugin_settings.clone())?)
    }

    /// How this process speaks Asynq.
    pub(crate) fn asynq_options(config: &Config) -> asynq::Options {
        asynq::Options {
            queues: config.queues.clone(),
            concurrency: config.concurrency,
            ..asynq::Options::default()
        }
    }

    /// The worker of this process.
    pub(crate) fn worker(&self, config: &Config, source: Arc<dyn Source>, sink: Arc<dyn Sink>) -> Worker {
        Worker {
            identity: self.identity.clone(),
            source,
            sink,
            prober: self.prober.clone(),
            metrics: self.metrics.clone(),
            pulse: self.pulse.clone(),
            concurrency: config.concurrency,
            grace: config.grace,
        }
    }

    /// What the admin API of this process works on.
    pub(crate) fn admin(&self, config: &Config) -> admin::State {
        admin::State {
            kinds: self.prober.kinds.clone(),
            prober: self.prober.clone(),
            metrics: self.metrics.clone(),
            pulse: self.pulse.clone(),
            liveness: config.liveness,
            identity: self.identity.clone(),
            token: config.token.clone(),
            checks: admin::State::check_slots(),
        }
    }
}
