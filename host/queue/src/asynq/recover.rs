//! Putting tasks back whose worker is gone. Every worker does it; the scripts see to it that each task moves once.
//!
//! Live workers, stock and Lapwing alike, extend their leases every 5 s, so nobody's lease gets near its end. Of those
//! that do:
//!
//! | lease | goes back to the head of the queue when |
//! |---|---|
//! | our own, but we do not hold it (the answer to a reservation was lost, a lease was dropped) | not extended for 8 s |
//! | of another Lapwing worker | it ran out, or was not extended for 8 s and the worker's presence was found gone twice, 4 s apart |
//! | of a stock worker | it ran out 30 s ago (stock clocks differ; Asynq's own recoverer waits as long) |
//! | none, though in work | at once |
//!
//! After a `kill -9` that is 8 to 19 s: presence lasts 10 s, renewed every 5 s; then up to 5 s to the next look, and 4 s
//! to the second. Two looks, because right after an outage nobody's presence has been renewed yet.

use super::{Shared, keys, keys::Keys, scripts};
use crate::QueueError;
use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
    time::Duration,
};
use tokio::time::Instant;

/// Leases looked at per queue and tick, those first that end soonest.
const LOOK: usize = 1000;
/// Tasks looked at per queue and tick when some in work have no lease.
const ORPHANS: usize = 10_000;

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Workers whose presence is gone: since when.
    missing: HashMap<String, Instant>,
}

/// A lease near its end.
struct Overdue {
    id: String,
    end: String,
    owner: String,
}

impl Overdue {
    /// When the lease ends, in Unix seconds.
    fn ends(&self) -> f64 {
        self.end.parse().unwrap_or(f64::INFINITY)
    }

    /// The worker that holds it, if that is a Lapwing. Stock workers write whole seconds, and leave alone what a
    /// Lapwing may have written into the task before them.
    fn lapwing(&self) -> Option<&str> {
        let (worker, _) = self.owner.rsplit_once('/')?;
        (self.ends().fract() != 0.0).then_some(worker)
    }
}

impl Recovery {
    /// One look at every queue. Answers with how long to wait for the next one.
    pub(super) async fn look(&mut self, shared: &Shared) -> Result<Duration, QueueError> {
        let mut suspects = HashSet::new();
        for (index, keys) in shared.queues.iter().enumerate() {
            let overdue = overdue(shared, keys).await?;
            self.judge(shared, &overdue, &mut suspects).await?;
            let lost: Vec<_> = overdue
                .iter()
                .filter(|lease| self.is_lost(shared, index, lease))
                .collect();
            restore(shared, keys, &lost).await?;
            orphans(shared, keys).await?;
        }
        self.missing.retain(|worker, _| suspects.contains(worker));
        let timing = &shared.options.timing;
        Ok(if self.missing.is_empty() {
            timing.beat
        } else {
            timing.confirm.min(timing.beat)
        })
    }

    /// Asks which of the other Lapwing workers among the owners are present.
    async fn judge(
        &mut self,
        shared: &Shared,
        overdue: &[Overdue],
        suspects: &mut HashSet<String>,
    ) -> Result<(), QueueError> {
        let others = overdue
            .iter()
            .filter_map(Overdue::lapwing)
            .filter(|worker| *worker != shared.identity.name);
        let others: Vec<&str> = others.collect::<HashSet<_>>().into_iter().collect();
        if others.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        for worker in &others {
            pipe.cmd("EXISTS").arg(keys::server(worker));
        }
        let present: Vec<bool> = shared.link.pipeline(&pipe).await?;
        for (worker, present) in others.into_iter().zip(present) {
            if present {
                self.missing.remove(worker);
            } else {
                self.missing.entry(worker.to_owned()).or_insert_with(Instant::now);
                suspects.insert(worker.to_owned());
            }
        }
        Ok(())
    }

    fn is_lost(&self, shared: &Shared, queue: usize, lease: &Overdue) -> bool {
        let timing = &shared.options.timing;
        #[expect(clippy::cast_precision_loss, reason = "Unix seconds fit 53 bits")]
        let now = shared.clock.seconds_in(Duration::ZERO) as f64;
        match lease.lapwing() {
            Some(worker) if worker == shared.identity.name => {
                !shared.held.contains(queue, &lease.id, &lease.owner)
            }
            Some(worker) => {
                let gone = self
                    .missing
                    .get(worker)
                    .is_some_and(|since| since.elapsed() >= timing.confirm);
                gone || lease.ends() <= now
            }
            None => lease.ends() + timing.grace.as_secs_f64() <= now,
        }
    }
}

async fn overdue(shared: &Shared, keys: &Keys) -> Result<Vec<Overdue>, QueueError> {
    let timing = &shared.options.timing;
    let latest = shared
        .clock
        .lease_end(timing.lease.saturating_sub(timing.silence));
    let mut call = scripts::OVERDUE.key(&keys.lease);
    call.arg(&keys.tasks).arg(latest).arg(LOOK);
    let found: Vec<(String, String, String)> = shared.link.script(&call).await?;
    Ok(found
        .into_iter()
        .map(|(id, end, owner)| Overdue { id, end, owner })
        .collect())
}

async fn restore(shared: &Shared, keys: &Keys, lost: &[&Overdue]) -> Result<(), QueueError> {
    if lost.is_empty() {
        return Ok(());
    }
    let mut call = scripts::RESTORE.key(&keys.active);
    call.key(&keys.lease).key(&keys.pending).arg(&keys.tasks);
    for lease in lost {
        call.arg(&lease.id).arg(&lease.end);
    }
    let restored: usize = shared.link.script(&call).await?;
    note(shared, keys, restored);
    Ok(())
}

async fn orphans(shared: &Shared, keys: &Keys) -> Result<(), QueueError> {
    let mut call = scripts::ORPHANS.key(&keys.active);
    call.key(&keys.lease)
        .key(&keys.pending)
        .arg(&keys.tasks)
        .arg(ORPHANS);
    let restored: usize = shared.link.script(&call).await?;
    note(shared, keys, restored);
    Ok(())
}

fn note(shared: &Shared, keys: &Keys, tasks: usize) {
    if tasks > 0 {
        shared.counts.recovered.fetch_add(tasks as u64, Ordering::Relaxed);
        tracing::warn!(
            queue.name = keys.queue,
            tasks,
            "put tasks back that nobody worked at"
        );
    }
}
