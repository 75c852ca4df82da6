//! Where to look on the queue next, and what is known of the jobs there.
//!
//! Jobs in work stay on the queue, and so do those of other workers: the front is what comes past them. Usually the
//! head is looked through each time. Where that would be long, the whole queue is passed through now and then, the
//! more seldom the more that costs; in between a look at its tail finds what is new, for that fell due last.

use super::{
    Shared,
    job::{CHECK, Job},
    pickle,
};
use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};
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

/// A pause between two passes is so many times as long as a pass took, and this long for each of its looks but one; at
/// most as long as a claim, which is what a crash costs.
const PAUSE: u32 = 20;
const PAUSE_PER_LOOK: Duration = Duration::from_secs(2);
/// So many jobs that cannot be read are told of one by one.
const TOLD: usize = 20;

/// id, score, place in the look, length, job; the job is cut off where it is too long, and empty where it is gone. An id
/// can be any bytes; those that are no text are not ours.
pub(super) type Shown = (Vec<u8>, String, usize, usize, Vec<u8>);

#[derive(Debug, Default)]
pub(super) struct Front {
    /// To be claimed: ours, though the script cannot tell that.
    candidates: Vec<Candidate>,
    /// Functions that were seen.
    functions: Vec<String>,
    /// Jobs that are left to others though the script cannot tell that: id → score. A job that comes again has another.
    foreign: HashMap<Vec<u8>, String>,
    told: usize,
    /// What the next look is for, and where it begins.
    next: Next,
    offset: usize,
    /// So many jobs are due that the tail is looked at between passes.
    congested: bool,
    /// When a look began at the head last, and while on the way from there, so too; the looks on that way, without
    /// those that met unknown jobs; and how long until the next such way.
    head: Option<Instant>,
    pass: Option<Instant>,
    looks: u32,
    pause: Duration,
}

/// What the next look is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Next {
    /// Something new: there was nothing more.
    #[default]
    New,
    /// More of ours: there was work.
    More,
    /// The rest of the queue: there was nothing of ours so far.
    Rest,
    /// The same, with the jobs themselves: there were unknown ones.
    Unknown,
}

impl Next {
    fn is_passing(self) -> bool {
        matches!(self, Next::Rest | Next::Unknown)
    }
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
    /// From the last due job if negative.
    pub(super) offset: i64,
    pub(super) count: usize,
    /// Only ids are to be shown: most of them are known.
    pub(super) brief: bool,
}

impl Look {
    /// Most jobs to show.
    pub(super) fn most(self) -> usize {
        if self.brief { LONGEST_LOOK } else { SHOWN }
    }
}

