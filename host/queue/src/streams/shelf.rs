//! Where the reader puts what it read and reservations take it from, so that giving up a reservation loses nothing.

use crate::{Lease, QueueError};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// The shelf. Never holds more than was asked for.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    state: Mutex<State>,
    filled: Notify,
    asked: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Lease>,
    /// Room of the reservations that wait.
    wanted: usize,
    /// What kept the reader from reading, for one who waits to be told.
    trouble: Option<QueueError>,
    closed: bool,
}

/// A reservation that waits.
struct Asking<'a>(&'a Shelf, usize);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.state().wanted -= self.1;
    }
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `room` leases, once there are some; none after `wait`. Cancel safe.
    pub(super) async fn take(&self, room: usize, wait: Duration) -> Result<Vec<Lease>, QueueError> {
        let end = Instant::now() + wait;
        self.state().wanted += room;
        let _asking = Asking(self, room);
        self.asked.notify_one();
        loop {
            let filled = self.filled.notified();
            tokio::pin!(filled);
            filled.as_mut().enable();
            {
                let mut state = self.state();
                let count = room.min(state.ready.len());
                if count > 0 {
                    return Ok(state.ready.drain(..count).collect());
                }
                if let Some(trouble) = state.trouble.take() {
                    return Err(trouble);
                }
            }
            if timeout_at(end, filled).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    /// Waits until more is asked for than there is. Answers with how much, or with 0 when what is there was not asked
    /// for within `grace`.
    pub(super) async fn missing(&self, grace: Duration) -> usize {
        loop {
            let asked = self.asked.notified();
            let (missing, idle) = {
                let state = self.state();
                (
                    state.wanted.saturating_sub(state.ready.len()),
                    state.ready.is_empty(),
                )
            };
            if missing > 0 {
                return missing;
            }
            if idle {
                asked.await;
            } else if tokio::time::timeout(grace, asked).await.is_err() && self.state().wanted == 0 {
                return 0;
            }
        }
    }

    /// Puts leases on it.
    pub(super) fn put(&self, leases: Vec<Lease>) {
        let mut state = self.state();
        state.trouble = None;
        // Closed: dropped here, to be given back by whoever closed it.
        if !state.closed && !leases.is_empty() {
            state.ready.extend(leases);
            self.filled.notify_waiters();
        }
    }

    /// Tells one who waits what went wrong.
    pub(super) fn fail(&self, error: QueueError) {
        let mut state = self.state();
        if state.wanted > 0 {
            state.trouble = Some(error);
            self.filled.notify_waiters();
        }
    }

    /// What is on it.
    pub(super) fn clear(&self) -> Vec<Lease> {
        self.state().ready.drain(..).collect()
    }

    /// Empties it for good.
    pub(super) fn close(&self) {
        self.state().closed = true;
        drop(self.clear());
    }
}
