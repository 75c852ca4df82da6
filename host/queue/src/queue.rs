//! What every dialect offers, and what all pass the same contract suite for.

use crate::{Inspect, Lease};
use async_trait::async_trait;
use lapwing_model::{CheckResult, Task};
use std::{num::NonZeroUsize, time::Duration};

/// Where due tasks come from.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Takes up to `room` due tasks. Waits while there are none, for at most about a second, then answers with an
    /// empty list (so that the caller can tell an idle queue from a dead one).
    ///
    /// Bytes that are no task never get here: the dialect moves them to its dead letters with the reason.
    /// An error comes only after a short, growing pause, so that a caller's loop cannot run hot.
    /// Cancel safe: what was taken but not handed over goes back, or its lease runs out.
    async fn reserve(&self, room: NonZeroUsize) -> Result<Vec<Lease>, QueueError>;

    /// Says that nothing more will be taken, before the running checks are waited for: tools then show the worker as
    /// stopped. Leases are kept alive on.
    async fn drain(&self) {}

    /// Says goodbye: takes the worker off the presence list. Leases still held run out.
    async fn close(&self);
}

/// Where results go to.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Publishes one result. Doing it twice with the same result publishes once. Not cancel safe.
    ///
    /// A dialect that keeps the result with the task alone does nothing here: see [`Settle::ack`](crate::Settle::ack).
    async fn publish(&self, task: &Task, result: &CheckResult) -> Result<(), QueueError>;
}

/// Where a producer puts tasks.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// The queue's own name for `task`, once it is enqueued: derived from its monitor's id.
    fn task_id(&self, task: &Task) -> String;

    /// Adds a task that is due after `delay`, unless one of the same monitor is still on the queue or in work.
    async fn schedule(&self, task: &Task, delay: Duration) -> Result<Enqueued, QueueError>;

    /// Adds a task that is due now, with the same exception.
    async fn enqueue(&self, task: &Task) -> Result<Enqueued, QueueError> {
        self.schedule(task, Duration::ZERO).await
    }
}

/// All that one dialect is.
pub trait Dialect: Source + Sink + Queue + Inspect {}

impl<T: Source + Sink + Queue + Inspect> Dialect for T {}

/// What became of an enqueued task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is on the queue.
    Added,
    /// The monitor's last task is not done yet; this one was dropped.
    Duplicate,
}

/// Why the queue did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The server is away, refuses writes or is loading: try again later.
    #[error("queue unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server does not let us do it: a wrong password or a missing permission. The operator must mend it.
    #[error("queue denied access: {0}")]
    Denied(String),
    /// The lease ran out: another worker has the task now, nothing may be written for it.
    #[error("lease of task `{0}` was lost")]
    LeaseLost(String),
    /// The queue takes no more tasks.
    #[error("queue is full ({0} tasks)")]
    Full(usize),
    /// The queue cannot do what was asked, or cannot carry such a task: the caller must ask for something else.
    #[error("{0}")]
    Unfit(String),
    /// The server answered something this dialect does not know.
    #[error("unexpected answer from the queue: {0}")]
    Protocol(String),
}

impl QueueError {
    /// Whether the same call may succeed later without anything else being done.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Denied(_) | Self::Full(_))
    }
}
