//! What this process has reserved, and what it knows of its right to it; the same for every dialect.
//!
//! A dialect keeps its own facts of a task in a type of its own beside a [`Tenure`], renews all of [`Held::all`] in time,
//! and tells [`Held::renewed`] what the server said. It never looks at the clock for another reason than [`Held::expire`].

use crate::QueueError;
use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longest reason kept with a task that failed, in bytes.
const REASON_LIMIT: usize = 2048;

/// Reservations renewed by one call of a script.
pub(crate) const CHUNK: usize = 1000;

/// How long one reservation has been ours, and whether it still is.
#[derive(Debug)]
pub(crate) struct Tenure {
    /// When it was last known to be ours.
    confirmed: Mutex<Instant>,
    pub(crate) lost: CancellationToken,
    pub(crate) cancelled: CancellationToken,
    /// An attempt to settle was made: from then on the task may be gone because we ended it.
    settling: AtomicBool,
}

impl Tenure {
    /// Of what was ours at `at`.
    pub(crate) fn since(at: Instant) -> Self {
        Self {
            confirmed: Mutex::new(at),
            lost: CancellationToken::new(),
            cancelled: CancellationToken::new(),
            settling: AtomicBool::new(false),
        }
    }

    pub(crate) fn confirm(&self, at: Instant) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Time since it was last known to be ours.
    pub(crate) fn age(&self) -> Duration {
        let confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.elapsed()
    }
}

/// One task in work here, as its dialect knows it.
pub(crate) trait Reserved {
    /// The queue's name for the task.
    fn name(&self) -> &str;
    /// Our right to it.
    fn tenure(&self) -> &Tenure;

    /// Fails when the reservation is lost, or must be taken for lost because it was not renewed for `limit`.
    fn still_ours(&self, limit: Duration) -> Result<(), QueueError> {
        let tenure = self.tenure();
        if tenure.age() >= limit {
            tenure.lost.cancel();
        }
        if tenure.lost.is_cancelled() {
            return Err(QueueError::LeaseLost(self.name().to_owned()));
        }
        Ok(())
    }

    /// Makes one `attempt` to end the task, which tells whether the task was still held.
    ///
    /// After an attempt without an answer, "not held" means that it was ended then, or that the lease ran out meanwhile:
    /// either way nothing is left to do.
    fn end(
        &self,
        limit: Duration,
        attempt: impl Future<Output = Result<bool, QueueError>> + Send,
    ) -> impl Future<Output = Result<(), QueueError>> + Send
    where
        Self: Sync,
    {
        async move {
            self.still_ours(limit)?;
            let again = self.tenure().settling.swap(true, Ordering::Relaxed);
            if attempt.await? || again {
                return Ok(());
            }
            self.tenure().lost.cancel();
            self.still_ours(limit)
        }
    }
}

/// All reservations, by where they lie in memory: two of one task are possible, when one of them was lost.
#[derive(Debug)]
pub(crate) struct Held<R>(Mutex<HashMap<usize, Arc<R>>>);

impl<R> Default for Held<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R: Reserved> Held<R> {
    fn table(&self) -> MutexGuard<'_, HashMap<usize, Arc<R>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, reservation: Arc<R>) {
        self.table().insert(Arc::as_ptr(&reservation).addr(), reservation);
    }

    pub(crate) fn remove(&self, reservation: &Arc<R>) {
        self.table().remove(&Arc::as_ptr(reservation).addr());
    }

    pub(crate) fn len(&self) -> usize {
        self.table().len()
    }

    /// Those that are not lost.
    pub(crate) fn all(&self) -> Vec<Arc<R>> {
        let table = self.table();
        let ours = table.values().filter(|held| !held.tenure().lost.is_cancelled());
        ours.cloned().collect()
    }

    /// Asks whoever runs one of these tasks to stop.
    pub(crate) fn cancel(&self, wanted: impl Fn(&R) -> bool) {
        for held in self.all().into_iter().filter(|held| wanted(held)) {
            held.tenure().cancelled.cancel();
        }
    }

    /// Gives up those that were not renewed for `limit`.
    pub(crate) fn expire(&self, limit: Duration) {
        for held in self.all() {
            if held.still_ours(limit).is_err() {
                tracing::warn!(
                    task.id = held.name(),
                    "lease ran out: it could not be renewed for {limit:?}"
                );
            }
        }
    }

    /// Takes note of what the server said when it was asked at `at` to renew `asked`: which of them are lost.
    pub(crate) fn renewed(asked: &[Arc<R>], at: Instant, lost: impl Fn(&R) -> bool) {
        for held in asked {
            let tenure = held.tenure();
            if !lost(held) {
                tenure.confirm(at);
            } else if !tenure.settling.load(Ordering::Relaxed) && !tenure.lost.is_cancelled() {
                tracing::warn!(
                    task.id = held.name(),
                    "lease lost: another worker has the task, or it is gone"
                );
                tenure.lost.cancel();
            }
        }
    }
}

/// As much of a reason as is kept.
pub(crate) fn kept(why: &str) -> &str {
    why.get(..why.floor_char_boundary(REASON_LIMIT)).unwrap_or(why)
}
