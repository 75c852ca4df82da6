//! The right to run one task for a while.

use crate::QueueError;
use async_trait::async_trait;
use lapwing_model::Task;
use std::{fmt, sync::Arc};
use tokio_util::sync::CancellationToken;

/// One reserved task. Consumed by [`ack`](Self::ack), [`archive`](Self::archive) or [`requeue`](Self::requeue);
/// dropping it means that the lease runs out and the task is recovered.
///
/// The dialect keeps the lease alive in the background while this value lives.
#[must_use = "dropping a lease leaves its task to be recovered"]
pub struct Lease {
    task: Arc<Task>,
    settle: Box<dyn Settle>,
}

/// One attempt at each way to end a lease; every one is idempotent, so that a lost answer can be asked for again.
#[async_trait]
pub trait Settle: Send + Sync {
    /// The task is done.
    async fn ack(&self) -> Result<(), QueueError>;
    /// The task goes to the dead letters.
    async fn archive(&self, why: &str) -> Result<(), QueueError>;
    /// The task goes back to the head of the queue.
    async fn requeue(&self) -> Result<(), QueueError>;
    /// Cancelled when the lease is lost, or when someone asked for the task to be cancelled.
    fn lost(&self) -> &CancellationToken;
}

impl Lease {
    /// Made by a dialect.
    pub fn new(task: Arc<Task>, settle: Box<dyn Settle>) -> Self {
        Self { task, settle }
    }

    /// The task.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("monitor", &self.task.monitor.id).finish_non_exhaustive()
    }
}
