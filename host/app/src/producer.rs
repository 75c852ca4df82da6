//! Puts due tasks on the queue, for `lapwing run`.
//!
//! A monitor's first run is due at once; later ones fall on its own phase of the interval, derived from its id, so
//! that monitors with the same interval do not all fire in the same instant.

use lapwing_model::{Clock, Monitor, Task};
use lapwing_queue::{Enqueued, Queue};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Schedules a fixed set of monitors.
pub(crate) struct Producer {
    /// What to watch.
    pub(crate) monitors: Vec<Monitor>,
    /// Where tasks go.
    pub(crate) queue: Arc<dyn Queue>,
    /// The time of day, for `scheduled_at`.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Producer {
    /// Produces until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let start = Instant::now();
        let mut due: BinaryHeap<_> = (0..self.monitors.len())
            .map(|index| Reverse((start, index)))
            .collect();
        while let Some(Reverse((at, index))) = due.pop() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(at) => {}
            }
            let Some(monitor) = self.monitors.get(index) else {
                continue;
            };
            self.enqueue(monitor).await;
            due.push(Reverse((next_due(monitor, start, Instant::now()), index)));
        }
    }

    async fn enqueue(&self, monitor: &Monitor) {
        match self.queue.enqueue(&task(monitor, &*self.clock)).await {
            Ok(Enqueued::Added) => {}
            Ok(Enqueued::Duplicate) => {
                debug!(monitor.id, "the last run is not done yet; this one is left out");
            }
            Err(error) => warn!(monitor.id, "cannot enqueue: {:#}", anyhow::Error::from(error)),
        }
    }
}

/// A run of `monitor` that is due now.
pub(crate) fn task(monitor: &Monitor, clock: &dyn Clock) -> Task {
    Task {
        monitor: monitor.clone(),
        scheduled_at: Some(clock.now()),
        attempt: 1,
        under_maintenance: false,
        check_cert_expiry: false,
        proxy: None,
        last_heartbeat: None,
        nameless: false,
    }
}

/// The first moment of the monitor's phase that is more than half an interval away: no two runs come close together,
/// and runs missed while the process slept are left out.
fn next_due(monitor: &Monitor, start: Instant, now: Instant) -> Instant {
    let interval = monitor.interval.max(Duration::from_millis(1));
    let earliest = (now + interval / 2).saturating_duration_since(start).as_nanos();
    let (interval, phase) = (interval.as_nanos(), phase(monitor).as_nanos());
    let rounds = earliest.saturating_sub(phase).div_ceil(interval);
    start + Duration::from_nanos(u64::try_from(phase + rounds * interval).unwrap_or(u64::MAX))
}

/// Where in its interval a monitor runs.
fn phase(monitor: &Monitor) -> Duration {
    let mut hasher = DefaultHasher::new();
    monitor.id.hash(&mut hasher);
    let interval = u64::try_from(monitor.interval.as_nanos())
        .unwrap_or(u64::MAX)
        .max(1);
    Duration::from_nanos(hasher.finish() % interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(id: &str) -> Monitor {
        let second = Duration::from_secs(1);
        Monitor {
            id: id.into(),
            name: id.into(),
            kind: "http".into(),
            interval: second * 10,
            timeout: second,
            max_retries: 0,
            retry_interval: second,
            resend_interval: 0,
            config: "{}".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn runs_keep_their_phase_and_never_come_close_together() {
        let start = Instant::now();
        for id in ["a", "b", "c", "d"] {
            let monitor = monitor(id);
            let mut last = start;
            for round in 0..20 {
                let next = next_due(&monitor, start, last);
                let gap = next - last;
                assert!(
                    gap >= monitor.interval / 2 && gap < monitor.interval * 3 / 2,
                    "{id} {round} {gap:?}"
                );
                assert!(round == 0 || gap == monitor.interval, "{id} {round} {gap:?}");
                last = next;
            }
        }
    }

    #[test]
    fn monitors_of_one_interval_are_spread_over_it() {
        let phases: std::collections::HashSet<_> = (0..100)
            .map(|id| phase(&monitor(&id.to_string())).as_millis() / 500)
            .collect();
        assert!(
            phases.len() > 12,
            "100 monitors fill most of 20 half seconds: {}",
            phases.len()
        );
    }
}
