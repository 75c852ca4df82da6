//! The entries that this process has in work, and how their leases are kept alive.

use super::{Shared, fields::parts, keys::PARKED, scripts, settle::refusal};
use crate::{QueueError, link::Link, script::Call};
use lapwing_model::Task;
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

/// Leases renewed by one call of the script.
const CHUNK: usize = 1000;

/// One entry in work here.
#[derive(Debug)]
pub(super) struct Reservation {
    /// The entry's id.
    pub(super) entry: String,
    /// How often it was handed out: with the id, the right to settle it.
    pub(super) deliveries: u64,
    /// The queue's name for the task.
    pub(super) name: String,
    /// `None` when the entry is no task.
    pub(super) task: Option<Arc<Task>>,
    /// When the lease was last known to be ours.
    confirmed: Mutex<Instant>,
    pub(super) lost: CancellationToken,
    pub(super) cancelled: CancellationToken,
    /// An attempt to settle was made: from then on the entry may be gone because we ended it.
    pub(super) settling: AtomicBool,
}

impl Reservation {
    /// Of an entry that was ours at `at`.
    pub(super) fn new(
        entry: String,
        deliveries: u64,
        name: String,
        task: Option<Arc<Task>>,
        at: Instant,
    ) -> Self {
        Self {
            entry,
            deliveries,
            name,
            task,
            confirmed: Mutex::new(at),
            lost: CancellationToken::new(),
            cancelled: CancellationToken::new(),
            settling: AtomicBool::new(false),
        }
    }

    /// Time since the lease was last known to be ours.
    pub(super) fn age(&self) -> Duration {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    pub(super) fn confirm(&self, at: Instant) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// All of them, by the entry's id.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashMap<String, Arc<Reservation>>>);

impl Held {
    fn table(&self) -> MutexGuard<'_, HashMap<String, Arc<Reservation>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, reservation: Arc<Reservation>) {
        self.table().insert(reservation.entry.clone(), reservation);
    }

    /// Removes this reservation, not a later one of the same entry.
    pub(super) fn remove(&self, reservation: &Arc<Reservation>) {
        let mut table = self.table();
        if table
            .get(&reservation.entry)
            .is_some_and(|held| Arc::ptr_eq(held, reservation))
        {
            table.remove(&reservation.entry);
        }
    }

    /// Those that are ours.
    pub(super) fn all(&self) -> Vec<Arc<Reservation>> {
        self.table()
            .values()
            .filter(|held| !held.lost.is_cancelled())
            .cloned()
            .collect()
    }

    /// Asks whoever runs the task of an entry to stop.
    pub(super) fn cancel(&self, entry: &str) {
        if let Some(held) = self.table().get(entry) {
            held.cancelled.cancel();
        }
    }
}

/// The least and the greatest of entries' ids.
pub(super) fn span<'a>(ids: impl Iterator<Item = &'a str> + Clone) -> (&'a str, &'a str) {
    let least = ids.clone().min_by_key(|id| parts(id));
    let greatest = ids.max_by_key(|id| parts(id));
    (least.unwrap_or("-"), greatest.unwrap_or("+"))
}

/// Renews leases, and learns which of them are lost.
pub(super) async fn renew(shared: &Shared, link: &Link, held: &[Arc<Reservation>]) -> Result<(), QueueError> {
    let mut refused = Ok(());
    for chunk in held.chunks(CHUNK) {
        let at = Instant::now();
        let mut call = Call::new(&scripts::RENEW, &[&shared.keys.stream]);
        call.arg(&shared.options.group).arg(&shared.consumer).arg(PARKED);
        let (least, greatest) = span(chunk.iter().map(|held| held.entry.as_str()));
        call.arg(least).arg(greatest);
        for reservation in chunk {
            call.arg(&reservation.entry).arg(reservation.deliveries);
        }
        let (lost, why): (HashSet<String>, String) = link.script(&call).await?;
        for reservation in chunk {
            if !lost.contains(&reservation.entry) {
                reservation.confirm(at);
            } else if !reservation.settling.load(Ordering::Relaxed) {
                tracing::warn!(
                    task.id = reservation.name,
                    "lease lost: another worker has the task, or it is gone"
                );
                reservation.lost.cancel();
            }
        }
        if !why.is_empty() {
            refused = Err(refusal(&why));
        }
    }
    refused
}
