//! Whether the worker is alive: when it last polled its queue.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// Beaten by the worker, read by `GET /api/v1/health`.
#[derive(Debug)]
pub(crate) struct Pulse {
    start: Instant,
    last_ms: AtomicU64,
    full: AtomicBool,
}

impl Pulse {
    /// A pulse that has just been felt.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            last_ms: AtomicU64::new(0),
            full: AtomicBool::new(false),
        }
    }

    /// The queue was polled, with or without a task to show for it.
    pub(crate) fn beat(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed, Ordering::Relaxed);
    }

    /// Every slot is taken by a running check: not polling is then right.
    pub(crate) fn set_full(&self, full: bool) {
        let was_full = self.full.swap(full, Ordering::Relaxed);
        if was_full && !full {
            self.beat();
        }
    }

    /// Time since the last beat; zero while every slot is taken.
    pub(crate) fn age(&self) -> Duration {
        if self.full.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.start
            .elapsed()
            .saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}
