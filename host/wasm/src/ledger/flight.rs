//! Operations that go on while the guest does something else: WASI's own network interfaces start one, and let the
//! guest wait for it, and for other things, by polling.
//!
//! While the guest sleeps and one of them is under way, the time is the network's, as it is while the guest waits in a
//! call of our own interfaces: a budget that ends then ends with what that operation was waiting for.

use super::{Entries, Ledger};
use lapwing_checks::net::NetError;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Less time than this for itself is no time a guest could have ended in.
const JUST_NOW: Duration = Duration::from_millis(20);

/// Those of a run.
#[derive(Debug, Default, Clone)]
pub(crate) struct Flights {
    /// Each with its number, and what it waits for if that is the network.
    list: Vec<(usize, Option<NetError>)>,
    /// The guest waits for one of them.
    awaited: bool,
    /// What was last waited for so, and until when.
    last: Option<(NetError, Instant)>,
}

/// A network operation under way. Dropped before it has landed it counts as given up, as after a time-out.
#[derive(Debug)]
pub(crate) struct Flight {
    ledger: Arc<Ledger>,
    number: usize,
    landed: bool,
}

impl Flight {
    /// Begins; `step` is the error if it takes too long.
    pub(crate) fn begin(ledger: &Arc<Ledger>, step: NetError) -> Self {
        let mut entries = ledger.entries();
        let list = &mut entries.flights.list;
        let number = list.last().map_or(0, |(number, _)| number + 1);
        list.push((number, Some(step)));
        ledger.flights.store(list.len(), Relaxed);
        ledger.review(&mut entries);
        drop(entries);
        Self {
            ledger: ledger.clone(),
            number,
            landed: false,
        }
    }

    /// Waits for something else now; `None`: for the guest.
    pub(crate) fn turn(&self, step: Option<NetError>) {
        let mut entries = self.ledger.entries();
        if let Some(entry) = entries
            .flights
            .list
            .iter_mut()
            .find(|entry| entry.0 == self.number)
        {
            entry.1 = step;
        }
        self.ledger.review(&mut entries);
    }

    /// It came to its end, good or bad.
    pub(crate) fn land(mut self) {
        self.landed = true;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut entries = self.ledger.entries();
        entries.timed_out |= !self.landed;
        let list = &mut entries.flights.list;
        list.retain(|entry| entry.0 != self.number);
        self.ledger.flights.store(list.len(), Relaxed);
        self.ledger.review(&mut entries);
    }
}

impl Ledger {
    /// To be called when the guest falls asleep or wakes.
    pub(super) fn review_flights(&self) {
        if self.flights.load(Relaxed) > 0 {
            self.review(&mut self.entries());
        }
    }

    /// What the guest was waiting for until just now, when it is a peer that says a little again and again.
    pub(crate) fn just_waited(&self) -> Option<NetError> {
        let last = self.entries().flights.last.take();
        last.filter(|(_, until)| until.elapsed() < JUST_NOW)
            .map(|(step, _)| step)
    }

    /// Ends the wait for what was under way, and begins one for what is, if the guest sleeps.
    fn review(&self, entries: &mut Entries) {
        if entries.flights.awaited {
            entries.flights.awaited = false;
            if let Some((step, since)) = entries.waiting.take() {
                entries.network += since.elapsed();
                entries.flights.last = Some((step, Instant::now()));
            }
        }
        let asleep = !self.holding.runs() && !self.queueing.runs();
        if asleep
            && entries.waiting.is_none()
            && let Some(step) = entries.flights.list.iter().find_map(|(_, step)| step.clone())
        {
            entries.waiting = Some((step, Instant::now()));
            entries.flights.awaited = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(ledger: &Ledger) -> Option<String> {
        ledger
            .entries()
            .waiting
            .as_ref()
            .map(|(step, _)| step.to_string())
    }

    fn step(what: &str) -> NetError {
        NetError::ResponseTimeout(what.into())
    }

    #[test]
    fn only_a_sleeping_guest_waits_for_what_is_under_way() {
        let ledger = Arc::new(Ledger::new());
        ledger.resume();
        let flight = Flight::begin(&ledger, step("a"));
        assert_eq!(waits(&ledger), None, "the guest is busy");
        ledger.suspend();
        assert_eq!(waits(&ledger), Some("response timed out: a".into()));
        flight.turn(Some(step("b")));
        assert_eq!(waits(&ledger), Some("response timed out: b".into()));
        flight.turn(None);
        assert_eq!(waits(&ledger), None, "it waits for the guest");
        flight.turn(Some(step("c")));
        ledger.resume();
        assert_eq!(waits(&ledger), None);
        ledger.queue();
        ledger.suspend();
        assert_eq!(waits(&ledger), None, "it wants a thread and nothing else");
        flight.land();
        assert!(!ledger.entries().timed_out);
        drop(Flight::begin(&ledger, step("d")));
        assert!(ledger.entries().timed_out, "given up");
    }

    #[test]
    fn a_wait_in_a_call_of_our_own_stays_what_it_is() {
        let ledger = Arc::new(Ledger::new());
        ledger.resume();
        let flight = Flight::begin(&ledger, step("flight"));
        ledger.wait(step("call"));
        ledger.suspend();
        assert_eq!(waits(&ledger), Some("response timed out: call".into()));
        flight.land();
        assert_eq!(waits(&ledger), Some("response timed out: call".into()));
    }
}