/// What came of one: where it began, at how many ids it looked, how many are due, and how many it claimed for sure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) from: usize,
    pub(super) looked: usize,
    pub(super) total: usize,
    pub(super) claimed: usize,
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

    /// Where a look for `room` jobs begins now: where the last one ended, if there was work or is more to pass; else at
    /// the head, unless that is congested and was passed not long ago: then at the tail.
    pub(super) fn begin(&mut self, shared: &Shared, room: usize) -> Look {
        let ended = shared.counts.ended.swap(0, Ordering::Relaxed);
        self.offset = self
            .offset
            .saturating_sub(usize::try_from(ended).unwrap_or(usize::MAX));
        let pause = self.pause.max(shared.options.timing.sweep);
        let brief = self.next != Next::Unknown && !self.foreign.is_empty();
        let count = room + CONGESTED / 4;
        let signed = |offset: usize| i64::try_from(offset).unwrap_or(i64::MAX);
        if !self.next.is_passing() && self.head.is_none_or(|at| at.elapsed() >= pause) {
            (self.offset, self.looks) = (0, 0);
            self.head = Some(Instant::now());
            self.pass = self.head;
        } else if self.next == Next::New && self.congested {
            let count = (count + shared.held.len()).min(LONGEST_LOOK);
            let offset = -signed(count);
            return Look { offset, count, brief };
        }
        if self.next == Next::New {
            self.offset = 0;
        }
        self.looks += u32::from(self.next != Next::Unknown);
        let count = if self.next.is_passing() {
            LONGEST_LOOK
        } else if self.offset == 0 {
            count + shared.held.len() + CONGESTED
        } else {
            count
        };
        Look {
            offset: signed(self.offset),
            count: count.min(LONGEST_LOOK),
            brief,
        }
    }

    /// Notes what a look saw, and what it has to show.
    pub(super) fn note(&mut self, shared: &Shared, look: Look, seen: Seen, shown: Vec<Shown>) {
        let Seen {
            from,
            looked,
            total,
            claimed,
        } = seen;
        self.congested = total >= CONGESTED;
        let (mut lead, mut learned) = (None, false);
        for (id, score, place, length, bytes) in shown {
            if self.foreign.get(&id) == Some(&score) {
                continue;
            }
            if look.brief {
                // Once more from there on, with the jobs.
                (self.next, self.offset) = (Next::Unknown, from + place);
                return;
            }
            learned = true;
            if self.is_candidate(shared, id, score, length, &bytes) {
                lead.get_or_insert(place);
            }
        }
        let more = looked > 0 && from + looked < total;
        self.next = match (claimed > 0 || lead.is_some(), more) {
            (true, _) => Next::More,
            (false, true) if learned => Next::Unknown,
            (false, true) => Next::Rest,
            (false, false) => Next::New,
        };
        let passing = self.next.is_passing();
        if !passing && let Some(began) = self.pass.take() {
            let pause = (began.elapsed() * PAUSE).max(PAUSE_PER_LOOK * self.looks.saturating_sub(1));
            self.pause = pause.min(shared.options.timing.claim);
        }
        let past = from + lead.unwrap_or(looked);
        self.offset = match past {
            // On through the queue.
            past if passing || (claimed > 0 && looked == look.count) => past,
            // What comes next stands behind all this.
            past if past >= CONGESTED => past - CONGESTED / 4,
            _ => 0,
        };
    }

    fn is_candidate(
        &mut self,
        shared: &Shared,
        id: Vec<u8>,
        score: String,
        length: usize,
        bytes: &[u8],
    ) -> bool {
        let id = match String::from_utf8(id) {
            Ok(id) => id,
            Err(error) => {
                let id = error.into_bytes();
                self.tell(shared, &id, "its id is no text");
                self.leave(id, score);
                return false;
            }
        };
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
            None if !ours => self.tell(shared, id.as_bytes(), "it cannot be read"),
            _ => {}
        }
        if ours {
            self.candidates.push(Candidate { id, least_try });
        } else {
            self.leave(id.into_bytes(), score);
        }
        ours
    }

    fn leave(&mut self, id: Vec<u8>, score: String) {
        if self.foreign.len() >= REMEMBERED {
            self.foreign.clear();
        }
        self.foreign.insert(id, score);
    }

    /// Tells of a job that is left alone, once, and of many only of the first.
    fn tell(&mut self, shared: &Shared, id: &[u8], why: &str) {
        if self.told >= TOLD || self.foreign.contains_key(id) {
            return;
        }
        self.told += 1;
        let (id, queue) = (id.escape_ascii(), &shared.keys.queue);
        tracing::warn!(job.id = %id, queue, "a job is left alone: {why}");
        if self.told == TOLD {
            tracing::warn!(queue, "of further such jobs nothing is said");
        }
    }

    /// Whether there is more to do at once: to claim, or to look at behind the last look.
    pub(super) fn goes_on(&self) -> bool {
        self.next.is_passing() || !self.candidates.is_empty()
    }

    /// Something was put back: begin at the head.
    pub(super) fn forget(&mut self) {
        self.candidates.clear();
        (self.head, self.next) = (None, Next::New);
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
