//! The ways to end a reservation: done, tried again, archived, requeued. Many travel together.

use super::{
    Shared,
    held::{self, Reservation},
    keys::Keys,
    payload, scripts,
    served::Served,
};
use crate::{
    QueueError, RedisClock, Settle,
    clock::{day, later},
    held::{Reserved, kept},
    link::Link,
    script::Call,
};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use lapwing_model::{CheckResult, Clock};
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long Asynq keeps daily counters and archived tasks.
const KEPT: Duration = DAY.saturating_mul(90);

/// What becomes of one task.
#[derive(Debug)]
pub(super) struct Ending {
    reservation: Arc<Reservation>,
    way: Way,
}

/// The ways out of work. Times are Unix seconds, messages as they are to be written.
#[derive(Debug)]
enum Way {
    Done,
    Pending,
    Retry {
        due: i64,
        message: Vec<u8>,
    },
    Archived {
        at: i64,
        message: Vec<u8>,
    },
    Completed {
        until: i64,
        message: Vec<u8>,
        result: Vec<u8>,
    },
}

impl Way {
    /// As `settle.lua` calls it.
    fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Pending => "pending",
            Self::Retry { .. } => "retry",
            Self::Archived { .. } => "archived",
            Self::Completed { .. } => "completed",
        }
    }
}

/// Makes the calls that end many tasks of the queue with these keys; answers whether each was still held.
pub(super) fn caller(
    keys: &Keys,
    link: &Arc<Link>,
    clock: &RedisClock,
) -> impl Fn(Vec<Ending>) -> BoxFuture<'static, Result<Vec<bool>, QueueError>> + Send + 'static {
    let (keys, link, clock) = (Arc::new(keys.clone()), link.clone(), clock.clone());
    move |endings| {
        let (keys, link, clock) = (keys.clone(), link.clone(), clock.clone());
        Box::pin(async move { end(&keys, &link, &clock, endings).await })
    }
}

async fn end(
    keys: &Keys,
    link: &Link,
    clock: &RedisClock,
    endings: Vec<Ending>,
) -> Result<Vec<bool>, QueueError> {
    let now = clock.now();
    let (processed, failed) = (day(&keys.processed, now), day(&keys.failed, now));
    let mut call = Call::new(
        &scripts::SETTLE,
        &[
            &keys.active,
            &keys.lease,
            &keys.pending,
            &keys.completed,
            &keys.retry,
            &keys.archived,
            &processed,
            &failed,
            &keys.processed,
            &keys.failed,
        ],
    );
    call.arg(&keys.tasks).arg(later(now, KEPT).as_second());
    call.arg(now.as_second().saturating_sub_unsigned(KEPT.as_secs()));
    for Ending { reservation, way } in endings {
        let Reservation {
            id, owner, envelope, ..
        } = &*reservation;
        call.arg(way.name()).arg(id).arg(&**owner);
        let lock = keys.own(&envelope.message.unique_key);
        match way {
            Way::Done => call.arg(lock),
            Way::Pending => &mut call,
            Way::Retry { due, message } | Way::Archived { at: due, message } => call.arg(due).arg(message),
            Way::Completed {
                until,
                message,
                result,
            } => call.arg(lock).arg(until).arg(message).arg(result),
        };
    }
    link.script(&call).await
}

/// One reservation and what it takes to end it. While this lives, the lease is kept alive.
pub(super) struct Hold {
    pub(super) shared: Arc<Shared>,
    pub(super) reservation: Arc<Reservation>,
    /// Its place among the tasks of its queue that may be in work here.
    seat: Option<OwnedSemaphorePermit>,
}

impl Hold {
    pub(super) fn new(
        shared: Arc<Shared>,
        reservation: Arc<Reservation>,
        seat: Option<OwnedSemaphorePermit>,
    ) -> Self {
        shared.held.insert(reservation.clone());
        Self {
            shared,
            reservation,
            seat,
        }
    }

    pub(super) fn queue(&self) -> Result<&Served, QueueError> {
        let queue = self.shared.queues.get(self.reservation.queue);
        queue.ok_or_else(|| QueueError::Protocol(format!("no queue {}", self.reservation.queue)))
    }

    /// Makes one attempt to end the task.
    async fn settle(&self, way: Way) -> Result<(), QueueError> {
        let ending = Ending {
            reservation: self.reservation.clone(),
            way,
        };
        let lease = self.shared.options.timing.lease;
        self.reservation
            .end(lease, self.queue()?.settle.call(ending))
            .await
    }

