//! Looking after the queues: what is due is forwarded, what was kept long enough is deleted, and tasks whose worker is
//! gone are put back. Every worker does it; the scripts see to it that each task moves once.
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

use super::{Shared, keys, keys::Keys, scripts, upkeep::goes_on};
use crate::{QueueError, script::Call};
use futures_util::future::join_all;
use lapwing_model::Clock;
use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
    time::Duration,
};
use tokio::time::Instant;

/// Tasks of each sort moved by one call of the script, and leases looked at, those first that end soonest.
const CHUNK: usize = 1000;
/// Calls for each queue and look, when many tasks fall due at once. Leases are extended between two looks.
const CALLS: usize = 10;
/// Least time between two looks.
const LEAST: Duration = Duration::from_millis(100);

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
    /// One look at every queue, whatever became of the others. Answers with how long to wait for the next one.
    pub(super) async fn look(&mut self, shared: &Shared) -> Result<Duration, QueueError> {
        let timing = &shared.options.timing;
        let (mut suspects, mut wait) = (HashSet::new(), timing.beat);
        let mut outcome = Ok(());
        for (index, queue) in shared.queues.iter().enumerate() {
            match self.look_at(shared, index, &queue.keys, &mut suspects).await {
                Ok(due) => wait = wait.min(due),
                Err(error) => outcome = Err(error),
            }
            if !goes_on(shared, &outcome) {
                break;
            }
        }
        self.missing.retain(|worker, _| suspects.contains(worker));
        outcome?;
        if !self.missing.is_empty() {
            wait = wait.min(timing.confirm);
        }
        Ok(wait)
    }

    /// One look at one queue. Answers with how long until the next task of it falls due.
    async fn look_at(
        &mut self,
        shared: &Shared,
        index: usize,
        keys: &Keys,
        suspects: &mut HashSet<String>,
    ) -> Result<Duration, QueueError> {
        let tended = tend(shared, keys).await?;
        let judged = self.judge(shared, &tended.overdue, suspects).await;
        let overdue = tended.overdue.iter();
        let lost: Vec<_> = overdue
            .filter(|lease| self.is_lost(shared, index, lease))
            .collect();
        restore(shared, keys, &lost).await.and(judged)?;
        Ok(tended.due.map_or(Duration::MAX, |due| due.max(LEAST)))
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
        let mut outcome = Ok(());
        // On a cluster, each may be of another slot.
        let present: Vec<_> = others.iter().map(|worker| is_present(shared, worker)).collect();
        let present = join_all(present).await;
        for (worker, present) in others.into_iter().zip(present) {
            let present = match present {
                Ok(present) => present,
                // Nothing is known of a worker whose node is away.
                Err(error) => {
                    outcome = Err(error);
                    continue;
                }
            };
            if present {
                self.missing.remove(worker);
            } else {
                self.missing.entry(worker.to_owned()).or_insert_with(Instant::now);
                suspects.insert(worker.to_owned());
            }
        }
        outcome
    }

    fn is_lost(&self, shared: &Shared, queue: usize, lease: &Overdue) -> bool {
        let timing = &shared.options.timing;
        #[expect(clippy::cast_precision_loss, reason = "Unix seconds fit 53 bits")]
        let now = shared.clock.seconds_in(Duration::ZERO) as f64;
        match lease.lapwing() {
            Some(worker) if worker == shared.identity.name => {
                let held = shared.held.all();
                !held
                    .iter()
                    .any(|held| held.queue == queue && held.id == lease.id && *held.owner == *lease.owner)
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

async fn is_present(shared: &Shared, worker: &str) -> Result<bool, QueueError> {
    let mut exists = redis::cmd("EXISTS");
    shared.keeper.command(exists.arg(keys::server(worker))).await
}

/// What a look at one queue found.
struct Tended {
    overdue: Vec<Overdue>,
    /// How long until the next task falls due.
    due: Option<Duration>,
}

/// Forwarded, deleted, put back, when the next one is due, and leases near their end.
type Answer = (usize, usize, usize, String, Vec<(String, String, Vec<u8>)>);

async fn tend(shared: &Shared, keys: &Keys) -> Result<Tended, QueueError> {
    let timing = &shared.options.timing;
    let mut calls = 0;
    loop {
        let now = shared.clock.now();
        let latest = shared
            .clock
            .lease_end(timing.lease.saturating_sub(timing.silence));
        let mut call = Call::new(
            &scripts::TEND,
            &[
                &keys.pending,
                &keys.active,
                &keys.lease,
                &keys.scheduled,
                &keys.retry,
                &keys.completed,
            ],
        );
        call.arg(&keys.tasks).arg(&keys.groups).arg(now.as_second());
        call.arg(i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX));
        call.arg(latest).arg(CHUNK);
        let (forwarded, deleted, restored, due, overdue): Answer = shared.keeper.script(&call).await?;
        note(shared, keys, restored);
        if forwarded > 0 {
            shared.hint();
        }
        calls += 1;
        if calls < CALLS && [forwarded, deleted, restored].iter().any(|moved| *moved >= CHUNK) {
            continue;
        }
        let due: Option<f64> = due.parse().ok();
        #[expect(clippy::cast_precision_loss, reason = "Unix seconds fit 53 bits")]
        let due = due.map(|due| due - now.as_millisecond() as f64 / 1000.0);
        let overdue = overdue.into_iter().map(|(id, end, owner)| Overdue {
            id,
            end,
            owner: String::from_utf8_lossy(&owner).into_owned(),
        });
        return Ok(Tended {
            overdue: overdue.collect(),
            due: due.map(|due| Duration::try_from_secs_f64(due.max(0.0)).unwrap_or(Duration::MAX)),
        });
    }
}

async fn restore(shared: &Shared, keys: &Keys, lost: &[&Overdue]) -> Result<(), QueueError> {
    if lost.is_empty() {
        return Ok(());
    }
    let mut call = Call::new(&scripts::RESTORE, &[&keys.active, &keys.lease, &keys.pending]);
    call.arg(&keys.tasks);
    for lease in lost {
        call.arg(&lease.id).arg(&lease.end);
    }
    let restored: usize = shared.keeper.script(&call).await?;
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
