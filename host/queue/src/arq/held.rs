//! The jobs that this process has claimed, and how their claims are kept alive.

use super::{Shared, job::Job, keys, locked, presence, scripts};
use crate::{
    QueueError,
    backoff::Backoff,
    held::{CHUNK, Held, Reserved, Tenure},
    inspect::milliseconds,
    link::Link,
    script::Call,
};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

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
    pub(super) tenure: Tenure,
}

impl Reserved for Reservation {
    fn name(&self) -> &str {
        &self.id
    }

    fn tenure(&self) -> &Tenure {
        &self.tenure
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
        Held::renewed(chunk, at, |held| lost.contains(&held.id));
    }
    Ok(())
}

/// Gives doubtful claims back, again and again until they would have run out: the request may be served late.
async fn release(shared: &Shared, link: &Link) -> Result<(), QueueError> {
    let marks: Vec<String> = {
        let mut doubtful = locked(&shared.doubtful);
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
            held.tenure.cancelled.cancel();
        }
    }
    Ok(())
}
