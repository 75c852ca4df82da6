//! What the host itself saw during one run: time per phase, the last TLS session, refusals, quotas, processor time.
//!
//! The verdict rests on this book and not on what the guest claims. It is shared with the caller, who reads it also
//! when the run had to be dropped.

use lapwing_checks::net::NetError;
use lapwing_model::{Phase, Reason, TlsInfo};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// The book of one run.
#[derive(Debug)]
pub(crate) struct Ledger {
    began: Instant,
    /// Nanoseconds after `began` at which the guest got its thread; zero while it has none.
    resumed: AtomicU64,
    /// Nanoseconds the guest held a thread before that.
    held: AtomicU64,
    entries: Mutex<Entries>,
}

/// What was written down.
#[derive(Debug, Default, Clone)]
pub(crate) struct Entries {
    /// Time the host spent on the network for the guest, per phase.
    pub(crate) phases: Vec<Phase>,
    /// The last TLS session, accepted or not.
    pub(crate) tls: Option<TlsInfo>,
    /// The first thing that hindered the guest and was not its target's doing.
    pub(crate) hindrance: Option<Hindrance>,
    /// The network step the guest is waiting for, since when.
    pub(crate) waiting: Option<(NetError, Instant)>,
    /// Time the guest waited for the network.
    pub(crate) network: Duration,
    /// The network did not answer in time at least once.
    pub(crate) timed_out: bool,
    /// Log lines dropped for the quota.
    pub(crate) dropped_lines: u64,
}

/// A refusal, a quota, an unfit request, or trouble of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hindrance {
    /// `denied_by_policy`, `limit_hit`, `invalid_config` or `internal`.
    pub(crate) reason: Reason,
    /// The rule, the quota, the fault.
    pub(crate) why: String,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            resumed: AtomicU64::new(0),
            held: AtomicU64::new(0),
            entries: Mutex::default(),
        }
    }

    /// Time since the run began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The guest gets a thread.
    pub(crate) fn resume(&self) {
        self.resumed.store(nanos(self.elapsed()).max(1), Relaxed);
    }

    /// The guest gives its thread back.
    pub(crate) fn suspend(&self) {
        self.held.store(nanos(self.held()), Relaxed);
        self.resumed.store(0, Relaxed);
    }

    /// Time the guest held a thread so far: its processor time, less what the operating system took from it.
    pub(crate) fn held(&self) -> Duration {
        let running = match self.resumed.load(Relaxed) {
            0 => 0,
            resumed => nanos(self.elapsed()).saturating_sub(resumed),
        };
        Duration::from_nanos(self.held.load(Relaxed).saturating_add(running))
    }

    /// The guest waits for the network; `step` is the error if that lasts too long.
    pub(crate) fn wait(&self, step: NetError) {
        self.entries().waiting = Some((step, Instant::now()));
    }

    /// It waits no longer; `Some` with the step if it did.
    pub(crate) fn wait_over(&self) -> Option<NetError> {
        let mut entries = self.entries();
        let (step, since) = entries.waiting.take()?;
        entries.network += since.elapsed();
        Some(step)
    }

    /// Adds to a phase. Phases keep the order in which they first came.
    pub(crate) fn spend(&self, name: &str, elapsed: Duration) {
        let phases = &mut self.entries().phases;
        match phases.iter_mut().find(|phase| phase.name == name) {
            Some(phase) => phase.elapsed += elapsed,
            None => phases.push(Phase {
                name: name.to_owned(),
                elapsed,
            }),
        }
    }

    /// A call was refused.
    pub(crate) fn refuse(&self, rule: &str) {
        self.hinder(Reason::DeniedByPolicy, rule);
    }

    /// A call failed for a reason that is not the target's; the first is the one told.
    pub(crate) fn hinder(&self, reason: Reason, why: &str) {
        self.entries().hindrance.get_or_insert_with(|| Hindrance {
            reason,
            why: why.to_owned(),
        });
    }

    /// The entries, to write in.
    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_a_thread_is_not_held() {
        let ledger = Ledger::new();
        assert_eq!(ledger.held(), Duration::ZERO);
        ledger.resume();
        let busy = Instant::now();
        while busy.elapsed() < Duration::from_millis(2) {}
        ledger.suspend();
        let held = ledger.held();
        assert!(held >= Duration::from_millis(2), "{held:?}");
        assert_eq!(ledger.held(), held, "the clock stands while suspended");
    }

    #[test]
    fn phases_are_summed_in_order_of_appearance() {
        let ledger = Ledger::new();
        for (name, ms) in [("resolve", 1), ("connect", 2), ("resolve", 3)] {
            ledger.spend(name, Duration::from_millis(ms));
        }
        let phases: Vec<_> = ledger
            .entries()
            .phases
            .iter()
            .map(|p| (p.name.clone(), p.elapsed.as_millis()))
            .collect();
        assert_eq!(phases, [("resolve".to_owned(), 4), ("connect".to_owned(), 2)]);
    }
}
