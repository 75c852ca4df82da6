//! Taking tasks: a batch from all queues in one round trip; on a cluster in one for each queue.

use super::{
    Shared,
    held::Reservation,
    message::{Envelope, TaskMessage},
    payload, scripts,
    served::{self, Seats, Served},
    settle::Hold,
};
use crate::{Lease, QueueError, Settle, held::Tenure, script::Call};
use futures_util::future::join_all;
use jiff::Timestamp;
use lapwing_model::{Clock, Task};
use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// Most tasks taken by one call of the script.
const BATCH: usize = 512;

/// As [`Source::reserve`](crate::Source::reserve).
pub(super) async fn reserve(shared: &Arc<Shared>, room: NonZeroUsize) -> Result<Vec<Lease>, QueueError> {
    let until = Instant::now() + shared.options.timing.wait;
    let room = room.get().min(BATCH);
    loop {
        let turn = shared.rhythm().turn();
        if let Err(next) = turn {
            tokio::select! {
                () = sleep_until(next.min(until)) => {}
                () = shared.hint.notified() => {}
            }
            if Instant::now() >= until {
                return Ok(Vec::new());
            }
            continue;
        }
        match take(shared, room).await {
            Ok(taken) => {
                shared.trouble().reset();
                if taken.is_empty() {
                    continue;
                }
                if taken.len() == room {
                    // There may be more, for whoever else waits.
                    shared.hint();
                } else {
                    shared.rhythm().reset();
                }
                let leases = open(taken).await;
                if !leases.is_empty() {
                    return Ok(leases);
                }
            }
            Err(error) => {
                let pause = shared.trouble().pause();
                sleep(pause).await;
                shared.rhythm().reset();
                return Err(error);
            }
        }
    }
}

/// A task that was taken, and what it asks for or why that cannot be run.
type Taken = (Hold, Result<Task, String>);

/// Takes tasks of all queues that have room: in one call, or on a cluster in one for each queue, as each has a slot of
/// its own. There, what some queues gave is not lost when another cannot be asked.
async fn take(shared: &Arc<Shared>, room: usize) -> Result<Vec<Taken>, QueueError> {
    let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
    let owner: Arc<str> = format!("{}/{serial}", shared.identity.name).into();
    let mut places = places(shared, room);
    let together = if shared.server.is_cluster() { 1 } else { usize::MAX };
    let (mut taken, mut outcome) = (Vec::new(), Ok(()));
    for places in places.chunks_mut(together) {
        let room = room - taken.len();
        if room == 0 {
            break;
        }
        let more = dequeue(shared, places, room, &owner).await;
        if let ([(queue, ..)], true) = (&*places, shared.server.is_cluster()) {
            queue.asked(more.is_ok());
        }
        match more {
            Ok(more) => taken.extend(more),
            Err(error) => outcome = Err(error),
        }
    }
    if taken.is_empty() {
        outcome?;
    }
    Ok(taken)
}

/// A queue to be looked at, by its index too, and how much of it may be taken.
type Place<'a> = (&'a Served, usize, Seats);

/// The queues that have room, in the order to be looked at. One that failed rests while others can be asked: on a
/// cluster, its node may be away.
fn places(shared: &Shared, room: usize) -> Vec<Place<'_>> {
    let order = served::order(&shared.queues, shared.options.priority);
    let all = order
        .into_iter()
        .filter_map(|index| Some((shared.queues.get(index)?, index)));
    let mut awake: Vec<_> = all.clone().filter(|(queue, _)| !queue.rests()).collect();
    if awake.is_empty() {
        awake = all.collect();
    }
    let seated = awake
        .into_iter()
        .map(|(queue, index)| (queue, index, queue.seats(room)));
    seated.filter(|(.., seats)| seats.most > 0).collect()
}

