//! Taking jobs: each round trip claims what the one before saw, and looks at what comes next.
//!
//! What a job's function is stands inside the job, so that only a look tells whether it is ours. Clients announce
//! nothing, so an idle queue is polled: soon after work, rarely after a while of none.

use super::{
    Shared,
    held::Reservation,
    job::{CHECK, Job},
    keys, locked, pickle, scripts,
    settle::Hold,
    value::Failure,
};
use crate::{Lease, QueueError};
use futures_util::future::join_all;
use lapwing_model::Task;
use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// What was seen is claimed within this time or looked at again: others may have put something before it.
const FRESH: Duration = Duration::from_millis(20);
/// Bounds of how many ids one call looks at, within what Lua can pass on.
const LEAST_LOOK: usize = 256;
const LONGEST_LOOK: usize = 4000;
/// So many ids at the head that are not for us are looked through only now and then.
const CONGESTED: usize = 256;
/// Most jobs of others remembered, and most of them told to the script.
const REMEMBERED: usize = 10_000;
const TOLD: usize = 512;

/// What is known of the front of the queue.
#[derive(Debug, Default)]
pub(super) struct Front {
    candidates: VecDeque<Candidate>,
    seen: Option<Instant>,
    /// Where the next look begins, and when the last one began at the head.
    offset: usize,
    head: Option<Instant>,
    /// Jobs that are left to others: id → score. A job that comes again has another score.
    foreign: HashMap<String, String>,
}

#[derive(Debug)]
struct Candidate {
    id: String,
    bytes: Vec<u8>,
    /// `None` where the job is gone, too long, or cannot be read.
    job: Option<Job>,
}

/// id, try, score, to be aborted, length, job
type Claimed = (String, u32, f64, bool, usize, Vec<u8>);
/// id, score, length, job
type Seen = (String, String, usize, Vec<u8>);
/// now, claimed, seen, looked at, before the first seen, next one due
type Answer = (i64, Vec<Claimed>, Vec<Seen>, usize, usize, f64);

enum Trip {
    /// Something came of it.
    Progress,
    /// Nothing is due; when the next job is, if one is known.
    Idle(Option<Duration>),
}

/// As [`Source::reserve`](crate::Source::reserve).
pub(super) async fn reserve(shared: &Arc<Shared>, room: NonZeroUsize) -> Result<Vec<Lease>, QueueError> {
    let until = Instant::now() + shared.options.timing.wait;
    loop {
        let leases = ready(shared, room.get());
        if !leases.is_empty() {
            locked(&shared.idle).reset();
            return Ok(leases);
        }
        // On its own: whoever waits may go away, and what was claimed must not be forgotten.
        let trip = tokio::spawn(trip(shared.clone(), room.get()));
        let outcome = trip
            .await
            .unwrap_or_else(|error| Err(QueueError::Protocol(error.to_string())));
        match outcome {
            Ok(Trip::Progress) => locked(&shared.trouble).reset(),
            Ok(Trip::Idle(due)) => {
                locked(&shared.trouble).reset();
                let pause = locked(&shared.idle).pause();
                let next = Instant::now() + due.map_or(pause, |due| due.min(pause));
                sleep_until(next.min(until)).await;
                if next >= until {
                    return Ok(Vec::new());
                }
            }
            Err(error) => {
                let pause = locked(&shared.trouble).pause();
                sleep(pause).await;
                return Err(error);
            }
        }
    }
}

fn ready(shared: &Shared, room: usize) -> Vec<Lease> {
    let mut ready = locked(&shared.ready);
    let count = room.min(ready.len());
    let live = ready
        .drain(..count)
        .filter(|(hold, _)| !hold.reservation.lost.is_cancelled());
    let lease = |(hold, task): (Hold, Task)| {
        let id = hold.reservation.id.clone();
        Lease::new(id, Arc::new(task), shared.options.policy, Box::new(hold))
    };
    live.map(lease).collect()
}

