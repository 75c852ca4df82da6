//! One due run of a monitor, as it travels on a queue.

use crate::{Heartbeat, Monitor, Proxy};
use jiff::Timestamp;
use std::time::Duration;

/// The time a run gets when its monitor names none: the least Peekaping's API accepts.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(16);

/// The longest time a run may take: a check that hangs holds its slot no longer.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// One due run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What to run.
    pub monitor: Monitor,
    /// When it fell due, by the producer's clock; `None` counts as infinitely long ago.
    pub scheduled_at: Option<Timestamp>,
    /// 1 for the first try.
    pub attempt: u32,
    /// Do not probe; say so.
    pub under_maintenance: bool,
    /// Echoed to the ingester, which watches certificate ends.
    pub check_cert_expiry: bool,
    /// For the kinds that can use one.
    pub proxy: Option<Proxy>,
    /// The monitor's newest stored result (`push` only).
    pub last_heartbeat: Option<Heartbeat>,
    /// It named no monitor: `monitor.id` is the queue's word for the task, and the next run's is another.
    pub nameless: bool,
}

impl Task {
    /// The time a run of this task may take: what its monitor says, at most [`LONGEST_TIMEOUT`].
    pub fn budget(&self) -> Duration {
        match self.monitor.timeout {
            Duration::ZERO => DEFAULT_TIMEOUT,
            timeout => timeout.min(LONGEST_TIMEOUT),
        }
    }

    /// Whether the task is older than one and a half intervals at `now`: the next one is due anyway.
    ///
    /// A task from the future (clock skew) is never stale; one without a time always is. One without an interval is due
    /// once, however old it is.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        let Some(scheduled) = self.scheduled_at else {
            return true;
        };
        if self.monitor.interval.is_zero() {
            return false;
        }
        let age = now.duration_since(scheduled);
        let limit = self.monitor.interval + self.monitor.interval / 2;
        Duration::try_from(age).is_ok_and(|age| age > limit)
    }
}

/// Bytes that are no task. Such a message goes to the dead letters, with this text as the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to unmarshal payload: {0}")]
pub struct ParseError(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peekaping;

    fn task(scheduled: &str) -> Task {
        let json = format!(
            r#"{{"monitor_id":"m","monitor_type":"tcp","interval":20,"scheduled_at":"{scheduled}"}}"#
        );
        peekaping::parse_task(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_task_is_stale_only_past_one_and_a_half_intervals() {
        let now: Timestamp = "2026-04-11T08:15:30Z".parse().unwrap();
        assert!(
            !task("2026-04-11T08:15:00Z").is_stale(now),
            "exactly 1.5 intervals old is still fresh"
        );
        assert!(task("2026-04-11T08:14:59.999Z").is_stale(now));
        assert!(
            !task("2026-04-11T09:00:00Z").is_stale(now),
            "a task from the future is never stale"
        );
    }

    #[test]
    fn a_task_without_a_time_is_stale() {
        let task = peekaping::parse_task(br#"{"monitor_id":"m","interval":20}"#).unwrap();
        assert!(task.is_stale("2026-04-11T08:15:30Z".parse().unwrap()));
    }

    #[test]
    fn a_task_without_an_interval_is_never_stale() {
        let json = br#"{"monitor_id":"m","scheduled_at":"2020-01-01T00:00:00Z"}"#;
        let task = peekaping::parse_task(json).unwrap();
        assert!(!task.is_stale("2026-04-11T08:15:30Z".parse().unwrap()));
    }

    #[test]
    fn no_task_may_take_longer_than_the_longest_timeout() {
        let task = peekaping::parse_task(br#"{"monitor_id":"m","timeout":9223372036854775807}"#).unwrap();
        assert_eq!(task.budget(), LONGEST_TIMEOUT);
    }

    #[test]
    fn an_unset_timeout_gets_the_default() {
        assert_eq!(task("2026-04-11T08:15:00Z").budget(), DEFAULT_TIMEOUT);
    }
}