async fn dequeue(
    shared: &Arc<Shared>,
    places: &mut [Place<'_>],
    room: usize,
    owner: &Arc<str>,
) -> Result<Vec<Taken>, QueueError> {
    let at = Instant::now();
    let names = places.iter().flat_map(|(queue, ..)| {
        let keys = &queue.keys;
        [
            &*keys.pending,
            &keys.paused,
            &keys.active,
            &keys.lease,
            &keys.archived,
        ]
    });
    let mut call = Call::new(&scripts::DEQUEUE, &names.collect::<Vec<_>>());
    call.arg(room)
        .arg(shared.clock.lease_end(shared.options.timing.lease))
        .arg(&**owner);
    for (queue, _, seats) in &*places {
        call.arg(&queue.keys.tasks).arg(seats.most);
    }
    let answer: Vec<(usize, Vec<u8>, Vec<u8>, i64)> = shared.link.script(&call).await?;
    let started = shared.clock.now();
    let mut taken = Vec::with_capacity(answer.len());
    for (place, id, bytes, since) in answer {
        let Some((served, queue, seats)) = places.get_mut(place) else {
            continue;
        };
        let id = String::from_utf8_lossy(&id).into_owned();
        if since < 0 {
            shared.counts.archived.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(task.id = id, "archived: {NO_TEXT}");
            continue;
        }
        let decoded = Envelope::decode(&bytes).map_err(|error| format!("failed to decode message: {error}"));
        let (envelope, task) = match decoded {
            Ok(envelope) => {
                let since = Some(since).filter(|since| *since > 0);
                let since = since.and_then(|since| Timestamp::from_nanosecond(since.into()).ok());
                let task = payload::parse(&envelope.message, since.unwrap_or(started));
                (envelope, task)
            }
            Err(fault) => (wrap(&served.keys.queue, &id, bytes), Err(fault)),
        };
        let limit = payload::limit(&envelope.message, started);
        let task = match limit {
            Duration::ZERO => Err(TOO_LATE.to_owned()),
            _ => task,
        };
        let reservation = Arc::new(Reservation {
            queue: *queue,
            id,
            owner: owner.clone(),
            envelope,
            started,
            limit,
            tenure: Tenure::since(at),
        });
        taken.push((Hold::new(shared.clone(), reservation, seats.one()), task));
    }
    Ok(taken)
}

/// Why a task was archived without a look at its message. Stock clients cannot write such an id.
pub(super) const NO_TEXT: &str = "the task's id is not UTF-8";
/// What Asynq says of a task that is past its deadline.
const TOO_LATE: &str = "context deadline exceeded";

/// A message in place of bytes that are none, so that tools can show what was there.
fn wrap(queue: &str, id: &str, bytes: Vec<u8>) -> Envelope {
    let message = TaskMessage {
        id: id.to_owned(),
        queue: queue.to_owned(),
        payload: bytes,
        ..TaskMessage::default()
    };
    Envelope {
        message,
        unknown: Vec::new(),
    }
}

/// Leases for what are tasks. What is none is archived with the reason; if it cannot be, its lease runs out and it
/// comes again.
async fn open(taken: Vec<Taken>) -> Vec<Lease> {
    let (mut leases, mut unfit) = (Vec::with_capacity(taken.len()), Vec::new());
    for (hold, task) in taken {
        match task {
            Ok(task) => leases.push(lease(hold, task)),
            Err(why) => unfit.push(bury(hold, why)),
        }
    }
    join_all(unfit).await;
    leases
}

fn lease(hold: Hold, task: Task) -> Lease {
    let mut policy = hold.queue().map(|queue| queue.policy).unwrap_or_default();
    let limit = hold.reservation.limit;
    if limit < task.budget() {
        policy.job_timeout = Some(policy.job_timeout.map_or(limit, |timeout| timeout.min(limit)));
    }
    Lease::new(
        hold.reservation.id.clone(),
        Arc::new(task),
        policy,
        Box::new(hold),
    )
}

async fn bury(hold: Hold, why: String) {
    let id = &hold.reservation.id;
    match hold.archive(&why).await {
        Ok(()) => {
            hold.shared.counts.archived.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(task.id = id, "archived: {why}");
        }
        Err(error) => tracing::warn!(task.id = id, "not archived yet ({why}): {error}"),
    }
}
