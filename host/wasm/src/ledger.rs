//! What the host itself saw during one run: time per phase, the last TLS session, refusals, quotas, processor time.
//!
//! The verdict rests on this book and not on what the guest claims. It is shared with the caller, who reads it also
//! when the run had to be dropped.

mod flight;

pub(crate) use flight::{Flight, Flights};

use crate::{
    mask::Mask,
    memo::{Away, Memo},
    processor::Processor,
    trace::Trace,
};
use lapwing_checks::net::NetError;
use lapwing_model::{Phase, Reason, TlsInfo};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// The book of one run.
#[derive(Debug)]
pub(crate) struct Ledger {
    began: Instant,
    /// Runs while the guest holds a thread.
    holding: Stopwatch,
    processor: Processor,
    /// Runs while the guest could go on but has no thread.
    queueing: Stopwatch,
    /// How many entries' flights there are: most runs have none, and need not look.
    flights: AtomicUsize,
    entries: Mutex<Entries>,
}

/// Time summed over several stretches.
#[derive(Debug, Default)]
struct Stopwatch {
    /// When it was started, in nanoseconds of the run; zero while it stands.
    since: AtomicU64,
    /// Nanoseconds of the stretches before that.
    sum: AtomicU64,
}

impl Stopwatch {
    fn start(&self, now: Duration) {
        self.since.store(nanos(now).max(1), Relaxed);
    }

    fn stop(&self, now: Duration) {
        self.sum.store(nanos(self.total(now)), Relaxed);
        self.since.store(0, Relaxed);
    }

    fn runs(&self) -> bool {
        self.since.load(Relaxed) != 0
    }

    fn total(&self, now: Duration) -> Duration {
        let running = match self.since.load(Relaxed) {
            0 => 0,
            since => nanos(now).saturating_sub(since),
        };
        Duration::from_nanos(self.sum.load(Relaxed).saturating_add(running))
    }
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
    /// The rule that addresses of a name were left out for, of which the guest does not know.
    pub(crate) left_out: Option<String>,
    /// The network step the guest is waiting for, since when.
    pub(crate) waiting: Option<(NetError, Instant)>,
    /// Time the guest waited for the network.
    pub(crate) network: Duration,
    /// The network did not answer in time at least once.
    pub(crate) timed_out: bool,
    /// Operations of WASI's own network interfaces, which go on while the guest does something else.
    pub(crate) flights: Flights,
    /// The network step that took until the budget's end.
    pub(crate) overdue: Option<NetError>,
    /// Log lines dropped for the quota.
    pub(crate) dropped_lines: u64,
    /// What the verdict does not rest on.
    pub(crate) aside: Aside,
    /// The caller has taken the book, or gone away: what the guest still does is too late.
    pub(crate) closed: bool,
}

/// What else is noted of a run.
#[derive(Debug, Default, Clone)]
pub(crate) struct Aside {
    /// What must not be shown.
    pub(crate) mask: Mask,
    /// What the monitor remembers, once the guest has asked; or that nobody could tell.
    pub(crate) memo: Option<Result<Memo, Away>>,
    /// Calls refused for want of a right.
    pub(crate) refusals: u64,
    /// Quotas used up.
    pub(crate) limits: u64,
    /// The instance had served before.
    pub(crate) reused: bool,
    /// The calls one by one, where somebody looks.
    pub(crate) trace: Option<Trace>,
    /// What the run used.
    pub(crate) usage: Usage,
    /// The end of what it wrote, masked, where somebody looks.
    pub(crate) output: String,
}