/// One round trip.
async fn trip(shared: Arc<Shared>, room: usize) -> Result<Trip, QueueError> {
    let mut front = shared.front.lock().await;
    if !locked(&shared.ready).is_empty() {
        return Ok(Trip::Progress);
    }
    if front.seen.is_none_or(|at| at.elapsed() > FRESH) {
        front.candidates.clear();
    }
    let batch = shared.options.batch.clamp(1, LONGEST_LOOK / 2);
    let count = room.min(batch).min(front.candidates.len());
    let claims: Vec<Candidate> = front.candidates.drain(..count).collect();
    let wanted = if front.candidates.is_empty() { batch } else { 0 };
    let look = (shared.held.len() + claims.len() + wanted).clamp(LEAST_LOOK, LONGEST_LOOK);
    let offset = front.begin(&shared);

    let at = Instant::now();
    let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
    let mark = format!("lapwing:{}:{serial}", shared.name);
    let mut call = scripts::TAKE.key(&shared.keys.queue);
    call.key(&shared.keys.paused).key(keys::ABORT);
    call.arg(&mark)
        .arg(super::milliseconds(shared.options.timing.claim))
        .arg(shared.options.longest_job);
    call.arg(offset).arg(look).arg(wanted).arg(claims.len());
    for claim in &claims {
        call.arg(&claim.id)
            .arg(claim.job.as_ref().map_or(0, |job| job.least_try));
    }
    for (id, score) in front.foreign.iter().take(TOLD) {
        call.arg(id).arg(score);
    }
    let answer: Result<Answer, _> = shared.link.script(&call).await;
    let (now, claimed, seen, looked, lead, due) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            // It may have been done all the same.
            shared
                .held
                .doubt(claims.into_iter().map(|claim| (claim.id, mark.clone(), at)));
            return Err(error);
        }
    };
    let any = !claimed.is_empty() || !seen.is_empty();
    if wanted > 0 {
        front.note(&shared, seen, offset, (looked, lead, look));
    }
    let more = !front.candidates.is_empty() || (wanted > 0 && looked == look);
    let mut jobs: HashMap<String, Candidate> =
        claims.into_iter().map(|claim| (claim.id.clone(), claim)).collect();
    let mut taken = Vec::with_capacity(claimed.len());
    for claimed in claimed {
        let candidate = jobs.remove(&claimed.0);
        taken.push(open(&shared, claimed, candidate, &mark, at, now));
    }
    let (tasks, others): (Vec<_>, Vec<_>) = taken.into_iter().partition(|opened| opened.fate.is_ok());
    let tasks = tasks
        .into_iter()
        .filter_map(|opened| Some((opened.hold, opened.fate.ok()?)));
    locked(&shared.ready).extend(tasks);
    drop(front);
    join_all(others.into_iter().map(Opened::dismiss)).await;
    if any || more {
        return Ok(Trip::Progress);
    }
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this age")]
    let due = u64::try_from(due as i64 - now).ok().map(Duration::from_millis);
    Ok(Trip::Idle(due))
}

impl Front {
    /// Where this look begins: at the head, unless that is congested and was looked through not long ago.
    fn begin(&mut self, shared: &Shared) -> usize {
        let ended = shared.counts.ended.swap(0, Ordering::Relaxed);
        self.offset = self
            .offset
            .saturating_sub(usize::try_from(ended).unwrap_or(usize::MAX));
        if self.head.is_none_or(|at| at.elapsed() >= shared.options.timing.sweep) {
            self.offset = 0;
        }
        if self.offset == 0 {
            self.head = Some(Instant::now());
        }
        self.offset
    }

