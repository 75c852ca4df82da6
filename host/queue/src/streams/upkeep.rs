//! What runs beside the work, on the thread that keeps leases: forwarding what is due, renewing, recovering, tidying up.

use super::{Shared, held, keys::PARKED, ms, reader::is_gone, scripts};
use crate::{
    QueueError,
    backoff::{Backoff, jittered},
    link::Link,
    script::Call,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Tasks forwarded by one call of the script, of each sort.
const FORWARDED: usize = 200;
/// Entries parked by one call of the script; it looks at ten times as many.
const RECOVERED: usize = 500;
/// Calls of a script in a row, at most.
const ROUNDS: usize = 50;
/// Beats between two askings for Redis's time.
const CLOCK: u64 = 10;

/// When the next of each is due.
struct Upkeep {
    renew: Instant,
    look: Instant,
    sweep: Instant,
    /// Since when nothing failed. Right after an outage nobody's leases have been renewed yet.
    well: Option<Instant>,
    beats: u64,
}

/// Runs until aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let timing = &shared.options.timing;
    let link = Link::new(&shared.server, shared.options.patience);
    let now = Instant::now();
    let mut upkeep = Upkeep {
        renew: now + timing.idle / 3,
        look: now,
        sweep: now + timing.idle,
        well: None,
        beats: 0,
    };
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    loop {
        let outcome = upkeep.beat(&shared, &link).await;
        let pause = match outcome {
            Ok(()) => {
                if upkeep.well.is_none() {
                    upkeep.well = Some(Instant::now());
                }
                backoff.reset();
                jittered(timing.beat)
            }
            // The reader makes the group anew.
            Err(error) if is_gone(&error) => jittered(timing.beat),
            Err(error) => {
                if upkeep.well.take().is_some() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "leases cannot be renewed"
                    );
                }
                backoff.pause()
            }
        };
        sleep(pause).await;
    }
}

impl Upkeep {
    /// One beat. Leases come first.
    async fn beat(&mut self, shared: &Shared, link: &Link) -> Result<(), QueueError> {
        let timing = &shared.options.timing;
        let third = timing.idle / 3;
        if Instant::now() >= self.renew || self.well.is_none() {
            held::renew(shared, link, &shared.held.all()).await?;
            self.renew = Instant::now() + third;
        }
        forward(shared, link).await?;
        if self.beats.is_multiple_of(CLOCK) {
            shared.clock.adjust(link).await?;
        }
        self.beats += 1;
        let settled = self.well.is_some_and(|since| since.elapsed() >= third * 2);
        if settled && Instant::now() >= self.look {
            recover(shared, link).await?;
            self.look = Instant::now() + jittered(third);
        }
        if Instant::now() >= self.sweep {
            sweep(shared, link).await?;
            self.sweep = Instant::now() + jittered(timing.silence / 6);
        }
        Ok(())
    }
}

/// Puts on the stream what has become due, and hears of cancellations.
async fn forward(shared: &Shared, link: &Link) -> Result<(), QueueError> {
    let (keys, options) = (&shared.keys, &shared.options);
    for _ in 0..ROUNDS {
        let mut call = Call::new(
            &scripts::BEAT,
            &[
                &keys.stream,
                &keys.later,
                &keys.scheduled,
                &keys.retry,
                &keys.paused,
                &keys.cancelled,
                &keys.dead,
            ],
        );
        call.arg(&options.group).arg(&shared.consumer).arg(PARKED);
        call.arg(&keys.locks).arg(ms(options.timing.lock)).arg(FORWARDED);
        call.arg(options.dead_bound);
        let (forwarded, look, cancelled, dead): (usize, bool, Vec<Vec<u8>>, u64) = link.script(&call).await?;
        if look {
            shared.look.store(true, Ordering::Relaxed);
        }
        for entry in cancelled {
            shared.held.cancel(|held| held.entry.as_bytes() == entry);
        }
        if dead > 0 {
            shared.archived.fetch_add(dead, Ordering::Relaxed);
            tracing::warn!(
                queue.name = options.stream,
                tasks = dead,
                "tasks that waited cannot be read, they are dead letters"
            );
        }
        if forwarded < FORWARDED {
            break;
        }
    }
    Ok(())
}

/// Parks entries whose workers do not keep them.
async fn recover(shared: &Shared, link: &Link) -> Result<(), QueueError> {
    let options = &shared.options;
    let mut from = "0-0".to_owned();
    for _ in 0..ROUNDS {
        let mut call = Call::new(&scripts::RECOVER, &[&shared.keys.stream]);
        call.arg(&options.group).arg(PARKED).arg(ms(options.timing.idle));
        call.arg(&from).arg(RECOVERED);
        let (next, found): (String, i64) = link.script(&call).await?;
        if let Some(found) = u64::try_from(found).ok().filter(|found| *found > 0) {
            shared.recovered.fetch_add(found, Ordering::Relaxed);
            shared.look.store(true, Ordering::Relaxed);
            tracing::warn!(
                queue.name = options.stream,
                tasks = found,
                "put tasks back that nobody worked at"
            );
        }
        if next == "0-0" {
            break;
        }
        from = next;
    }
    Ok(())
}

/// Removes consumers that are gone.
async fn sweep(shared: &Shared, link: &Link) -> Result<(), QueueError> {
    let mut call = Call::new(&scripts::SWEEP, &[&shared.keys.stream]);
    call.arg(&shared.options.group).arg(&shared.consumer).arg(PARKED);
    call.arg(ms(shared.options.timing.silence));
    let removed: u64 = link.script(&call).await?;
    if removed > 0 {
        tracing::info!(
            queue.name = shared.options.stream,
            removed,
            "removed consumers that are gone"
        );
    }
    Ok(())
}

/// Parks what was handed to this worker but is not in work; with `goodbye`, its consumer goes too if it owns nothing.
pub(super) async fn hand_over(shared: &Shared, goodbye: bool) -> Result<(), QueueError> {
    let mut call = Call::new(&scripts::HAND_OVER, &[&shared.keys.stream]);
    call.arg(&shared.options.group).arg(&shared.consumer).arg(PARKED);
    call.arg(u8::from(goodbye));
    for reservation in shared.held.all() {
        call.arg(&reservation.entry);
    }
    shared.link.script(&call).await
}
