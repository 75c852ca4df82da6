//! The background task of a worker: leases, presence, and what is due, lost or kept too long, every few seconds. On a
//! thread and a connection of its own.

use super::{
    Shared,
    held::{self, Reservation},
    presence,
    recover::Recovery,
};
use crate::{QueueError, backoff::Backoff};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// Runs until the worker closes, and takes it off the presence list. Starts with a full beat, so a restarted worker looks
/// for what it left behind at once.
pub(super) async fn run(shared: Arc<Shared>) {
    tokio::select! { () = beats(&shared) => {}, () = shared.closing.cancelled() => {} }
    if let Err(error) = presence::clear(&shared).await {
        tracing::debug!("presence not cleared, it runs out by itself: {error}");
    }
    shared.closed.cancel();
}

async fn beats(shared: &Shared) {
    let mut recovery = Recovery::default();
    let mut next_beat = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    let mut failing = false;
    loop {
        let whole = next_beat <= Instant::now();
        let outcome = beat(shared, &mut recovery, whole).await;
        shared.held.expire(shared.options.timing.lease);
        let next_look = match outcome {
            Ok(wait) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("queue is back");
                }
                backoff.reset();
                if whole {
                    let beat = shared.options.timing.beat;
                    next_beat = Instant::now() + beat.mul_f64(0.9 + fastrand::f64() / 10.0);
                }
                next_beat.min(Instant::now() + wait)
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "leases cannot be extended"
                    );
                }
                next_beat = Instant::now() + backoff.pause();
                next_beat
            }
        };
        tokio::select! {
            () = sleep_until(next_look) => {}
            () = shared.wake.notified() => next_beat = Instant::now(),
        }
    }
}

/// One look after the queues, and a whole beat before it when it is time for one: then leases come first. A server that
/// denies one part still gets the others. Answers with how long to wait for the next look.
async fn beat(shared: &Shared, recovery: &mut Recovery, whole: bool) -> Result<Duration, QueueError> {
    let mut alive = Ok(());
    if whole {
        alive = shared.clock.adjust(&shared.keeper).await;
        if goes_on(shared, &alive) {
            alive = alive.and(extend_all(shared).await);
        }
        if goes_on(shared, &alive) {
            alive = alive.and(presence::write(shared).await);
        }
    }
    let well = matches!(alive, Ok(()) | Err(QueueError::Denied(_)));
    if !well && !shared.server.is_cluster() {
        // While writes are refused nothing can be moved either; asking would only add to the load.
        return alive.map(|()| Duration::ZERO);
    }
    let wait = recovery.look(shared).await;
    alive.and(wait)
}

async fn extend_all(shared: &Shared) -> Result<(), QueueError> {
    let held = shared.held.all();
    let mut outcome = Ok(());
    for (index, queue) in shared.queues.iter().enumerate() {
        let of_queue: Vec<Arc<Reservation>> =
            held.iter().filter(|held| held.queue == index).cloned().collect();
        let extended = held::extend(shared, &shared.keeper, &queue.keys, &of_queue).await;
        outcome = outcome.and(extended);
        if !goes_on(shared, &outcome) {
            break;
        }
    }
    outcome
}

/// Whether the rest may succeed though this failed: on a cluster other nodes may be well, and a denial may be of one part.
pub(super) fn goes_on(shared: &Shared, done: &Result<(), QueueError>) -> bool {
    shared.server.is_cluster() || !matches!(done, Err(QueueError::Unavailable(_)))
}
