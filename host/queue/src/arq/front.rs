//! What is known of the front of the queue, and where to look next.
//!
//! Jobs in work stay on the queue, and so do those of other workers: the front is what comes past them. Usually the
//! head is looked through each time. Where that would be long, looks begin behind it, and it is looked through now and
//! then.

use super::{
    Shared,
    job::{CHECK, Job},
    pickle,
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::atomic::Ordering,
    time::Duration,
};
use tokio::time::Instant;

/// What was seen is claimed within this time or looked at again: others may have put something before it.
const FRESH: Duration = Duration::from_millis(20);
/// So many ids at the head that are not for us are looked through only now and then.
const CONGESTED: usize = 256;
/// Most ids looked at by one call, within what Lua can pass on.
pub(super) const LONGEST_LOOK: usize = 4000;
/// Most jobs of others remembered.
const REMEMBERED: usize = 20_000;

/// id, length, job; the job is cut off where it is too long, and empty where it is gone.
pub(super) type Fetched = (String, usize, Vec<u8>);
/// id, score, place in the look
pub(super) type Seen = (String, String, usize);

#[derive(Debug, Default)]
pub(super) struct Front {
    /// To be claimed.
    candidates: VecDeque<Candidate>,
    /// To be fetched: id and score.
    unknown: VecDeque<(String, String)>,
    /// Ids of both.
    pending: HashSet<String>,
    /// When the last look was.
    seen: Option<Instant>,
    /// Where the next look begins; whether on its way through the queue; and when one began at the head.
    offset: usize,
    passing: bool,
    head: Option<Instant>,
    /// Jobs that are left to others: id → score. A job that comes again has another score.
    foreign: HashMap<String, String>,
}

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: String,
    pub(super) bytes: Vec<u8>,
    /// `None` where the job is gone, too long, or cannot be read.
    pub(super) job: Option<Job>,
}

impl Front {
    /// What to claim next, at most `room`.
    pub(super) fn claims(&mut self, room: usize) -> Vec<Candidate> {
        if self.seen.is_none_or(|at| at.elapsed() > FRESH) {
            self.clear();
        }
        let count = room.min(self.candidates.len());
        let claims: Vec<_> = self.candidates.drain(..count).collect();
        for claim in &claims {
            self.pending.remove(&claim.id);
        }
        claims
    }

    /// What to fetch next, at most `room`: ids with their scores.
    pub(super) fn fetches(&mut self, room: usize) -> Vec<(String, String)> {
        let count = room.min(self.unknown.len());
        self.unknown.drain(..count).collect()
    }

    /// How many are known to wait here.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether there is nothing to claim or to fetch.
    pub(super) fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.unknown.is_empty()
    }

    /// Where a look for `wanted` ids begins now, and at how many it is to look: from the head, unless that is congested
    /// or done with, and was looked through not long ago.
    pub(super) fn begin(&mut self, shared: &Shared, wanted: usize) -> (usize, usize) {
        let ended = shared.counts.ended.swap(0, Ordering::Relaxed);
        self.offset = self
            .offset
            .saturating_sub(usize::try_from(ended).unwrap_or(usize::MAX));
        let sweep = shared.options.timing.sweep;
        if !self.passing && self.head.is_none_or(|at| at.elapsed() >= sweep) {
            self.offset = 0;
        }
        let mut look = wanted + CONGESTED;
        if self.offset == 0 {
            self.head = Some(Instant::now());
            look += shared.held.len();
        }
        (self.offset, look.min(LONGEST_LOOK))
    }

    /// Notes what a look at `look` ids for `wanted` ones saw, of which there were `looked`.
    pub(super) fn note(&mut self, seen: Vec<Seen>, looked: usize, look: usize, wanted: usize) {
        self.seen = Some(Instant::now());
        let (mut lead, plenty) = (None, seen.len() >= wanted);
        for (id, score, place) in seen {
            if self.foreign.get(&id) == Some(&score) {
                continue;
            }
            lead.get_or_insert(place);
            if self.pending.insert(id.clone()) {
                self.unknown.push_back((id, score));
            }
        }
        self.passing = lead.is_none() && looked == look;
        let past = self.offset + lead.unwrap_or(looked);
        self.offset = match past {
            // On through the queue, or on from what will be claimed first.
            _ if self.passing || plenty => self.offset + looked,
            // What comes next stands behind all this.
            past if past >= CONGESTED => past - CONGESTED / 4,
            _ => 0,
        };
    }

    /// Whether the look goes on behind the last one.
    pub(super) fn passing(&self) -> bool {
        self.passing
    }

    /// Sorts what was fetched for `scores`.
    pub(super) fn sort(&mut self, shared: &Shared, fetched: Vec<Fetched>, scores: Vec<(String, String)>) {
        for ((id, length, bytes), (_, score)) in fetched.into_iter().zip(scores) {
            let (job, function) = match read(length, &bytes) {
                Ok(job) => (Some(job.clone()), Some(job.function)),
                Err(_) => (None, pickle::text_early(&bytes, "f")),
            };
            // A job that has expired belongs to nobody: whoever finds it says so.
            if length == 0
                || function
                    .as_deref()
                    .is_some_and(|function| is_ours(shared, function))
            {
                self.candidates.push_back(Candidate { id, bytes, job });
                continue;
            }
            self.pending.remove(&id);
            if self.foreign.len() >= REMEMBERED {
                self.foreign.clear();
            }
            if function.is_none() && !self.foreign.contains_key(&id) {
                let queue = &shared.keys.queue;
                tracing::warn!(job.id = id, queue, "left alone: the job cannot be read");
            }
            self.foreign.insert(id, score);
        }
    }

    /// Something was put back: begin at the head, and claim nothing that was seen before.
    pub(super) fn forget(&mut self) {
        self.clear();
        (self.head, self.passing) = (None, false);
    }

    fn clear(&mut self) {
        self.candidates.clear();
        self.unknown.clear();
        self.pending.clear();
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
