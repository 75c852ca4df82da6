//! The background task of a worker: leases, presence, and what is due, lost or kept too long, every few seconds. On a
//! thread and a connection of its own.

use super::{
    Shared,
    held::{self, Reservation},
    presence,
    recover::Recovery,
};
use crate::{
    QueueError,
    backoff::{Backoff, jittered},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

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
    let mut next_look = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    let mut failing = false;
    loop {
        let outcome = beat(shared, &mut recovery, &mut next_look).await;
        shared.held.expire(shared.options.timing.lease);
        let pause = match outcome {
            Ok(()) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("queue is back");
                }
                backoff.reset();
                let look = next_look.saturating_duration_since(Instant::now());
                look.min(jittered(shared.options.timing.beat))
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "leases cannot be extended"
                    );
                }
                backoff.pause()
            }
        };
        tokio::select! { () = sleep(pause) => {}, () = shared.wake.notified() => {} }
    }
}

/// One beat. Leases come first; a server that denies one part still gets the others.
async fn beat(shared: &Shared, recovery: &mut Recovery, next_look: &mut Instant) -> Result<(), QueueError> {
    shared.clock.adjust(&shared.keeper).await?;
    let extended = extend_all(shared).await;
    let shown = presence::write(shared).await;
    if Instant::now() >= *next_look {
        let wait = recovery.look(shared).await?;
        *next_look = Instant::now() + wait;
    }
    extended.and(shown)
}

async fn extend_all(shared: &Shared) -> Result<(), QueueError> {
    let held = shared.held.all();
    for (index, queue) in shared.queues.iter().enumerate() {
        let of_queue: Vec<Arc<Reservation>> =
            held.iter().filter(|held| held.queue == index).cloned().collect();
        held::extend(shared, &shared.keeper, &queue.keys, &of_queue).await?;
    }
    Ok(())
}
