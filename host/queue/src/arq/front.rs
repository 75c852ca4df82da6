//! Where to look on the queue next, and what is known of the jobs there.
//!
//! Jobs in work stay on the queue, and so do those of other workers: the front is what comes past them. Usually the
//! head is looked through each time. Where that would be long, looks begin behind it, and it is looked through now and
//! then.

use super::{
    Shared,
    job::{CHECK, Job},
    pickle,
};
use std::{collections::HashMap, sync::atomic::Ordering};
use tokio::time::Instant;

/// So many ids at the head that are not for us are looked through only now and then.
const CONGESTED: usize = 256;
/// Most ids looked at by one call, within what Lua can pass on.
pub(super) const LONGEST_LOOK: usize = 4000;
/// Most jobs shown by one call.
pub(super) const SHOWN: usize = 256;
/// Most jobs of others remembered, and most functions.
const REMEMBERED: usize = 20_000;
const FUNCTIONS: usize = 256;
/// Longest name of a function that is looked for in jobs, in bytes.
const LONGEST_FUNCTION: usize = 255;

/// id, score, place in the look, length, job; the job is cut off where it is too long, and empty where it is gone.
pub(super) type Shown = (String, String, usize, usize, Vec<u8>);

#[derive(Debug, Default)]
pub(super) struct Front {
    /// To be claimed: ours, though the script cannot tell that.
    candidates: Vec<Candidate>,
    /// Functions that were seen.
    functions: Vec<String>,
    /// Jobs that are left to others though the script cannot tell that: id → score. A job that comes again has another.
    foreign: HashMap<String, String>,
    /// Where the next look begins; whether on its way through the queue; and when one began at the head.
    offset: usize,
    passing: bool,
    head: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: String,
    /// The least number of its next try.
    pub(super) least_try: u32,
}

/// One look.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    pub(super) offset: usize,
    pub(super) count: usize,
}

impl Front {
    /// What to claim, at most `room`. The rest is forgotten; it is seen again.
    pub(super) fn claims(&mut self, room: usize) -> Vec<Candidate> {
        let mut claims = std::mem::take(&mut self.candidates);
        claims.truncate(room);
        claims
    }

    /// The functions that were seen: ours, and others. What is ours may change with time.
    pub(super) fn functions(&self, shared: &Shared) -> (Vec<&str>, Vec<&str>) {
        let functions = self.functions.iter().map(String::as_str);
        functions.partition(|function| is_ours(shared, function))
    }

    /// Where a look for `room` jobs begins now: at the head, unless that is congested or done with, and was looked
    /// through not long ago.
    pub(super) fn begin(&mut self, shared: &Shared, room: usize) -> Look {
        let ended = shared.counts.ended.swap(0, Ordering::Relaxed);
        self.offset = self
            .offset
            .saturating_sub(usize::try_from(ended).unwrap_or(usize::MAX));
        let sweep = shared.options.timing.sweep;
        if !self.passing && self.head.is_none_or(|at| at.elapsed() >= sweep) {
            self.offset = 0;
        }
        let mut count = room + CONGESTED / 4;
        if self.offset == 0 {
            self.head = Some(Instant::now());
            count += shared.held.len() + CONGESTED;
        }
        Look {
            offset: self.offset,
            count: count.min(LONGEST_LOOK),
        }
    }

    /// Notes what a look saw: what it claimed for sure, what it has to show, and at how many ids it looked.
    pub(super) fn note(
        &mut self,
        shared: &Shared,
        look: Look,
        claimed: usize,
        shown: Vec<Shown>,
        looked: usize,
    ) {
        let whole = looked == look.count || shown.len() >= SHOWN;
        let mut lead = None;
        for (id, score, place, length, bytes) in shown {
            if self.foreign.get(&id) != Some(&score) && self.is_candidate(shared, id, score, length, &bytes) {
                lead.get_or_insert(place);
            }
        }
        self.passing = claimed == 0 && lead.is_none() && whole && looked > 0;
        let past = look.offset + lead.unwrap_or(looked);
        self.offset = match past {
            // On through the queue.
            past if self.passing || (claimed > 0 && whole) => past,
            // What comes next stands behind all this.
            past if past >= CONGESTED => past - CONGESTED / 4,
            _ => 0,
        };
    }

    fn is_candidate(
        &mut self,
        shared: &Shared,
        id: String,
        score: String,
        length: usize,
        bytes: &[u8],
    ) -> bool {
        let (function, least_try) = match read(length, bytes) {
            Ok(job) => (Some(job.function), job.least_try),
            Err(_) => (pickle::text_early(bytes, "f"), 0),
        };
        // A job that has expired belongs to nobody: whoever finds it says so.
        let ours = length == 0
            || function
                .as_deref()
                .is_some_and(|function| is_ours(shared, function));
        match function {
            Some(function) if function.len() <= LONGEST_FUNCTION && !self.functions.contains(&function) => {
                if self.functions.len() >= FUNCTIONS {
                    self.functions.clear();
                }
                self.functions.push(function);
            }
            None if !ours && !self.foreign.contains_key(&id) => {
                let queue = &shared.keys.queue;
                tracing::warn!(job.id = id, queue, "left alone: the job cannot be read");
            }
            _ => {}
        }
        if ours {
            self.candidates.push(Candidate { id, least_try });
        } else {
            if self.foreign.len() >= REMEMBERED {
                self.foreign.clear();
            }
            self.foreign.insert(id, score);
        }
        ours
    }

    /// Whether there is more to do at once: to claim, or to look at behind the last look.
    pub(super) fn goes_on(&self) -> bool {
        self.passing || !self.candidates.is_empty()
    }

    /// Something was put back: begin at the head.
    pub(super) fn forget(&mut self) {
        self.candidates.clear();
        (self.head, self.passing) = (None, false);
    }
}

/// Whether this worker runs the function.
pub(super) fn is_ours(shared: &Shared, function: &str) -> bool {
    function == CHECK || (shared.options.known)(function)
}

/// Reads a job that was `length` bytes long before it was cut off.
pub(super) fn read(length: usize, bytes: &[u8]) -> Result<Job, String> {
    if length > bytes.len() {
        return Err(format!("it is {length} bytes long, which is too much"));
    }
    Job::read(bytes)
}
