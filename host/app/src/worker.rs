//! The worker: reserve, execute, publish, settle; the same for each queue it serves.

use crate::{
    metrics::Metrics,
    probe::{Prober, Run},
    pulse::Pulse,
    queues::Open,
};
use anyhow::Context;
use lapwing_model::{CheckResult, Observation, Task, task::LONGEST_TIMEOUT};
use lapwing_queue::{Inspect, Lease, Policy, Sink, Source};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug, info, warn};

/// Takes tasks from its queues, runs them, and gives the results to their sinks.
#[derive(Clone)]
pub(crate) struct Worker {
    /// Runs the checks.
    pub(crate) prober: Prober,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether this worker is alive.
    pub(crate) pulse: Arc<Pulse>,
    /// How long running checks may go on after the stop.
    pub(crate) grace: Duration,
    /// End once the queues are empty, instead of waiting for more.
    pub(crate) burst: bool,
}

/// What is taken from one source, a queue or several with a common budget.
pub(crate) struct Served {
    /// For people.
    pub(crate) name: String,
    /// Where tasks come from.
    pub(crate) source: Arc<dyn Source>,
    /// Where results go to.
    pub(crate) sink: Arc<dyn Sink>,
    /// Tells whether the queues are empty.
    pub(crate) inspect: Arc<dyn Inspect>,
    /// How many checks run at once.
    pub(crate) concurrency: usize,
    /// Each queue.
    pub(crate) queues: Vec<Arc<Open>>,
}

impl Worker {
    /// Serves all queues until `stop`; each then lets running checks end within the grace and gives the rest back. `Err`
    /// when one of them is no longer served because of a fault of ours; then the others are stopped, too.
    pub(crate) async fn run(self, served: Vec<Served>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut queues = JoinSet::new();
        for served in served {
            queues.spawn(Arc::new(self.clone()).serve(Arc::new(served), stop.clone()));
        }
        let mut outcome = Ok(());
        while let Some(ended) = queues.join_next().await {
            if let Err(error) = ended {
                stop.cancel();
                outcome = Err(error).context("a queue is no longer served, by a fault of Lapwing's");
            }
        }
        outcome
    }

    async fn serve(self: Arc<Self>, served: Arc<Served>, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(served.concurrency));
        let running = TaskTracker::new();
        let abort = CancellationToken::new();
        while let Some(room) = self.room(&slots, &stop).await {
            match served.source.reserve(room).await {
                Ok(leases) => {
                    self.pulse.beat();
                    if leases.is_empty() && self.burst && running.is_empty() && served.is_drained().await {
                        break;
                    }
                    for lease in leases {
                        let Ok(slot) = slots.clone().try_acquire_owned() else {
                            warn!("the queue gave more tasks than asked for; leaving one to be recovered");
                            break;
                        };
                        let run = self.clone().run_one(served.clone(), lease, slot, abort.clone());
                        running.spawn(run);
                    }
                }
                // The source paces itself: an error here comes after a pause.
                Err(error) => {
                    self.metrics.queue_errors.inc();
                    warn!(
                        queue.name = served.name,
                        "cannot take tasks, trying again: {:#}",
                        anyhow::Error::from(error)
                    );
                }
            }
        }
        served.source.drain().await;
        running.close();
        if tokio::time::timeout(self.grace, running.wait()).await.is_err() {
            let (count, checks) = (running.len(), if running.len() == 1 { "check" } else { "checks" });
            info!(
                queue.name = served.name,
                "{count} {checks} did not end within the grace of {:?} and are given up", self.grace
            );
            abort.cancel();
            // Giving back is one call to the queue; if that cannot be made either, the leases run out.
            let _ = tokio::time::timeout(Duration::from_secs(2), running.wait()).await;
        }
        served.source.close().await;
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

    async fn run_one(
        self: Arc<Self>,
        served: Arc<Served>,
        lease: Lease,
        slot: OwnedSemaphorePermit,
        abort: CancellationToken,
    ) {
        let task = lease.task().clone();
        let span = tracing::info_span!(
            "task",
            task.id = lease.id(),
            monitor.id = task.monitor.id,
            check.kind = task.monitor.kind,
            queue.name = served.name,
            worker.id = self.prober.identity.name
        );
        self.settle(&served, lease, abort).instrument(span).await;
        drop(slot);
    }

    async fn settle(&self, served: &Served, lease: Lease, abort: CancellationToken) {
        let Some(queue) = served.queue(&lease) else {
            return log_lost(lease.requeue().await);
        };
        let policy = lease.policy();
        let kind = &lease.task().monitor.kind;
        let load = queue.settings.load_test && self.prober.kinds.load().get(kind).is_some();
        let task = limited(lease.task(), policy, load);
        if task.is_stale(self.prober.clock.now()) {
            self.metrics.tasks_stale.inc();
            debug!("task is stale; the next one is due");
            return log_lost(lease.ack().await);
        }
        let whose = (!task.nameless).then(|| queue.settings.name.as_str().into());
        let run = {
            let _running = (self.metrics.running(), queue.tally.running());
            tokio::select! {
                run = self.prober.run_as(&task, whose, load) => run,
                () = abort.cancelled() => return log_lost(lease.requeue().await),
                () = lease.cancelled() => {
                    info!("cancelled by request; no result");
                    queue.tally.failed();
                    return log_lost(lease.abort().await);
                }
                () = lease.lost() => return warn!("lease lost while the check ran; another worker has the task"),
            }
        };
        self.report(&run.result);
        log_lost(match disposition(&run, &task, policy) {
            Disposition::Publish => {
                queue.tally.done(&run.result);
                lease.publish_and_ack(&*served.sink, &run.result).await
            }
            Disposition::Settle => {
                queue.tally.done(&run.result);
                lease.keep_and_ack(&run.result).await
            }
            Disposition::Retry(why) => {
                debug!("tried again later: {why}");
                queue.tally.retried();
                lease.retry(why).await
            }
        });
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
        let known = self.prober.kinds.registry().get(&result.kind).is_some();
        self.metrics.observe(result, known);
        debug!(
            probe.status = status.as_str(),
            probe.reason = reason,
            duration_ms = latency.map(lapwing_model::observation::milliseconds),
            "{status}: {message}"
        );
    }
}