    /// When the task failed, and its message with the reason, tried `tried` times more than before.
    fn failed(&self, why: &str, tried: i32) -> (i64, Vec<u8>) {
        let now = self.shared.clock.seconds_in(Duration::ZERO);
        let mut failed = self.reservation.envelope.clone();
        let message = &mut failed.message;
        kept(why).clone_into(&mut message.error_msg);
        message.last_failed_at = now;
        message.retried = message.retried.saturating_add(tried);
        (now, failed.encode())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.held.remove(&self.reservation);
        if self.seat.take().is_some() {
            self.shared.hint();
        }
    }
}

#[async_trait]
impl Settle for Hold {
    async fn confirm(&self) -> Result<(), QueueError> {
        let timing = &self.shared.options.timing;
        // A lease is looked into from then on; until then nobody takes it for abandoned.
        if self.reservation.tenure.age() >= timing.silence {
            let only = std::slice::from_ref(&self.reservation);
            held::extend(&self.shared, &self.shared.link, &self.queue()?.keys, only).await?;
        }
        self.reservation.still_ours(timing.lease)
    }

    async fn ack(&self, result: Option<&CheckResult>) -> Result<(), QueueError> {
        let clock = &self.shared.clock;
        let envelope = &self.reservation.envelope;
        let kept_here = self.queue()?.keep_result;
        let keep = match u64::try_from(envelope.message.retention) {
            Ok(seconds @ 1..) => Duration::from_secs(seconds),
            _ if result.is_some() => kept_here,
            _ => Duration::ZERO,
        };
        if keep.is_zero() {
            return self.settle(Way::Done).await;
        }
        let mut completed = envelope.clone();
        completed.message.completed_at = clock.seconds_in(Duration::ZERO);
        let json = |result| serde_json::to_vec(result).unwrap_or_default();
        let way = Way::Completed {
            until: clock.seconds_in(keep),
            message: completed.encode(),
            result: result.map(json).unwrap_or_default(),
        };
        self.settle(way).await
    }

    async fn retry(&self, why: &str) -> Result<(), QueueError> {
        let tried = payload::attempts(&self.reservation.envelope.message);
        let delay = retry_delay(tried).mul_f64(self.shared.options.timing.retry);
        let due = self.shared.clock.seconds_in(delay);
        let (_, message) = self.failed(why, 1);
        self.settle(Way::Retry { due, message }).await
    }

    async fn archive(&self, why: &str) -> Result<(), QueueError> {
        let (at, message) = self.failed(why, 0);
        self.settle(Way::Archived { at, message }).await
    }

    async fn requeue(&self) -> Result<(), QueueError> {
        self.settle(Way::Pending).await
    }

    /// Peekaping's ingester knows only results of its own tasks.
    fn publishes(&self) -> bool {
        self.reservation.envelope.message.kind != payload::CHECK_TASK
    }

    fn queue(&self) -> Option<&str> {
        let served = Hold::queue(self).ok()?;
        Some(&served.keys.queue)
    }

    fn lost(&self) -> &CancellationToken {
        &self.reservation.tenure.lost
    }

    fn cancelled(&self) -> &CancellationToken {
        &self.reservation.tenure.cancelled
    }
}

/// How long Asynq lets a task wait that failed `tried` times before (source: `DefaultRetryDelayFunc` of Asynq 0.25).
fn retry_delay(tried: u32) -> Duration {
    let tried = u64::from(tried);
    let jitter = fastrand::u64(0..30) * (tried + 1);
    Duration::from_secs(
        tried
            .saturating_pow(4)
            .saturating_add(15 + jitter)
            .min(LONGEST_DELAY_S),
    )
}

/// A year; Asynq's own delay after its default of 25 retries is four and a half days.
const LONGEST_DELAY_S: u64 = 365 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_tries_are_asynqs() {
        for (tried, least, most) in [(0, 15, 44), (1, 16, 74), (3, 96, 212), (25, 390_640, 391_394)] {
            for _ in 0..200 {
                let delay = retry_delay(tried).as_secs();
                assert!((least..=most).contains(&delay), "{delay} s after {tried}");
            }
        }
        assert_eq!(retry_delay(u32::MAX).as_secs(), LONGEST_DELAY_S);
    }
}
