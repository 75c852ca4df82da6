//! Wall-clock time as an argument, so that tests decide what time it is.
//!
//! Durations are measured with a monotonic clock where they are measured; this is only for instants that are
//! shown, stored or compared with another machine's.

use jiff::Timestamp;

/// Tells the time of day, in UTC.
pub trait Clock: Send + Sync + 'static {
    /// The present instant, with the platform's full precision (nanoseconds on Linux).
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the operating system's clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
