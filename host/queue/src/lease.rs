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
/// [`archive`](Self::archive) or [`requeue`](Self::requeue); dropping it means that the lease runs out and the task
/// is recovered.
///
/// The dialect keeps the lease alive in the background while this value lives.
#[must_use = "dropping a lease leaves its task to be recovered"]
pub struct Lease {
    id: String,
    task: Arc<Task>,
    settle: Box<dyn Settle>,
}

/// One attempt at each way to end a lease; every one is idempotent, so that a lost answer can be asked for again.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Makes sure that the lease is still ours before a result is published; cheap when that is known.
    async fn confirm(&self) -> Result<(), QueueError>;
    /// The task is done.
    async fn ack(&self) -> Result<(), QueueError>;
    /// The task goes to the dead letters.
    async fn archive(&self, why: &str) -> Result<(), QueueError>;
    /// The task goes back to the head of the queue.
    async fn requeue(&self) -> Result<(), QueueError>;
    /// Cancelled when the lease is lost.
    fn lost(&self) -> &CancellationToken;
    /// Cancelled when someone asked for the task to be cancelled.
    fn cancelled(&self) -> &CancellationToken;
}

impl Lease {
    /// Made by a dialect; `id` is the queue's own name for the task.
    pub fn new(id: String, task: Arc<Task>, settle: Box<dyn Settle>) -> Self {
        Self { id, task, settle }
    }

    /// The queue's own name for the task.
    pub fn id(&self) -> &str {
        &self.id
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
        self.persist(Step::Ack).await
    }

    /// Publishes the result, then the task is done. Both are tried again as in [`ack`](Self::ack); in the order that
    /// rather tells a result twice than never.
    pub async fn publish_and_ack(self, sink: &dyn Sink, result: &CheckResult) -> Result<(), QueueError> {
        self.persist(Step::Publish(sink, result)).await?;
        self.persist(Step::Ack).await
    }

    /// The task goes to the dead letters, with the reason.
    pub async fn archive(self, why: &str) -> Result<(), QueueError> {
        self.persist(Step::Archive(why)).await
    }

    /// The task goes back to the head of the queue, as if it had not been taken.
    pub async fn requeue(self) -> Result<(), QueueError> {
        self.persist(Step::Requeue).await
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
            Step::Ack => self.settle.ack().await,
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
    Ack,
    Archive(&'a str),
    Requeue,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
