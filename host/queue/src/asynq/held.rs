//! The tasks that this process has reserved, and how their leases are kept alive.

use super::{Shared, keys::Keys, message::Envelope, scripts};
use crate::{QueueError, link::Link, script::Call};
use jiff::Timestamp;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Leases extended by one call of the script.
const CHUNK: usize = 1000;

/// One task in work here.
#[derive(Debug)]
pub(super) struct Reservation {
    /// Index into the queues served.
    pub(super) queue: usize,
    pub(super) id: String,
    /// What the task's hash is marked with.
    pub(super) owner: Arc<str>,
    pub(super) envelope: Envelope,
    pub(super) started: Timestamp,
    /// How long the run may take, by the message.
    pub(super) limit: Duration,
    /// When the lease was last known to be ours.
    pub(super) confirmed: Mutex<Instant>,
    pub(super) lost: CancellationToken,
    pub(super) cancelled: CancellationToken,
    /// An attempt to settle was made: from then on the task may be gone because we ended it.
    pub(super) settling: AtomicBool,
}

impl Reservation {
    pub(super) fn confirm(&self, at: Instant) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Time since the lease was last known to be ours.
    pub(super) fn age(&self) -> Duration {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    /// Fails when the lease is lost, or must be taken for lost because it was not extended in time.
    pub(super) fn still_ours(&self, lease: Duration) -> Result<(), QueueError> {
        if self.age() >= lease {
            self.lost.cancel();
        }
        if self.lost.is_cancelled() {
            Err(QueueError::LeaseLost(self.id.clone()))
        } else {
            Ok(())
        }
    }
}

/// All of them, by where they lie in memory: two of one id are possible, when one of them was lost.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashMap<usize, Arc<Reservation>>>);

impl Held {
    fn table(&self) -> MutexGuard<'_, HashMap<usize, Arc<Reservation>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, reservation: Arc<Reservation>) {
        self.table().insert(Arc::as_ptr(&reservation).addr(), reservation);
    }

    pub(super) fn remove(&self, reservation: &Arc<Reservation>) {
        self.table().remove(&Arc::as_ptr(reservation).addr());
    }

    pub(super) fn contains(&self, queue: usize, id: &str, owner: &str) -> bool {
        self.table()
            .values()
            .any(|held| held.queue == queue && held.id == id && *held.owner == *owner)
    }

    pub(super) fn all(&self) -> Vec<Arc<Reservation>> {
        self.table().values().cloned().collect()
    }

    /// Asks whoever runs the task to stop.
    pub(super) fn cancel(&self, id: &str) {
        for held in self.all().into_iter().filter(|held| held.id == id) {
            held.cancelled.cancel();
        }
    }

    /// Gives up the leases that were not extended in time.
    pub(super) fn expire(&self, lease: Duration) {
        for held in self.all() {
            if !held.lost.is_cancelled() && held.still_ours(lease).is_err() {
                tracing::warn!(
                    task.id = held.id,
                    "lease ran out: it could not be extended for {lease:?}"
                );
            }
        }
    }
}

/// Extends the leases of `held`, which are all of the queue with these keys, and learns which of them are lost.
pub(super) async fn extend(
    shared: &Shared,
    link: &Link,
    keys: &Keys,
    held: &[Arc<Reservation>],
) -> Result<(), QueueError> {
    for chunk in held.chunks(CHUNK) {
        let at = Instant::now();
        let mut call = Call::new(&scripts::EXTEND, &[&keys.lease]);
        call.arg(&keys.tasks)
            .arg(shared.clock.lease_end(shared.options.timing.lease));
        for reservation in chunk {
            call.arg(&reservation.id).arg(&*reservation.owner);
        }
        let lost: HashSet<String> = link.script(&call).await?;
        for reservation in chunk {
            if !lost.contains(&reservation.id) {
                reservation.confirm(at);
            } else if !reservation.settling.load(Ordering::Relaxed) {
                tracing::warn!(
                    task.id = reservation.id,
                    "lease lost: another worker has the task"
                );
                reservation.lost.cancel();
            }
        }
    }
    Ok(())
}
