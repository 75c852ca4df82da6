//! The ways to end a claim. All that end at about the same time travel together.

use super::{
    Shared,
    held::Reservation,
    keys::{self, Keys},
    outcome::{Ended, Outcome, outcome},
    scripts,
    value::Failure,
};
use crate::{
    QueueError, Settle,
    backoff::retry_pause,
    batch::Batch,
    held::{Reserved, kept},
    inspect::milliseconds,
    link::Link,
    script::Call,
};
use async_trait::async_trait;
use lapwing_model::CheckResult;
use std::sync::{Arc, atomic::Ordering};
use tokio_util::sync::CancellationToken;

/// Most endings in one call, within what Lua can pass on.
const BATCH: usize = 1000;

/// One job's end, as the script takes it.
pub(super) struct Ending {
    id: String,
    mark: String,
    /// `done` or `again`, and what goes with it.
    how: &'static str,
    first: Vec<u8>,
    second: String,
    reason: String,
}

/// What makes the calls; answers whether the claim was still ours.
pub(super) fn endings(link: Arc<Link>, keys: Keys, dead_letters: usize) -> Batch<Ending, bool> {
    Batch::new(BATCH, move |endings: Vec<Ending>| {
        let (link, keys) = (link.clone(), keys.clone());
        async move {
            let mut call = Call::new(
                &scripts::FINISH,
                &[
                    &keys.queue,
                    keys::ABORT,
                    &keys.dead,
                    &keys.dead_jobs,
                    &keys.dead_reasons,
                ],
            );
            call.arg(dead_letters);
            for ending in &endings {
                call.arg(&ending.id).arg(&ending.mark).arg(ending.how);
                call.arg(&ending.first[..])
                    .arg(&ending.second)
                    .arg(&ending.reason);
            }
            link.script(&call).await
        }
    })
}

/// One claim and what it takes to end it. While this lives, the claim is kept alive.
pub(super) struct Hold {
    shared: Arc<Shared>,
    pub(super) reservation: Arc<Reservation>,
}

impl Hold {
    pub(super) fn new(shared: Arc<Shared>, reservation: Arc<Reservation>) -> Self {
        shared.held.insert(reservation.clone());
        Self { shared, reservation }
    }

    /// The job is done: its result is kept where its client looks for it. With a reason it is a dead letter, too.
    pub(super) async fn finish(&self, outcome: Outcome, reason: &str) -> Result<(), QueueError> {
        let (shared, held) = (&self.shared, &self.reservation);
        let second = shared.lasting();
        let count = if outcome.is_ok() {
            &shared.counts.complete
        } else {
            &shared.counts.failed
        };
        let first = if second.is_empty() {
            Vec::new()
        } else {
            let ended = Ended {
                id: &held.id,
                queue: &shared.keys.queue,
                job: held.job.as_ref(),
                attempt: held.attempt,
                started: held.started,
                finished: shared.now(),
            };
            ended.write(outcome, shared.options.format)
        };
        self.end("done", first, second, kept(reason)).await?;
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The job comes again after `pause` ms, or keeps its place when that is empty.
    async fn again(&self, pause: String, uncounted: &str) -> Result<(), QueueError> {
        self.end("again", pause.into_bytes(), uncounted.to_owned(), "")
            .await
    }

    async fn end(
        &self,
        how: &'static str,
        first: Vec<u8>,
        second: String,
        reason: &str,
    ) -> Result<(), QueueError> {
        let held = &self.reservation;
        let ending = Ending {
            id: held.id.clone(),
            mark: held.mark.clone(),
            how,
            first,
            second,
            reason: reason.to_owned(),
        };
        let claim = self.shared.options.timing.claim;
        held.end(claim, self.shared.endings.call(ending)).await?;
        self.shared.counts.ended.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.held.remove(&self.reservation);
    }
}

#[async_trait]
impl Settle for Hold {
    async fn confirm(&self) -> Result<(), QueueError> {
        self.reservation.still_ours(self.shared.options.timing.claim)
    }

    async fn ack(&self, result: Option<&CheckResult>) -> Result<(), QueueError> {
        self.finish(outcome(result), "").await
    }

    async fn retry(&self, why: &str) -> Result<(), QueueError> {
        tracing::debug!(job.id = self.reservation.id, "to be tried again: {why}");
        let pause = retry_pause(self.reservation.attempt);
        self.again(milliseconds(pause).to_string(), "").await?;
        self.shared.counts.retried.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn archive(&self, why: &str) -> Result<(), QueueError> {
        let why = if why.is_empty() { "failed" } else { why };
        self.finish(Err(Failure::Execution(why.to_owned())), why).await
    }

    async fn requeue(&self) -> Result<(), QueueError> {
        self.again(String::new(), "uncounted").await?;
        self.shared.front.lock().await.forget();
        Ok(())
    }

    async fn abort(&self) -> Result<(), QueueError> {
        self.finish(Err(Failure::Cancelled), "").await
    }

    fn lost(&self) -> &CancellationToken {
        &self.reservation.tenure.lost
    }

    fn cancelled(&self) -> &CancellationToken {
        &self.reservation.tenure.cancelled
    }
}