/// What a run used.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) memory_bytes: usize,
    pub(crate) network_bytes: usize,
    pub(crate) connects: u32,
    pub(crate) dns_queries: u32,
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
    /// The book of a run that begins now, and whose guest wants a thread.
    pub(crate) fn new() -> Self {
        let ledger = Self {
            began: Instant::now(),
            holding: Stopwatch::default(),
            processor: Processor::default(),
            queueing: Stopwatch::default(),
            flights: AtomicUsize::new(0),
            entries: Mutex::default(),
        };
        ledger.queue();
        ledger
    }

    /// Time since the run began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The guest could go on, and waits for a thread.
    pub(crate) fn queue(&self) {
        self.queueing.start(self.elapsed());
    }

    /// The guest gets a thread.
    pub(crate) fn resume(&self) {
        self.go_on();
        self.holding.start(self.elapsed());
        self.processor.resume();
        self.review_flights();
    }

    /// The guest goes on, on the thread it has.
    pub(crate) fn go_on(&self) {
        self.queueing.stop(self.elapsed());
    }

    /// The guest gives its thread back.
    pub(crate) fn suspend(&self) {
        self.holding.stop(self.elapsed());
        self.processor.suspend();
        self.review_flights();
    }

    /// Time the guest wanted a processor and had none: it waited for a thread, or the operating system let its thread
    /// wait.
    pub(crate) fn queued(&self) -> Duration {
        let now = self.elapsed();
        let held = self.holding.total(now);
        self.queueing.total(now) + held.saturating_sub(self.processor.most(self.holding.runs()))
    }

    /// The processor time the guest took, once it took a tick or more; the time it held a thread until then.
    pub(crate) fn held(&self) -> Duration {
        let measured = self.processor.measured();
        measured.unwrap_or_else(|| self.holding.total(self.elapsed()))
    }

    /// A tick finds the guest on this thread: the processor time it took so far, to the nearest tick.
    pub(crate) fn tick(&self) -> Duration {
        self.processor.tick()
    }

    /// The guest waits for the network; `step` is the error if that lasts too long.
    pub(crate) fn wait(&self, step: NetError) {
        self.entries().waiting = Some((step, Instant::now()));
    }

    /// It waits no longer; `overdue` says that the budget ended first.
    pub(crate) fn wait_over(&self, overdue: bool) {
        let mut entries = self.entries();
        if let Some((step, since)) = entries.waiting.take() {
            entries.network += since.elapsed();
            entries.overdue = overdue.then_some(step);
        }
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

    /// A step of the network failed: what was ours is no verdict on the target, and a chain that was refused is kept.
    /// That a quota was used up is written down already, by who refused.
    pub(crate) fn book_failure(&self, error: &NetError) {
        if !error.blames_target() && !matches!(error, NetError::Limit(_)) {
            self.hinder(error.reason(), &error.to_string());
        }
        if matches!(error, NetError::Unreachable(_)) {
            let left_out = self.entries().left_out.clone();
            if let Some(rule) = left_out {
                self.refuse(&rule);
            }
        }
        if let NetError::Certificate { info: Some(info), .. } = error {
            self.entries().tls = Some((**info).clone());
        }
    }

    /// A call was refused.
    pub(crate) fn refuse(&self, rule: &str) {
        self.hinder(Reason::DeniedByPolicy, rule);
    }

    /// A call failed for a reason that is not the target's; the first is the one told.
    pub(crate) fn hinder(&self, reason: Reason, why: &str) {
        let mut entries = self.entries();
        match reason {
            Reason::DeniedByPolicy => entries.aside.refusals += 1,
            Reason::LimitHit => entries.aside.limits += 1,
            _ => {}
        }
        entries.hindrance.get_or_insert_with(|| Hindrance {
            reason,
            why: why.to_owned(),
        });
    }

    /// Whether the run went without refusals, limits, faults of ours and time-outs, and nothing is under way.
    pub(crate) fn is_clean(&self) -> bool {
        let entries = self.entries();
        !entries.closed
            && entries.hindrance.is_none()
            && entries.dropped_lines == 0
            && !entries.timed_out
            && self.flights.load(Relaxed) == 0
    }

    /// Takes what was written down. A guest whose time is over may hold its thread for a moment more: what must not be
    /// shown stays behind, for what it says then.
    pub(crate) fn close(&self) -> Entries {
        let mut entries = self.entries();
        let mut rest = Entries {
            closed: true,
            ..Entries::default()
        };
        rest.aside.mask = entries.aside.mask.clone();
        std::mem::replace(&mut *entries, rest)
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
    use crate::engine::TICK;

    #[test]
    fn no_route_is_no_outage_where_a_rule_left_addresses_out() {
        let reason = |left_out: Option<&str>, error: NetError| {
            let ledger = Ledger::new();
            ledger.entries().left_out = left_out.map(ToOwned::to_owned);
            ledger.book_failure(&error);
            ledger.entries().hindrance.take().map(|found| found.reason)
        };
        let no_route = || NetError::Unreachable("[2001:db8::9]:1".to_owned());
        assert_eq!(reason(None, no_route()), None);
        assert_eq!(
            reason(Some("`192.0.2.0/24` is denied"), no_route()),
            Some(Reason::DeniedByPolicy)
        );
        assert_eq!(reason(Some("rule"), NetError::Refused("x".to_owned())), None);
    }

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
    fn a_guest_queues_until_it_goes_on() {
        let ledger = Ledger::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2) {}
        ledger.resume();
        let queued = ledger.queued();
        assert!(queued >= Duration::from_millis(2), "{queued:?}");
        ledger.suspend();
        assert_eq!(
            ledger.queued(),
            queued,
            "asleep or on the network, it wants no thread"
        );
        ledger.queue();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2) {}
        assert!(ledger.queued() >= queued + Duration::from_millis(2));
    }

    #[test]
    fn a_thread_that_the_operating_system_lets_wait_is_no_processor() {
        let ledger = Ledger::new();
        ledger.resume();
        std::thread::park_timeout(TICK * 8);
        let queued = ledger.queued();
        assert!(queued >= TICK * 6, "{queued:?}");
        ledger.tick();
        ledger.suspend();
        assert!(ledger.queued() >= queued, "what it took is one tick");
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
