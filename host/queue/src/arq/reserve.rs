//! Taking jobs: a batch in one round trip.
//!
//! What a job's function is stands inside the job. The script claims at once what is called as jobs were that turned
//! out to be ours before, and shows the rest; what of that is ours is claimed by the next trip. Clients announce
//! nothing, so an idle queue is polled: soon after work, rarely after a while of none.

use super::{
    Shared,
    front::{self, Look, Seen, Shown},
    held::Reservation,
    keys, locked, scripts,
    settle::Hold,
    value::Failure,
};
use crate::{Lease, QueueError, Settle, held::Tenure, inspect::milliseconds, link, script::Call};
use futures_util::future::join_all;
use lapwing_model::Task;
use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// id, try, score, to be aborted, length, job
type Claimed = (String, u32, f64, bool, usize, Vec<u8>);
/// now, claimed, shown, looked at, next one due, where the look began, how many are due
type Answer = (i64, Vec<Claimed>, Vec<Shown>, usize, f64, usize, usize);

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
            locked(&shared.trouble).reset();
            return Ok(leases);
        }
        // On its own: whoever waits may go away, and what was claimed must not be forgotten.
        let trip = tokio::spawn(trip(shared.clone(), room.get()));
        let outcome = trip
            .await
            .unwrap_or_else(|error| Err(QueueError::Protocol(error.to_string())));
        match outcome {
            // No sign of health yet: a server that refuses to write lets us look.
            Ok(Trip::Progress) => {}
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
        .filter(|(hold, _)| !hold.reservation.tenure.lost.is_cancelled());
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
    let room = room.min(shared.options.batch.clamp(1, front::LONGEST_LOOK / 2));
    let claims = front.claims(room);
    let room = room - claims.len();
    let look = if room > 0 {
        front.begin(&shared, room)
    } else {
        Look::default()
    };

    let at = Instant::now();
    let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
    let mark = format!("lapwing:{}:{serial}", shared.name);
    let (ours, foreign) = front.functions(&shared);
    let mut call = Call::new(
        &scripts::TAKE,
        &[&shared.keys.queue, &shared.keys.paused, keys::ABORT],
    );
    call.arg(&mark)
        .arg(milliseconds(shared.options.timing.claim))
        .arg(shared.options.longest_job);
    call.arg(look.offset).arg(look.count).arg(room).arg(look.most());
    call.arg(claims.len()).arg(ours.len());
    call.arg(if look.brief { "brief" } else { "" });
    for claim in &claims {
        call.arg(&claim.id).arg(claim.least_try);
    }
    call.arg(ours).arg(foreign);
    let (now, claimed, shown, looked, due, from, total): Answer = match shared.link.script(&call).await {
        Ok(answer) => answer,
        Err(error) => {
            front.forget();
            if link::is_unanswered(&error) {
                locked(&shared.doubtful).push((mark, at));
            }
            return Err(error);
        }
    };
    if room > 0 {
        let found = claimed.len().saturating_sub(claims.len());
        let seen = Seen {
            from,
            looked,
            total,
            claimed: found,
        };
        front.note(&shared, look, seen, shown);
    }
    let more = !claimed.is_empty() || front.goes_on();
    let open = |claimed| open(&shared, claimed, &mark, at, now);
    let taken: Vec<_> = claimed.into_iter().map(open).collect();
    let (tasks, others): (Vec<_>, Vec<_>) = taken.into_iter().partition(|opened| opened.fate.is_ok());
    let tasks = tasks
        .into_iter()
        .filter_map(|opened| Some((opened.hold, opened.fate.ok()?)));
    locked(&shared.ready).extend(tasks);
    drop(front);
    join_all(others.into_iter().map(Opened::dismiss)).await;
    if more {
        return Ok(Trip::Progress);
    }
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this age")]
    let due = u64::try_from(due as i64 - now).ok().map(Duration::from_millis);
    Ok(Trip::Idle(due))
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
    mark: &str,
    at: Instant,
    now: i64,
) -> Opened {
    let read = front::read(length, &bytes).map_err(|why| format!("the job cannot be read: {why}"));
    let most = shared.options.policy.max_tries;
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this age")]
    let due = score as i64;
    let fate = match &read {
        _ if length == 0 => Err(Fate::Fail(Failure::Execution("job expired".to_owned()))),
        // Another job than the one that was seen, by now.
        Ok(job) if !front::is_ours(shared, &job.function) => Err(Fate::GiveBack),
        _ if aborted => Err(Fate::Fail(Failure::Cancelled)),
        Ok(_) if attempt > most => Err(Fate::Bury(format!("max {most} retries exceeded"))),
        Ok(job) => job.task(&id, attempt, due).map_err(Fate::Bury),
        Err(why) => Err(Fate::Bury(why.clone())),
    };
    let reservation = Arc::new(Reservation {
        id,
        mark: mark.to_owned(),
        attempt,
        job: read.ok(),
        started: now,
        tenure: Tenure::since(at),
    });
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
            Err(Fate::GiveBack) => self.hold.requeue().await,
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
