//! The right to run one task for a while.
//!
//! A worker gets leases from a [`Source`](crate::Source) and ends each of them in one of four ways. Ending a lease is
//! tried until it works or the lease is lost, because a result that was seen but not told is a monitor gone silent.

use crate::{QueueError, Sink, backoff::Backoff};
use async_trait::async_trait;
use lapwing_model::{CheckResult, Task};
use std::{fmt, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Pauses between tries to end a lease.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One reserved task. Consumed by [`ack`](Self::ack), [`publish_and_ack`](Self::publish_and_ack),
/// [`retry`](Self::retry), [`archive`](Self::archive), [`requeue`](Self::requeue) or [`abort`](Self::abort); dropping
/// it means that the lease runs out and the task is recovered.
///
/// The dialect keeps the lease alive in the background while this value lives.
#[must_use = "dropping a lease leaves its task to be recovered"]
pub struct Lease {
    id: String,
    task: Arc<Task>,
    policy: Policy,
    settle: Box<dyn Settle>,
}

/// What the queue of a task says about running it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often a task is tried, the first time included, when it is our own trouble that made it fail. 1 means once.
    pub max_tries: u32,
    /// The longest time one run may take, whatever the task itself asks for; `None` for no such limit.
    pub job_timeout: Option<Duration>,
}

impl Default for Policy {
    /// Once, for as long as the task asks.
    fn default() -> Self {
        Self {
            max_tries: 1,
            job_timeout: None,
        }
    }
}

/// One attempt at each way to end a lease; every one is idempotent, so that a lost answer can be asked for again.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Makes sure that the lease is still ours before a result is published; cheap when that is known.
    async fn confirm(&self) -> Result<(), QueueError>;
    /// The task is done. Where the dialect keeps results with their tasks, `result` is kept in the same step.
    async fn ack(&self, result: Option<&CheckResult>) -> Result<(), QueueError>;
    /// The task comes again after the dialect's pause, one attempt further. The caller sees to the limit of attempts.
    async fn retry(&self, why: &str) -> Result<(), QueueError>;
    /// The task goes to the dead letters.
    async fn archive(&self, why: &str) -> Result<(), QueueError>;
    /// The task goes back to the head of the queue.
    async fn requeue(&self) -> Result<(), QueueError>;
    /// The task was cancelled by request: it is done without a result, and where the dialect can say so, it does.
    async fn abort(&self) -> Result<(), QueueError> {
        self.ack(None).await
    }
    /// Whether the result goes to the sink. If not, it is kept with its task alone.
    fn publishes(&self) -> bool {
        true
    }
    /// The queue that the task was taken from, where the source serves several.
    fn queue(&self) -> Option<&str> {
        None
    }
    /// Cancelled when the lease is lost.
    fn lost(&self) -> &CancellationToken;
    /// Cancelled when someone asked for the task to be cancelled.
    fn cancelled(&self) -> &CancellationToken;
}

impl Lease {
    /// Made by a dialect; `id` is the queue's own name for the task.
    pub fn new(id: String, task: Arc<Task>, policy: Policy, settle: Box<dyn Settle>) -> Self {
        Self {
            id,
            task,
            policy,
            settle,
        }
    }

    /// What the queue says about running the task.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The queue's own name for the task.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The queue that the task was taken from, where the source serves several.
    pub fn queue(&self) -> Option<&str> {
        self.settle.queue()
    }

    /// The task.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Resolves when the lease is lost: the probe may stop, its result must not be written. Cancel safe.
    pub async fn lost(&self) {
        self.settle.lost().cancelled().await;
    }

    /// Resolves when someone asked for the task to be cancelled; the lease is still held. Cancel safe.
    pub async fn cancelled(&self) {
        self.settle.cancelled().cancelled().await;
    }

    /// The task is done and nothing is to be told of it.
    ///
    /// Like the other ways to end a lease it tries again while the queue is unavailable, and ends with
    /// [`QueueError::LeaseLost`] when the lease runs out first. When cancelled, the lease runs out.
    pub async fn ack(self) -> Result<(), QueueError> {
        self.persist(Step::Ack(None)).await
    }

    /// Publishes the result, then the task is done. Both are tried again as in [`ack`](Self::ack); in the order that
    /// rather tells a result twice than never. Where the dialect keeps the task's result with the task alone, nothing is
    /// published.
    pub async fn publish_and_ack(self, sink: &dyn Sink, result: &CheckResult) -> Result<(), QueueError> {
        if self.settle.publishes() {
            self.persist(Step::Publish(sink, result)).await?;
        }
        self.keep_and_ack(result).await
    }

    /// As [`ack`](Self::ack); where the dialect keeps results with their tasks, whoever asks for the task's finds it.
    pub async fn keep_and_ack(self, result: &CheckResult) -> Result<(), QueueError> {
        self.persist(Step::Ack(Some(result))).await
    }

    /// The task comes again after a pause, because of trouble of our own.
    pub async fn retry(self, why: &str) -> Result<(), QueueError> {
        self.persist(Step::Retry(why)).await
    }

    /// The task goes to the dead letters, with the reason.
    pub async fn archive(self, why: &str) -> Result<(), QueueError> {
        self.persist(Step::Archive(why)).await
    }

    /// The task goes back to the head of the queue, as if it had not been taken.
    pub async fn requeue(self) -> Result<(), QueueError> {
        self.persist(Step::Requeue).await
    }

    /// The task was cancelled by request.
    pub async fn abort(self) -> Result<(), QueueError> {
        self.persist(Step::Abort).await
    }

    async fn persist(&self, step: Step<'_>) -> Result<(), QueueError> {
        let mut backoff = Backoff::new(LEAST_PAUSE, LONGEST_PAUSE);
        let lost = self.settle.lost();
        while !lost.is_cancelled() {
            match self.attempt(step).await {
                // The dialect tells of an outage once for all tasks; a refusal may hit only this one.
                Err(QueueError::Denied(why)) => {
                    tracing::warn!(task.id = self.id, "task cannot be ended: {why}");
                }
                Err(error) if error.is_temporary() => {}
                outcome => return outcome,
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.pause()) => {}
                () = lost.cancelled() => {}
            }
        }
        Err(QueueError::LeaseLost(self.id.clone()))
    }

    async fn attempt(&self, step: Step<'_>) -> Result<(), QueueError> {
        match step {
            Step::Ack(result) => self.settle.ack(result).await,
            Step::Retry(why) => self.settle.retry(why).await,
            Step::Abort => self.settle.abort().await,
            Step::Archive(why) => self.settle.archive(why).await,
            Step::Requeue => self.settle.requeue().await,
            Step::Publish(sink, result) => {
                self.settle.confirm().await?;
                sink.publish(&self.task, result).await
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Publish(&'a dyn Sink, &'a CheckResult),
    Ack(Option<&'a CheckResult>),
    Retry(&'a str),
    Archive(&'a str),
    Requeue,
    Abort,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