    /// Sorts what was seen, and decides where to go on.
    fn note(
        &mut self,
        shared: &Shared,
        seen: Vec<Seen>,
        offset: usize,
        (looked, lead, look): (usize, usize, usize),
    ) {
        self.seen = Some(Instant::now());
        self.offset = match offset + lead {
            // On through the queue.
            past if seen.is_empty() && looked == look => past,
            // The end of it: what is due next stands past all this.
            past if past >= CONGESTED => past - CONGESTED / 4,
            _ => 0,
        };
        for (id, score, length, bytes) in seen {
            let whole = length == bytes.len();
            let read = if whole { Job::read(&bytes) } else { Err(String::new()) };
            let (job, function) = match read {
                Ok(job) => (Some(job.clone()), Some(job.function)),
                Err(_) => (None, pickle::text_early(&bytes, "f")),
            };
            let ours = |function: &str| function == CHECK || (shared.options.known)(function);
            // A job that has expired belongs to nobody: whoever finds it says so.
            if length == 0 || function.as_deref().is_some_and(ours) {
                self.candidates.push_back(Candidate { id, bytes, job });
                continue;
            }
            if function.is_none() && !self.foreign.contains_key(&id) {
                tracing::warn!(
                    job.id = id,
                    queue = shared.keys.queue,
                    "left alone: the job cannot be read"
                );
            }
            if self.foreign.len() >= REMEMBERED {
                self.foreign.clear();
            }
            self.foreign.insert(id, score);
        }
    }

    /// Something was put back: begin at the head, and claim nothing that was seen before.
    pub(super) fn forget(&mut self) {
        self.candidates.clear();
        self.head = None;
    }
}

/// A claimed job, and the task it means or what becomes of it instead.
struct Opened {
    hold: Hold,
    fate: Result<Task, Fate>,
}

enum Fate {
    /// It is not ours after all.
    GiveBack,
    Fail(Failure),
    /// As `Fail`, and it goes to the dead letters.
    Bury(String),
}

fn open(
    shared: &Arc<Shared>,
    (id, attempt, score, aborted, length, bytes): Claimed,
    candidate: Option<Candidate>,
    mark: &str,
    at: Instant,
    now: i64,
) -> Opened {
    let same = candidate.filter(|candidate| candidate.bytes == bytes && candidate.job.is_some());
    let read = match same.and_then(|candidate| candidate.job) {
        Some(job) => Ok(job),
        None if length > bytes.len() => Err(format!(
            "the job is longer than {} bytes",
            shared.options.longest_job
        )),
        None => Job::read(&bytes).map_err(|why| format!("the job cannot be read: {why}")),
    };
    let function = match &read {
        Ok(job) => Some(job.function.clone()),
        Err(_) => pickle::text_early(&bytes, "f"),
    };
    let ours = function.is_some_and(|function| function == CHECK || (shared.options.known)(&function));
    let most = shared.options.policy.max_tries;
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this age")]
    let due = score as i64;
    let fate = match &read {
        _ if length == 0 => Err(Fate::Fail(Failure::Execution("job expired".to_owned()))),
        _ if !ours => Err(Fate::GiveBack),
        _ if aborted => Err(Fate::Fail(Failure::Cancelled)),
        Ok(_) if attempt > most => Err(Fate::Bury(format!("max {most} retries exceeded"))),
        Ok(job) => job.task(&id, attempt, due).map_err(Fate::Bury),
        Err(why) => Err(Fate::Bury(why.clone())),
    };
    let reservation = Reservation::new(id, mark.to_owned(), attempt, read.ok(), now, at);
    Opened {
        hold: Hold::new(shared.clone(), reservation),
        fate,
    }
}

impl Opened {
    /// Ends what is no task. If it cannot be, its claim runs out and it comes again.
    async fn dismiss(self) {
        let id = &self.hold.reservation.id;
        let outcome = match self.fate {
            Ok(_) => return,
            Err(Fate::GiveBack) => crate::Settle::requeue(&self.hold).await,
            Err(Fate::Fail(failure)) => {
                tracing::info!(job.id = id, "not run: {failure:?}");
                self.hold.finish(Err(failure), "").await
            }
            Err(Fate::Bury(why)) => {
                tracing::warn!(job.id = id, "not run: {why}");
                self.hold.finish(Err(Failure::Execution(why.clone())), &why).await
            }
        };
        if let Err(error) = outcome {
            tracing::warn!(job.id = id, "not ended yet: {error}");
        }
    }
}
