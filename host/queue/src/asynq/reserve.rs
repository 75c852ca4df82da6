//! Taking tasks: a batch from all queues in one round trip.

use super::{
    Shared,
    held::Reservation,
    message::{Envelope, TaskMessage},
    payload, scripts,
    served::{self, Seats},
    settle::Hold,
};
use crate::{Lease, QueueError, Settle, script::Call};
use futures_util::future::join_all;
use jiff::Timestamp;
use lapwing_model::{Clock, Task};
use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

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

/// Takes tasks of all queues that have room.
async fn take(shared: &Arc<Shared>, room: usize) -> Result<Vec<Taken>, QueueError> {
    let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
    let owner: Arc<str> = format!("{}/{serial}", shared.identity.name).into();
    let at = Instant::now();
    let (mut places, mut names): (Vec<(usize, Seats)>, Vec<&str>) = (Vec::new(), Vec::new());
    for index in served::order(&shared.queues, shared.options.priority) {
        let Some(queue) = shared.queues.get(index) else {
            continue;
        };
        let (keys, seats) = (&queue.keys, queue.seats(room));
        if seats.most > 0 {
            names.extend([&*keys.pending, &keys.paused, &keys.active, &keys.lease]);
            places.push((index, seats));
        }
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut call = Call::new(&scripts::DEQUEUE, &names);
    call.arg(room)
        .arg(shared.clock.lease_end(shared.options.timing.lease))
        .arg(&*owner);
    for (index, seats) in &places {
        let prefix = shared.queues.get(*index).map(|queue| &*queue.keys.tasks);
        call.arg(prefix.unwrap_or_default()).arg(seats.most);
    }
    let answer: Vec<(usize, String, Vec<u8>, i64)> = shared.link.script(&call).await?;
    let started = shared.clock.now();
    let mut taken = Vec::with_capacity(answer.len());
    for (place, id, bytes, since) in answer {
        let Some((queue, seats)) = places.get_mut(place) else {
            continue;
        };
        let decoded = Envelope::decode(&bytes).map_err(|error| format!("failed to decode message: {error}"));
        let (envelope, task) = match decoded {
            Ok(envelope) => {
                let since = Some(since).filter(|since| *since > 0);
                let since = since.and_then(|since| Timestamp::from_nanosecond(since.into()).ok());
                let task = payload::parse(&envelope.message, since.unwrap_or(started));
                (envelope, task)
            }
            Err(fault) => (wrap(shared, *queue, &id, bytes), Err(fault)),
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
            confirmed: Mutex::new(at),
            lost: CancellationToken::new(),
            cancelled: CancellationToken::new(),
            settling: AtomicBool::new(false),
        });
        taken.push((Hold::new(shared.clone(), reservation, seats.one()), task));
    }
    Ok(taken)
}

/// What Asynq says of a task that is past its deadline.
const TOO_LATE: &str = "context deadline exceeded";

/// A message in place of bytes that are none, so that tools can show what was there.
fn wrap(shared: &Shared, queue: usize, id: &str, bytes: Vec<u8>) -> Envelope {
    let queue = shared.queues.get(queue).map(|queue| queue.keys.queue.clone());
    let message = TaskMessage {
        id: id.to_owned(),
        queue: queue.unwrap_or_default(),
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
