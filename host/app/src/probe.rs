//! Runs one task's check: finds the executor, keeps the deadline, and turns every way to fail into an observation.
//!
//! The worker, `lapwing check` and `POST /api/v1/checks` all run checks through here.

use crate::kinds::Kinds;
use futures_util::FutureExt;
use lapwing_checks::{CheckError, Net, ProbeContext};
use lapwing_model::{CheckResult, Clock, Observation, Reason, Status, Task, WorkerIdentity};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::time::Instant;

/// What an executor may overrun its deadline by before it is cut off: executors end in time by themselves and know
/// better what to say.
const SLACK: Duration = Duration::from_millis(50);

/// A deadline seen this late means that the worker, not the target, stood still.
const STALL: Duration = Duration::from_millis(500);

/// Runs checks.
#[derive(Clone)]
pub(crate) struct Prober {
    /// The kinds there are.
    pub(crate) kinds: Arc<Kinds>,
    /// The door to the network.
    pub(crate) net: Net,
    /// The time of day.
    pub(crate) clock: Arc<dyn Clock>,
    /// Who this is.
    pub(crate) identity: WorkerIdentity,
}

/// One run, and whether another may end otherwise.
#[derive(Debug)]
pub(crate) struct Run {
    /// What was seen. On the heap, as every layer of the worker would carry and copy it.
    pub(crate) result: Box<CheckResult>,
    /// Our own trouble stood in the way, of a sort that passes.
    pub(crate) again: bool,
}

impl Prober {
    /// Runs `task` once. Never fails, never panics, and ends at most 50 ms after the task's
    /// budget; at the start of the process once more as long, where the kind's plugin is still being compiled. Cancel safe.
    pub(crate) async fn run(&self, task: &Arc<Task>) -> CheckResult {
        *self.run_as(task, None, false).await.result
    }

    /// As [`Self::run`], for a worker: for the monitor of that `queue`; with `load_test`, there are the kinds of load tests,
    /// too.
    pub(crate) async fn run_as(&self, task: &Arc<Task>, queue: Option<Arc<str>>, load_test: bool) -> Run {
        let started_at = self.clock.now();
        let outcome = if task.under_maintenance {
            Ok(Observation::unknown(
                Reason::Maintenance,
                "Monitor under maintenance",
            ))
        } else {
            // What is still being compiled is waited for as long as the check might take, and does not shorten it.
            let _ = tokio::time::timeout(task.budget(), self.kinds.settled(&task.monitor.kind)).await;
            let guarded = AssertUnwindSafe(self.try_probe(task, queue, load_test))
                .catch_unwind()
                .await;
            guarded.unwrap_or_else(|panic| Err(panicked(task, &*panic)))
        };
        let again = outcome.as_ref().is_err_and(CheckError::is_passing);
        let observation = outcome.unwrap_or_else(CheckError::into_observation);
        let ended_at = self.clock.now();
        let result = CheckResult::new(task, &self.identity, started_at, ended_at, observation);
        let result = Box::new(result);
        Run { result, again }
    }

    /// As [`Self::run`], for somebody who tries a configuration out: what the kind itself finds wrong with it is told
    /// instead.
    pub(crate) async fn try_out(&self, task: &Arc<Task>) -> CheckResult {
        let started_at = self.clock.now();
        let observation = match self.review(task).await {
            Ok(()) => return self.run(task).await,
            Err(error) => error.into_observation(),
        };
        CheckResult::new(task, &self.identity, started_at, self.clock.now(), observation)
    }

    async fn review(&self, task: &Arc<Task>) -> Result<(), CheckError> {
        let _ = tokio::time::timeout(task.budget(), self.kinds.settled(&task.monitor.kind)).await;
        let executor = self.kinds.executor(&task.monitor.kind)?;
        let deadline = Instant::now() + task.budget();
        let faults = executor.review(&task.monitor.config, "", deadline).await?;
        if faults.is_empty() {
            return Ok(());
        }
        Err(CheckError::unfit(&faults))
    }

    async fn try_probe(
        &self,
        task: &Arc<Task>,
        queue: Option<Arc<str>>,
        load_test: bool,
    ) -> Result<Observation, CheckError> {
        let executor = self.kinds.executor_as(&task.monitor.kind, load_test)?;
        let budget = task.budget();
        let deadline = Instant::now() + budget;
        let context = ProbeContext {
            task: task.clone(),
            queue,
            deadline,
            net: self.net.clone(),
            clock: self.clock.clone(),
        };
        let outcome =
            tokio::time::timeout_at(deadline + SLACK, executor.execute(&task.monitor.config, &context)).await;
        let late = Instant::now().saturating_duration_since(deadline);
        match outcome {
            Ok(Ok(seen)) if late > STALL && is_timeout(&seen) => Err(stalled(late)),
            Ok(outcome) => outcome,
            Err(_) if late > STALL => Err(stalled(late)),
            Err(_) => Err(CheckError::Internal(format!(
                "the check did not end within its {budget:?}"
            ))),
        }
    }
}

/// Whether the target is said to have been too slow.
fn is_timeout(seen: &Observation) -> bool {
    use Reason::{ConnectionTimeout, DnsTimeout, ResponseTimeout, TlsTimeout};
    let late = [DnsTimeout, ConnectionTimeout, TlsTimeout, ResponseTimeout];
    seen.status == Status::Down && seen.reason.as_ref().is_some_and(|reason| late.contains(reason))
}

/// A worker that was stopped, frozen or starved says nothing about its target: the answer may have been there.
fn stalled(late: Duration) -> CheckError {
    CheckError::Internal(format!(
        "this worker was stalled: the check's deadline was seen {late:.1?} late"
    ))
}

fn panicked(task: &Task, panic: &(dyn std::any::Any + Send)) -> CheckError {
    let text = panic_text(panic);
    tracing::error!(
        check.kind = task.monitor.kind,
        monitor.id = task.monitor.id,
        "check panicked: {text}"
    );
    CheckError::Internal(format!("the check panicked: {text}"))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
