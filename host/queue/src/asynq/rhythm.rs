//! When to look for work.
//!
//! Stock producers announce nothing, so an idle queue is polled: soon after work, rarely after a while of none. All
//! reservations of a process look in turn, so that waiting in many places costs no more than in one.

use crate::backoff::Backoff;
use std::time::Duration;
use tokio::time::Instant;

/// The first pause after work.
const LEAST: Duration = Duration::from_millis(5);

/// The pauses of one process.
#[derive(Debug)]
pub(super) struct Rhythm {
    backoff: Backoff,
    next: Instant,
}

impl Rhythm {
    /// Pauses grow up to `longest`.
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            backoff: Backoff::new(LEAST.min(longest), longest),
            next: Instant::now(),
        }
    }

    /// Takes the turn to look; `Err` says when the next one is.
    pub(super) fn turn(&mut self) -> Result<(), Instant> {
        let now = Instant::now();
        if now < self.next {
            return Err(self.next);
        }
        self.next = now + self.backoff.pause();
        Ok(())
    }

    /// There may be work at once.
    pub(super) fn reset(&mut self) {
        self.backoff.reset();
        self.next = Instant::now();
    }
}
