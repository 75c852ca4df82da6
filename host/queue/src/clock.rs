//! Redis's time of day, carried on by the monotonic clock between two askings.
//!
//! Stock Asynq writes every time by its own host's clock; a worker that is half a minute off loses its tasks to
//! others. With one clock for all that cannot happen.

use crate::{QueueError, link::Link};
use jiff::{SignedDuration, Timestamp};
use lapwing_model::{Clock, SystemClock};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A difference between clocks that is worth a word.
const TELLING: Duration = Duration::from_secs(5);

/// Tells Redis's time, to about half a round trip.
#[derive(Debug, Clone)]
pub struct RedisClock(Arc<Mutex<(Instant, Timestamp)>>);

impl RedisClock {
    /// Asks for the time, and tells if this host's own is far from it: logs and plugins go by that one.
    pub(crate) async fn start(link: &Link) -> Result<Self, QueueError> {
        let clock = Self(Arc::new(Mutex::new(ask(link).await?)));
        let ahead = SystemClock.now().duration_since(clock.now());
        if ahead.unsigned_abs() >= TELLING {
            tracing::warn!(
                "this host's clock is {:.0} s {} that of Redis; tasks and results go by Redis",
                ahead.unsigned_abs().as_secs_f64(),
                if ahead.is_negative() { "behind" } else { "ahead of" }
            );
        }
        Ok(clock)
    }

    /// Asks for the time again.
    pub(crate) async fn adjust(&self, link: &Link) -> Result<(), QueueError> {
        let base = ask(link).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = base;
        Ok(())
    }

    /// `duration` from now, in Unix seconds.
    pub(crate) fn seconds_in(&self, duration: Duration) -> i64 {
        later(self.now(), duration).as_second()
    }

    /// When a lease of `duration` from now ends, as a score: seconds with a fraction that is never zero, by which
    /// the leases of Lapwing are told from those of stock Asynq, which are whole seconds.
    pub(crate) fn lease_end(&self, duration: Duration) -> String {
        let ms = later(self.now(), duration).as_millisecond() | 1;
        format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
    }
}

impl Clock for RedisClock {
    fn now(&self) -> Timestamp {
        let (at, time) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        later(time, at.elapsed())
    }
}

/// `at` and a duration; the end of time where that is past it.
pub(crate) fn later(at: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// The name of a counter for the day of `at`, in UTC.
pub(crate) fn day(counter: &str, at: Timestamp) -> String {
    format!("{counter}:{}", at.strftime("%Y-%m-%d"))
}

async fn ask(link: &Link) -> Result<(Instant, Timestamp), QueueError> {
    let before = Instant::now();
    let (seconds, micros): (i64, i32) = link.command(&redis::cmd("TIME")).await?;
    let time = Timestamp::new(seconds, micros.saturating_mul(1000));
    let time = time.map_err(|error| QueueError::Protocol(format!("`TIME` answered {seconds} s: {error}")))?;
    Ok((before + before.elapsed() / 2, time))
}
