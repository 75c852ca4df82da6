//! How much processor time a guest's own code took, without paying for the answer where nobody needs it.
//!
//! Reading a thread's clock is a system call; a run is over in microseconds. So nothing is read until the first tick of
//! the engine's clock finds the guest running: what came before counts as one tick, whatever it was. From then on the
//! thread's own clock counts, which stands still while the operating system gives the processor to someone else.
//! Used by [`crate::ledger`] only.

use crate::engine::TICK;
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The processor time of one run. Written by whichever thread runs the guest; the runtime orders those.
#[derive(Debug, Default)]
pub(crate) struct Processor {
    /// A tick has found the guest running.
    measured: AtomicBool,
    /// The thread's clock when the guest got it, in nanoseconds.
    since: AtomicU64,
    /// Nanoseconds of the stretches before that.
    sum: AtomicU64,
}

impl Processor {
    /// The guest gets the current thread.
    pub(crate) fn resume(&self) {
        if self.measured.load(Relaxed) {
            self.since.store(thread_time(), Relaxed);
        }
    }

    /// The guest gives the current thread back.
    pub(crate) fn suspend(&self) {
        if self.measured.load(Relaxed) {
            self.count(thread_time());
        }
    }

    /// A tick finds the guest on the current thread: the time it took so far.
    pub(crate) fn tick(&self) -> Duration {
        let now = thread_time();
        if self.measured.swap(true, Relaxed) {
            self.count(now);
        } else {
            self.sum
                .store(u64::try_from(TICK.as_nanos()).unwrap_or(u64::MAX), Relaxed);
            self.since.store(now, Relaxed);
        }
        Duration::from_nanos(self.sum.load(Relaxed))
    }

    /// The time it took, to the last look; none before the first tick.
    pub(crate) fn measured(&self) -> Option<Duration> {
        let measured = self.measured.load(Relaxed);
        measured.then(|| Duration::from_nanos(self.sum.load(Relaxed)))
    }

    /// The most it can have taken so far: what is measured, and a tick where nobody has looked, which is the stretch that
    /// is `running` or, before the first tick, all of it.
    pub(crate) fn most(&self, running: bool) -> Duration {
        match self.measured() {
            Some(measured) if !running => measured,
            measured => measured.unwrap_or_default() + TICK,
        }
    }

    fn count(&self, now: u64) {
        let since = self.since.swap(now, Relaxed);
        self.sum.fetch_add(now.saturating_sub(since), Relaxed);
    }
}

/// The current thread's processor time in nanoseconds.
fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + nanos.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let begun = thread_time();
        while u128::from(thread_time() - begun) < time.as_nanos() {}
    }

    #[test]
    fn what_came_before_the_first_tick_is_one_tick() {
        let processor = Processor::default();
        processor.resume();
        spin(TICK * 2);
        assert_eq!(processor.tick(), TICK);
    }

    #[test]
    fn after_it_only_the_guests_own_time_counts() {
        let processor = Processor::default();
        processor.tick();
        spin(TICK);
        processor.suspend();
        // Another guest's turn on this thread.
        spin(TICK * 20);
        processor.resume();
        spin(TICK);
        let took = processor.tick();
        assert!(took >= TICK * 3 && took < TICK * 20, "{took:?}");
    }

    #[test]
    fn a_thread_that_sleeps_takes_no_processor_time() {
        let processor = Processor::default();
        processor.tick();
        std::thread::park_timeout(TICK * 10);
        let took = processor.tick();
        assert!(took < TICK * 5, "{took:?}");
    }
}
