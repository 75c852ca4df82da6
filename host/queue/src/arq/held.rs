//! The jobs that this process has claimed, and how their claims are kept alive.

use super::{Shared, job::Job, keys, locked, presence, scripts};
use crate::{QueueError, backoff::Backoff, inspect::milliseconds, link::Link, script::Call};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Claims looked after by one call of a script.
const CHUNK: usize = 1000;

/// Due jobs looked through for claims whose answer never came; those of others run out.
const LOOKED_THROUGH: usize = 20_000;

/// One job in work here.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) id: String,
    /// What the job's marker says.
    pub(super) mark: String,
    /// 1 for the first try.
    pub(super) attempt: u32,
    /// `None` where it could not be read.
    pub(super) job: Option<Job>,
    /// In Unix milliseconds.
    pub(super) started: i64,
    /// When the claim was last known to be ours.
    confirmed: Mutex<Instant>,
    pub(super) lost: CancellationToken,
    pub(super) cancelled: CancellationToken,
    /// An attempt to settle was made: from then on the claim may be gone because we ended it.
    pub(super) settling: AtomicBool,
}

impl Reservation {
    pub(super) fn new(
        id: String,
        mark: String,
        attempt: u32,
        job: Option<Job>,
        started: i64,
        at: Instant,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            mark,
            attempt,
            job,
            started,
            confirmed: Mutex::new(at),
            lost: CancellationToken::new(),
            cancelled: CancellationToken::new(),
            settling: AtomicBool::new(false),
        })
    }

    /// Fails when the claim is lost, or must be taken for lost because it was not renewed in time.
    pub(super) fn still_ours(&self, claim: Duration) -> Result<(), QueueError> {
        if locked(&self.confirmed).elapsed() >= claim {
            self.lost.cancel();
        }
        if self.lost.is_cancelled() {
            return Err(QueueError::LeaseLost(self.id.clone()));
        }
        Ok(())
    }
}

/// All of them by id, and claims whose answer never came.
#[derive(Debug, Default)]
pub(super) struct Held {
    table: Mutex<HashMap<String, Arc<Reservation>>>,
    doubtful: Mutex<Vec<(String, Instant)>>,
}

impl Held {
    pub(super) fn insert(&self, reservation: Arc<Reservation>) {
        locked(&self.table).insert(reservation.id.clone(), reservation);
    }

    /// Removes this reservation, not a later one of the same id.
    pub(super) fn remove(&self, reservation: &Arc<Reservation>) {
        let mut table = locked(&self.table);
        let same = |held: &Arc<Reservation>| Arc::ptr_eq(held, reservation);
        if table.get(&reservation.id).is_some_and(same) {
            table.remove(&reservation.id);
        }
    }

    pub(super) fn len(&self) -> usize {
        locked(&self.table).len()
    }

    /// Remembers that jobs may have been claimed under this mark, without an answer.
    pub(super) fn doubt(&self, mark: String, at: Instant) {
        locked(&self.doubtful).push((mark, at));
    }

    fn all(&self) -> Vec<Arc<Reservation>> {
        locked(&self.table).values().cloned().collect()
    }

    /// Gives up the claims that were not renewed in time.
    fn expire(&self, claim: Duration) {
        for held in self.all() {
            if !held.lost.is_cancelled() && held.still_ours(claim).is_err() {
                tracing::warn!(
                    job.id = held.id,
                    "claim ran out: it could not be renewed for {claim:?}"
                );
            }
        }
    }
}

/// Looks after the claims until aborted, on a connection of its own.
pub(super) async fn keep(shared: Arc<Shared>) {
    let link = Link::new(&shared.server, shared.options.patience);
    let timing = &shared.options.timing;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    let mut presence = presence::Presence::default();
    let (mut next_beat, mut failing) = (Instant::now(), false);
    loop {
        let due = Instant::now() >= next_beat;
        let outcome = async {
            if due {
                shared.clock.adjust(&link).await?;
                renew(&shared, &link).await?;
                // Signs of life are less than claims: a server that denies them still gets those.
                if let Err(error) = presence.write(&shared, &link).await {
                    tracing::debug!("presence not shown: {error}");
                }
            }
            release(&shared, &link).await?;
            look_for_aborts(&shared, &link, due).await
        };
        let outcome = outcome.await;
        shared.held.expire(timing.claim);
        let pause = match outcome {
            Ok(()) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("queue is back");
                }
                if due {
                    next_beat = Instant::now() + timing.beat;
                }
                backoff.reset();
                timing.abort
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "claims cannot be renewed"
                    );
                }
                backoff.pause()
            }
        };
        sleep(pause).await;
    }
}

async fn renew(shared: &Shared, link: &Link) -> Result<(), QueueError> {
    for chunk in shared.held.all().chunks(CHUNK) {
        let at = Instant::now();
        let mut call = Call::new(&scripts::RENEW, &[]);
        call.arg(milliseconds(shared.options.timing.claim));
        for held in chunk {
            call.arg(&held.id).arg(&held.mark);
        }
        let lost: HashSet<String> = link.script(&call).await?;
        for held in chunk {
            if !lost.contains(&held.id) {
                *locked(&held.confirmed) = at;
            } else if !held.settling.load(Ordering::Relaxed) && !held.lost.is_cancelled() {
                tracing::warn!(job.id = held.id, "claim lost: another worker has the job");
                held.lost.cancel();
            }
        }
    }
    Ok(())
}

/// Gives doubtful claims back, again and again until they would have run out: the request may be served late.
async fn release(shared: &Shared, link: &Link) -> Result<(), QueueError> {
    let marks: Vec<String> = {
        let mut doubtful = locked(&shared.held.doubtful);
        doubtful.retain(|(_, at)| at.elapsed() < shared.options.timing.claim);
        doubtful.iter().map(|(mark, _)| mark.clone()).collect()
    };
    if marks.is_empty() {
        return Ok(());
    }
    let mut call = Call::new(&scripts::RELEASE, &[&shared.keys.queue]);
    let released: u64 = link.script(call.arg(LOOKED_THROUGH).arg(marks)).await?;
    if released > 0 {
        tracing::info!(released, "gave back claims whose answer never came");
    }
    Ok(())
}

async fn look_for_aborts(shared: &Shared, link: &Link, always: bool) -> Result<(), QueueError> {
    let all = shared.held.all();
    if all.is_empty() && !always {
        return Ok(());
    }
    // At least once, for the requests that nobody needs any more.
    for chunk in all
        .chunks(CHUNK)
        .chain([&[][..]].into_iter().filter(|_| all.is_empty()))
    {
        let mut call = Call::new(&scripts::ABORTS, &[keys::ABORT]);
        call.arg(milliseconds(shared.options.timing.stale_abort));
        for held in chunk {
            call.arg(&held.id);
        }
        let wanted: HashSet<String> = link.script(&call).await?;
        for held in chunk.iter().filter(|held| wanted.contains(&held.id)) {
            held.cancelled.cancel();
        }
    }
    Ok(())
}
