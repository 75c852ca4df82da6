//! Rests a kind that goes wrong again and again, so that a broken plugin costs next to nothing.
//!
//! After `faults` faults in a row the kind rests for `first`, then one run is let through: if it is well the kind is
//! back, else it rests twice as long, up to `longest`. Kept per kind by [`crate::executor`].

use crate::settings::QuarantineSettings;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Quarantine {
    threshold: u32,
    first: Duration,
    longest: Duration,
    /// Faults in a row. Below the threshold this is all there is to look at.
    faults: AtomicU32,
    rest: Mutex<Rest>,
}

#[derive(Debug, Default)]
struct Rest {
    /// Nobody runs before.
    until: Option<Instant>,
    /// How long the last rest was.
    length: Duration,
    /// The run that was let through after the rest is still running.
    trial: bool,
}

/// The right to run once. Dropped without a word (a cancelled run), it changes nothing.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    quarantine: &'a Quarantine,
    trial: bool,
}

impl Quarantine {
    pub(crate) fn new(settings: &QuarantineSettings) -> Self {
        Self {
            threshold: settings.faults,
            first: Duration::from_millis(settings.first_ms.into()),
            longest: Duration::from_millis(settings.longest_ms.into()),
            faults: AtomicU32::new(0),
            rest: Mutex::default(),
        }
    }

    /// A pass, or how long the kind still rests.
    pub(crate) fn admit(&self) -> Result<Pass<'_>, Duration> {
        if self.faults() < self.threshold {
            return Ok(Pass {
                quarantine: self,
                trial: false,
            });
        }
        let mut rest = self.rest();
        let left = rest.until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        });
        if rest.trial || !left.is_zero() {
            return Err(left);
        }
        rest.trial = true;
        Ok(Pass {
            quarantine: self,
            trial: true,
        })
    }

    /// How long the kind still rests; `None` when it does not.
    pub(crate) fn left(&self) -> Option<Duration> {
        if self.faults() < self.threshold {
            return None;
        }
        let until = self.rest().until?;
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// Faults in a row so far.
    pub(crate) fn faults(&self) -> u32 {
        self.faults.load(Relaxed)
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The run went well, whatever it said of its target.
    pub(crate) fn well(self) {
        if self.quarantine.faults() > 0 {
            self.quarantine.faults.store(0, Relaxed);
            *self.quarantine.rest() = Rest::default();
        }
    }

    /// The run was a fault. `Some` with the length of the rest when one begins.
    pub(crate) fn fault(self) -> Option<Duration> {
        let quarantine = self.quarantine;
        let before = quarantine.faults.fetch_add(1, Relaxed);
        // Runs that began before the rest and end in it do not make it longer.
        if before.saturating_add(1) != quarantine.threshold && !self.trial {
            return None;
        }
        let mut rest = quarantine.rest();
        rest.length = if self.trial {
            rest.length * 2
        } else {
            quarantine.first
        }
        .min(quarantine.longest);
        rest.until = Some(Instant::now() + rest.length);
        Some(rest.length)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.trial {
            self.quarantine.rest().trial = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn quarantine() -> Quarantine {
        Quarantine::new(&QuarantineSettings {
            faults: 3,
            first_ms: 1000,
            longest_ms: 3000,
        })
    }

    fn fail(quarantine: &Quarantine, times: u32) {
        for _ in 0..times {
            quarantine.admit().unwrap().fault();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rests_grow_until_a_run_is_well() {
        let quarantine = quarantine();
        fail(&quarantine, 3);
        for seconds in [1, 2, 3, 3] {
            assert_eq!(quarantine.admit().unwrap_err(), Duration::from_secs(seconds));
            advance(Duration::from_secs(seconds)).await;
            assert!(quarantine.admit().unwrap().fault().is_some());
        }
        advance(Duration::from_secs(3)).await;
        quarantine.admit().unwrap().well();
        fail(&quarantine, 2);
        assert!(
            quarantine.admit().is_ok(),
            "the count starts anew after a good run"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_run_in_between_resets_the_count() {
        let quarantine = quarantine();
        fail(&quarantine, 2);
        quarantine.admit().unwrap().well();
        fail(&quarantine, 2);
        assert!(quarantine.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_run_at_a_time_is_tried_after_a_rest() {
        let quarantine = quarantine();
        fail(&quarantine, 3);
        advance(Duration::from_secs(1)).await;
        let trial = quarantine.admit().unwrap();
        assert!(quarantine.admit().is_err(), "the trial is still running");
        drop(trial);
        assert!(quarantine.admit().is_ok(), "a cancelled trial is no verdict");
    }

    #[tokio::test(start_paused = true)]
    async fn runs_that_end_during_the_rest_do_not_prolong_it() {
        let quarantine = quarantine();
        let late = quarantine.admit().unwrap();
        fail(&quarantine, 3);
        assert_eq!(late.fault(), None);
        assert_eq!(quarantine.admit().unwrap_err(), Duration::from_secs(1));
    }
}