impl Served {
    /// The queue that a task was taken from.
    fn queue(&self, lease: &Lease) -> Option<&Arc<Open>> {
        let named = |name| self.queues.iter().find(|open| open.settings.name == name);
        lease.queue().and_then(named).or(self.queues.first())
    }

    /// Whether nothing waits in any of the queues, now or later.
    async fn is_drained(&self) -> bool {
        for queue in self.inspect.queues() {
            match self.inspect.stats(&queue).await {
                Ok(stats) if stats.pending + stats.scheduled + stats.retry == 0 => {}
                _ => return false,
            }
        }
        true
    }
}

/// The task as its queue lets it run: for no longer than the queue's own limit. A load test that sets no time of its own
/// gets all of that.
fn limited(task: &Arc<Task>, policy: Policy, load: bool) -> Arc<Task> {
    let limit = policy.job_timeout.unwrap_or(LONGEST_TIMEOUT);
    let unset = load && task.monitor.timeout.is_zero();
    if limit >= task.budget() && !unset {
        return task.clone();
    }
    let mut task = Task::clone(task);
    task.monitor.timeout = limit;
    Arc::new(task)
}

/// What becomes of a task that was run.
#[derive(Debug, PartialEq, Eq)]
enum Disposition<'a> {
    /// Its result is told, and it is done.
    Publish,
    /// There is nothing to tell, and it is done.
    Settle,
    /// Our own trouble, which another try may not meet, and the queue allows one.
    Retry(&'a str),
}

fn disposition<'a>(run: &'a Run, task: &Task, policy: Policy) -> Disposition<'a> {
    if run.again && task.attempt < policy.max_tries {
        Disposition::Retry(&run.result.observation.message)
    } else if run.result.observation.untold {
        Disposition::Settle
    } else {
        Disposition::Publish
    }
}

fn log_lost(outcome: Result<(), lapwing_queue::QueueError>) {
    if let Err(error) = outcome {
        warn!("{:#}", anyhow::Error::from(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_model::{Reason, WorkerIdentity, peekaping};

    fn run(again: bool) -> (Run, Task) {
        let task = peekaping::parse_task(br#"{"monitor_id":"m","timeout":30}"#).unwrap();
        let worker = WorkerIdentity {
            name: "w".to_owned(),
            region: None,
        };
        let at = "2026-04-11T08:15:20Z".parse().unwrap();
        let seen = Observation::unknown(Reason::PluginTrap, "trapped");
        let result = Box::new(CheckResult::new(&task, &worker, at, at, seen));
        (Run { result, again }, task)
    }

    #[test]
    fn our_own_trouble_is_tried_again_as_often_as_the_queue_allows() {
        let policy = |max_tries| Policy {
            max_tries,
            job_timeout: None,
        };
        let (seen, mut task) = run(true);
        assert_eq!(disposition(&seen, &task, policy(1)), Disposition::Publish);
        assert_eq!(
            disposition(&seen, &task, policy(2)),
            Disposition::Retry("trapped")
        );
        task.attempt = 2;
        assert_eq!(disposition(&seen, &task, policy(2)), Disposition::Publish);
        let (final_word, task) = run(false);
        assert_eq!(disposition(&final_word, &task, policy(5)), Disposition::Publish);
    }

    #[test]
    fn what_is_not_news_is_settled_without_a_result() {
        let (mut seen, task) = run(false);
        seen.result.observation = Observation::up("pushed in time").untold();
        assert_eq!(disposition(&seen, &task, Policy::default()), Disposition::Settle);
    }

    #[test]
    fn a_queues_limit_shortens_a_task_and_never_lengthens_it() {
        let policy = |seconds| Policy {
            max_tries: 1,
            job_timeout: Some(Duration::from_secs(seconds)),
        };
        let task = Arc::new(run(true).1);
        assert_eq!(limited(&task, policy(5), false).budget(), Duration::from_secs(5));
        assert_eq!(
            limited(&task, policy(50), false).budget(),
            Duration::from_secs(30)
        );
        let mut unset = Task::clone(&task);
        unset.monitor.timeout = Duration::ZERO;
        let unset = Arc::new(unset);
        assert_eq!(
            limited(&unset, policy(600), false).budget(),
            Duration::from_secs(16)
        );
        assert_eq!(
            limited(&unset, policy(600), true).budget(),
            Duration::from_secs(600)
        );
    }
}
