//! Taking tasks: a batch from all queues in one round trip, by strict priority.
//!
//! Asynq producers announce nothing, so an idle queue is polled: soon after work, rarely after a while of none.

use super::{Shared, held::Reservation, message::Envelope, message::TaskMessage, scripts, settle::Hold};
use crate::{Lease, Policy, QueueError, Settle};
use futures_util::future::join_all;
use lapwing_model::{Clock, Task, peekaping};
use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Most tasks taken by one call of the script.
const BATCH: usize = 512;

/// As [`Source::reserve`](crate::Source::reserve).
pub(super) async fn reserve(shared: &Arc<Shared>, room: NonZeroUsize) -> Result<Vec<Lease>, QueueError> {
    let until = Instant::now() + shared.options.timing.wait;
    loop {
        match take(shared, room.get().min(BATCH)).await {
            Ok(taken) if taken.is_empty() => {
                shared.trouble().reset();
                let next = Instant::now() + shared.idle().pause();
                sleep_until(next.min(until)).await;
                if next >= until {
                    return Ok(Vec::new());
                }
            }
            Ok(taken) => {
                shared.trouble().reset();
                shared.idle().reset();
                let leases: Vec<_> = join_all(taken.into_iter().map(open))
                    .await
                    .into_iter()
                    .flatten()
                    .collect();
                if !leases.is_empty() {
                    return Ok(leases);
                }
            }
            Err(error) => {
                let pause = shared.trouble().pause();
                sleep(pause).await;
                return Err(error);
            }
        }
    }
}

/// Takes tasks; with each the fault of its message, if that cannot be read.
async fn take(shared: &Arc<Shared>, room: usize) -> Result<Vec<(Hold, Option<String>)>, QueueError> {
    let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
    let owner = format!("{}/{serial}", shared.identity.name);
    let at = Instant::now();
    let mut call = scripts::DEQUEUE.prepare_invoke();
    call.arg(room)
        .arg(shared.clock.lease_end(shared.options.timing.lease))
        .arg(&owner);
    for keys in &shared.queues {
        call.key(&keys.pending)
            .key(&keys.paused)
            .key(&keys.active)
            .key(&keys.lease)
            .arg(&keys.tasks);
    }
    let taken: Vec<(usize, String, Vec<u8>)> = shared.link.script(&call).await?;
    let started = shared.clock.now();
    let reserve = |(queue, id, bytes): (usize, String, Vec<u8>)| {
        let decoded = Envelope::decode(&bytes).map_err(|error| format!("failed to decode message: {error}"));
        let (envelope, fault) = match decoded {
            Ok(envelope) => (envelope, None),
            Err(fault) => (wrap(shared, queue, &id, bytes), Some(fault)),
        };
        let reservation = Arc::new(Reservation {
            queue,
            id,
            owner: owner.clone(),
            envelope,
            started,
            confirmed: Mutex::new(at),
            lost: CancellationToken::new(),
            cancelled: CancellationToken::new(),
            settling: AtomicBool::new(false),
        });
        (Hold::new(shared.clone(), reservation), fault)
    };
    Ok(taken.into_iter().map(reserve).collect())
}

/// A message in place of bytes that are none, so that tools can show what was there.
fn wrap(shared: &Shared, queue: usize, id: &str, bytes: Vec<u8>) -> Envelope {
    let queue = shared
        .queues
        .get(queue)
        .map(|keys| keys.queue.clone())
        .unwrap_or_default();
    let message = TaskMessage {
        id: id.to_owned(),
        queue,
        payload: bytes,
        ..TaskMessage::default()
    };
    Envelope {
        message,
        unknown: Vec::new(),
    }
}

fn parse(message: &TaskMessage) -> Result<Task, String> {
    if message.kind != peekaping::CHECK_TASK {
        return Err(format!("handler not found for task {:?}", message.kind));
    }
    peekaping::parse_task(&message.payload).map_err(|error| error.to_string())
}

/// A lease, or nothing when the message is no task: that is archived with the reason. If it cannot be, its lease runs
/// out and it comes again.
async fn open((hold, fault): (Hold, Option<String>)) -> Option<Lease> {
    let id = hold.reservation.id.clone();
    let parsed = fault.map_or_else(|| parse(&hold.reservation.envelope.message), Err);
    let why = match parsed {
        Ok(task) => return Some(Lease::new(id, Arc::new(task), Policy::default(), Box::new(hold))),
        Err(why) => why,
    };
    match hold.archive(&why).await {
        Ok(()) => {
            hold.shared.counts.archived.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(task.id = id, "archived: {why}");
        }
        Err(error) => tracing::warn!(task.id = id, "not archived yet ({why}): {error}"),
    }
    None
}
