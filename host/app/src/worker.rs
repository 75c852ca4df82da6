//! The worker: reserve, execute, publish, settle.

use crate::{metrics::Metrics, probe::Prober, pulse::Pulse};
use lapwing_model::{CheckResult, Observation};
use lapwing_queue::{Lease, Sink, Source};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug, info, warn};

/// Takes tasks from a source, runs them, and gives the results to a sink.
#[derive(Clone)]
pub(crate) struct Worker {
    /// Where tasks come from.
    pub(crate) source: Arc<dyn Source>,
    /// Where results go to.
    pub(crate) sink: Arc<dyn Sink>,
    /// Runs the checks.
    pub(crate) prober: Prober,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether this worker is alive.
    pub(crate) pulse: Arc<Pulse>,
    /// How many checks run at once.
    pub(crate) concurrency: usize,
    /// How long running checks may go on after the stop.
    pub(crate) grace: Duration,
}

impl Worker {
    /// Works until `stop`, then lets running checks end within the grace and gives the rest back to the queue.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.concurrency));
        let running = TaskTracker::new();
        let abort = CancellationToken::new();
        while let Some(room) = self.room(&slots, &stop).await {
            match self.source.reserve(room).await {
                Ok(leases) => {
                    self.pulse.beat();
                    for lease in leases {
                        let Ok(slot) = slots.clone().try_acquire_owned() else {
                            warn!("the queue gave more tasks than asked for; leaving one to be recovered");
                            break;
                        };
                        running.spawn(self.clone().run_one(lease, slot, abort.clone()));
                    }
                }
                // The source paces itself: an error here comes after a pause.
                Err(error) => {
                    self.metrics.queue_errors.inc();
                    warn!(
                        "cannot take tasks, trying again: {:#}",
                        anyhow::Error::from(error)
                    );
                }
            }
        }
        self.source.drain().await;
        running.close();
        if tokio::time::timeout(self.grace, running.wait()).await.is_err() {
            let (count, checks) = (running.len(), if running.len() == 1 { "check" } else { "checks" });
            info!(
                "{count} {checks} did not end within the grace of {:?} and are given up",
                self.grace
            );
            abort.cancel();
            // Giving back is one call to the queue; if that cannot be made either, the leases run out.
            let _ = tokio::time::timeout(Duration::from_secs(2), running.wait()).await;
        }
        self.source.close().await;
    }

    /// Waits for room for at least one more check; `None` when it is time to stop.
    async fn room(&self, slots: &Semaphore, stop: &CancellationToken) -> Option<NonZeroUsize> {
        if slots.available_permits() == 0 {
            self.pulse.set_full(true);
        }
        let slot = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            slot = slots.acquire() => slot.ok()?,
        };
        drop(slot);
        self.pulse.set_full(false);
        NonZeroUsize::new(slots.available_permits())
    }

    async fn run_one(self, lease: Lease, slot: OwnedSemaphorePermit, abort: CancellationToken) {
        let task = lease.task().clone();
        let span = tracing::info_span!(
            "task",
            task.id = lease.id(),
            monitor.id = task.monitor.id,
            check.kind = task.monitor.kind,
            worker.id = self.prober.identity.name
        );
        self.settle(lease, abort).instrument(span).await;
        drop(slot);
    }

    async fn settle(self, lease: Lease, abort: CancellationToken) {
        let task = lease.task().clone();
        if task.is_stale(self.prober.clock.now()) {
            self.metrics.tasks_stale.inc();
            debug!("task is stale; the next one is due");
            return log_lost(lease.ack().await);
        }
        let result = {
            let _running = self.metrics.running();
            tokio::select! {
                result = self.prober.run(&task) => result,
                () = abort.cancelled() => return log_lost(lease.requeue().await),
                () = lease.cancelled() => {
                    info!("cancelled by request; no result");
                    return log_lost(lease.ack().await);
                }
                () = lease.lost() => return warn!("lease lost while the check ran; another worker has the task"),
            }
        };
        self.report(&result);
        log_lost(lease.publish_and_ack(&*self.sink, &result).await);
    }

    fn report(&self, result: &CheckResult) {
        let Observation {
            status,
            reason,
            message,
            latency,
            ..
        } = &result.observation;
        let reason = reason.as_ref().map_or("", lapwing_model::Reason::as_str);
        let known = self.prober.kinds.registry().executor(&result.kind).is_ok();
        self.metrics.observe(result, known);
        debug!(
            probe.status = status.as_str(),
            probe.reason = reason,
            duration_ms = latency.map(lapwing_model::observation::milliseconds),
            "{status}: {message}"
        );
    }
}

fn log_lost(outcome: Result<(), lapwing_queue::QueueError>) {
    if let Err(error) = outcome {
        warn!("{:#}", anyhow::Error::from(error));
    }
}
