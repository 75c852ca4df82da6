//! What became of the tasks of one queue in this process: for the health-check key and the page of queues.

use lapwing_model::{CheckResult, Status};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use tokio::time::Instant;

/// What a rate is taken over, in seconds.
const WINDOW: u32 = 60;

/// Counts since the start, and what runs now.
#[derive(Debug)]
pub(crate) struct Tally {
    start: Instant,
    /// Tasks ended in each of the last seconds, with the number of that second.
    ended: Mutex<[(u64, u32); WINDOW as usize]>,
    complete: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    ongoing: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Counts {
    /// Ran to their end, whatever they saw.
    pub(crate) complete: u64,
    /// Could not be told, or were cancelled.
    pub(crate) failed: u64,
    /// Are tried again.
    pub(crate) retried: u64,
    /// Run now.
    pub(crate) ongoing: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            ended: Mutex::new([(0, 0); WINDOW as usize]),
            complete: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            ongoing: AtomicU64::new(0),
        }
    }
}

impl Tally {
    /// Counts a running task until the answer is dropped.
    pub(crate) fn running(&self) -> impl Drop {
        self.ongoing.fetch_add(1, Ordering::Relaxed);
        Running(&self.ongoing)
    }

    /// Counts a task that is told.
    pub(crate) fn done(&self, result: &CheckResult) {
        match result.observation.status {
            Status::Unknown => self.failed(),
            _ => self.count(&self.complete),
        }
    }

    /// Counts a task that came to nothing.
    pub(crate) fn failed(&self) {
        self.count(&self.failed);
    }

    /// Counts a task that comes again.
    pub(crate) fn retried(&self) {
        self.count(&self.retried);
    }

    fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
        let second = self.start.elapsed().as_secs();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = usize::try_from(second % u64::from(WINDOW)).unwrap_or_default();
        if let Some((of, count)) = ended.get_mut(slot) {
            if *of != second {
                (*of, *count) = (second, 0);
            }
            *count += 1;
        }
    }

    /// Tasks ended in a second, over the last minute or since the start.
    pub(crate) fn rate(&self) -> f64 {
        let elapsed = self.start.elapsed().as_secs_f64();
        let now = self.start.elapsed().as_secs();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = ended.iter().filter(|(of, _)| of + u64::from(WINDOW) > now);
        let count: u32 = recent.map(|(_, count)| count).sum();
        f64::from(count) / elapsed.clamp(1.0, f64::from(WINDOW))
    }

    /// The counts now.
    pub(crate) fn counts(&self) -> Counts {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            complete: now(&self.complete),
            failed: now(&self.failed),
            retried: now(&self.retried),
            ongoing: now(&self.ongoing),
        }
    }
}

struct Running<'a>(&'a AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_that_of_the_last_minute() {
        let tally = Tally::default();
        for _ in 0..30 {
            tally.failed();
        }
        let rate = || tally.rate() * 60.0;
        let close = |rate: f64, to: f64| (rate - to).abs() < 1e-9;
        assert!(close(rate(), 1800.0));
        advance(Duration::from_secs(30)).await;
        assert!(close(rate(), 60.0));
        tally.retried();
        advance(Duration::from_secs(45)).await;
        assert!(close(rate(), 1.0));
        advance(Duration::from_secs(600)).await;
        assert!(close(rate(), 0.0));
        assert_eq!((tally.counts().failed, tally.counts().retried), (30, 1));
    }
}
