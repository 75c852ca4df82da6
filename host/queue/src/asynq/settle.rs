//! The ways to end a reservation: done, archived, requeued.

use super::{
    Shared,
    held::{self, Reservation},
    keys::Keys,
    scripts,
};
use crate::{QueueError, Settle};
use async_trait::async_trait;
use lapwing_model::CheckResult;
use redis::ScriptInvocation;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long Asynq keeps daily counters and archived tasks.
const KEPT: Duration = DAY.saturating_mul(90);
/// Longest reason kept with an archived task, in bytes.
const REASON_LIMIT: usize = 2048;

/// One reservation and what it takes to end it. While this lives, the lease is kept alive.
pub(super) struct Hold {
    pub(super) shared: Arc<Shared>,
    pub(super) reservation: Arc<Reservation>,
}

impl Hold {
    pub(super) fn new(shared: Arc<Shared>, reservation: Arc<Reservation>) -> Self {
        shared.held.insert(reservation.clone());
        Self { shared, reservation }
    }

    fn keys(&self) -> Result<&Keys, QueueError> {
        let keys = self.shared.queues.get(self.reservation.queue);
        keys.ok_or_else(|| QueueError::Protocol(format!("no queue {}", self.reservation.queue)))
    }

    /// Runs a script that answers 1 for done and 0 for "not held under this reservation".
    ///
    /// After an attempt without an answer, 0 means that it was done then, or that the lease ran out meanwhile: either
    /// way nothing is left to do.
    async fn run(&self, call: &ScriptInvocation<'_>) -> Result<(), QueueError> {
        self.reservation.still_ours(self.shared.options.timing.lease)?;
        let again = self.reservation.settling.swap(true, Ordering::Relaxed);
        let settled: bool = self.shared.link.script(call).await?;
        if settled || again {
            return Ok(());
        }
        self.reservation.lost.cancel();
        Err(QueueError::LeaseLost(self.reservation.id.clone()))
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
        let timing = &self.shared.options.timing;
        // Others may take it for abandoned only after our presence is gone.
        if self.reservation.age() >= timing.presence {
            held::extend(
                &self.shared,
                self.keys()?,
                std::slice::from_ref(&self.reservation),
            )
            .await?;
        }
        self.reservation.still_ours(timing.lease)
    }

    async fn ack(&self, _: Option<&CheckResult>) -> Result<(), QueueError> {
        let (keys, clock) = (self.keys()?, &self.shared.clock);
        let Reservation {
            id, owner, envelope, ..
        } = &*self.reservation;
        let mut call = scripts::DONE.key(keys.task(id));
        call.key(&keys.active).key(&keys.lease).key(&keys.completed);
        call.key(self.shared.today(&keys.processed)).key(&keys.processed);
        call.arg(id)
            .arg(owner)
            .arg(&envelope.message.unique_key)
            .arg(clock.seconds_in(KEPT));
        match u64::try_from(envelope.message.retention) {
            Ok(seconds) if seconds > 0 => {
                let mut completed = envelope.clone();
                completed.message.completed_at = clock.seconds_in(Duration::ZERO);
                call.arg(clock.seconds_in(Duration::from_secs(seconds)))
                    .arg(completed.encode());
            }
            _ => {
                call.arg("").arg("");
            }
        }
        self.run(&call).await
    }

    async fn retry(&self, _: &str) -> Result<(), QueueError> {
        self.requeue().await
    }

    async fn archive(&self, why: &str) -> Result<(), QueueError> {
        let (keys, clock) = (self.keys()?, &self.shared.clock);
        let Reservation {
            id, owner, envelope, ..
        } = &*self.reservation;
        let now = clock.seconds_in(Duration::ZERO);
        let mut failed = envelope.clone();
        why.get(..why.floor_char_boundary(REASON_LIMIT))
            .unwrap_or(why)
            .clone_into(&mut failed.message.error_msg);
        failed.message.last_failed_at = now;
        let mut call = scripts::ARCHIVE.key(keys.task(id));
        call.key(&keys.active).key(&keys.lease).key(&keys.archived);
        call.key(self.shared.today(&keys.processed))
            .key(self.shared.today(&keys.failed));
        call.key(&keys.processed).key(&keys.failed);
        call.arg(id)
            .arg(owner)
            .arg(now)
            .arg(failed.encode())
            .arg(clock.seconds_in(KEPT));
        call.arg(now.saturating_sub_unsigned(KEPT.as_secs()))
            .arg(&keys.tasks);
        self.run(&call).await
    }

    async fn requeue(&self) -> Result<(), QueueError> {
        let keys = self.keys()?;
        let mut call = scripts::REQUEUE.key(keys.task(&self.reservation.id));
        call.key(&keys.active).key(&keys.lease).key(&keys.pending);
        call.arg(&self.reservation.id).arg(&self.reservation.owner);
        self.run(&call).await
    }

    fn lost(&self) -> &CancellationToken {
        &self.reservation.lost
    }

    fn cancelled(&self) -> &CancellationToken {
        &self.reservation.cancelled
    }
}
