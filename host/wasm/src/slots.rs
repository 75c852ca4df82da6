//! Who may run now, and who waits: places for all runs, for those of one plugin, and for plugins that need much memory.
//!
//! The pool of instances refuses at once when it is full; here a run waits its turn instead, until its deadline. Used
//! by [`crate::run`]. A place is free again when its [`Slot`] is dropped.

use crate::{limiter::LIGHT, settings::PluginSettings};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// A plugin that starts with more memory than this is heavy (an interpreter and its heap, megabytes a run), and one with
/// several memories, for which the pool has less room.
const HEAVY_KIB: u64 = (LIGHT >> 10) as u64;

/// All places of a host.
#[derive(Debug)]
pub(crate) struct Slots {
    all: Gate,
    heavy: Gate,
    each: u32,
    total: u32,
    waiting: AtomicU64,
}

/// One plugin's way to a place.
#[derive(Debug)]
pub(crate) struct Line {
    own: Gate,
    heavy: bool,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    permits: [Option<OwnedSemaphorePermit>; 3],
    /// The setting that kept it waiting, if one did.
    pub(crate) gate: &'static str,
}

/// So many places, by the setting that says how many.
#[derive(Debug, Clone)]
struct Gate {
    places: Arc<Semaphore>,
    setting: &'static str,
}

impl Gate {
    fn new(places: u32, setting: &'static str) -> Self {
        Self {
            places: Arc::new(Semaphore::new(usize::try_from(places).unwrap_or(1))),
            setting,
        }
    }
}

impl Slots {
    pub(crate) fn new(settings: &PluginSettings) -> Self {
        Self {
            all: Gate::new(settings.concurrent_runs, "plugins.concurrent_runs"),
            heavy: Gate::new(settings.concurrent_heavy_runs, "plugins.concurrent_heavy_runs"),
            each: settings.concurrent_runs_per_plugin,
            total: settings.concurrent_runs,
            waiting: AtomicU64::new(0),
        }
    }

    /// The line of a plugin that starts with so much memory, in so many pieces.
    pub(crate) fn line(&self, memory_kib: u64, memories: u32) -> Line {
        Line {
            own: Gate::new(self.each, "plugins.concurrent_runs_per_plugin"),
            heavy: memory_kib > HEAVY_KIB || memories > 1,
        }
    }

    /// Waits for a place, until `deadline`; then the error is the setting that stood in the way. The plugin's own line
    /// comes first, so that whoever waits there keeps no other plugin waiting. Cancel safe.
    pub(crate) async fn take(&self, line: &Line, deadline: Instant) -> Result<Slot, &'static str> {
        let gates = [
            Some(&line.own),
            line.heavy.then_some(&self.heavy),
            Some(&self.all),
        ];
        let mut slot = Slot {
            permits: [None, None, None],
            gate: "",
        };
        for (gate, permit) in gates.into_iter().zip(&mut slot.permits) {
            let Some(gate) = gate else { continue };
            *permit = gate.places.clone().try_acquire_owned().ok();
            if permit.is_none() {
                slot.gate = gate.setting;
                *permit = Some(self.wait(gate, deadline).await.ok_or(gate.setting)?);
            }
        }
        Ok(slot)
    }

    async fn wait(&self, gate: &Gate, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        self.waiting.fetch_add(1, Relaxed);
        let _over = Waiting(&self.waiting);
        timeout_at(deadline, gate.places.clone().acquire_owned())
            .await
            .ok()?
            .ok()
    }

    /// Places taken, places there are, and runs that wait.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let total = u64::from(self.total);
        let free = self.all.places.available_permits() as u64;
        (total.saturating_sub(free), total, self.waiting.load(Relaxed))
    }
}

/// Ends a wait, also one that is given up.
struct Waiting<'a>(&'a AtomicU64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    fn slots(all: u32, each: u32, heavy: u32) -> Slots {
        Slots::new(&PluginSettings {
            concurrent_runs: all,
            concurrent_runs_per_plugin: each,
            concurrent_heavy_runs: heavy,
            ..PluginSettings::default()
        })
    }

    async fn take(slots: &Slots, line: &Line) -> Result<Slot, &'static str> {
        slots.take(line, Instant::now() + Duration::from_secs(1)).await
    }

    #[tokio::test(start_paused = true)]
    async fn each_setting_stops_what_it_is_for() {
        let slots = slots(3, 2, 1);
        let (light, other, heavy) = (slots.line(1088, 1), slots.line(1088, 1), slots.line(9280, 1));
        let held = take(&slots, &heavy).await.unwrap();
        assert_eq!(
            take(&slots, &slots.line(9280, 1)).await.unwrap_err(),
            "plugins.concurrent_heavy_runs"
        );
        assert_eq!(
            take(&slots, &slots.line(64, 2)).await.unwrap_err(),
            "plugins.concurrent_heavy_runs"
        );
        drop(held);
        let held = [
            take(&slots, &light).await.unwrap(),
            take(&slots, &light).await.unwrap(),
        ];
        assert_eq!(
            take(&slots, &light).await.unwrap_err(),
            "plugins.concurrent_runs_per_plugin"
        );
        let third = take(&slots, &other).await.unwrap();
        assert_eq!(take(&slots, &other).await.unwrap_err(), "plugins.concurrent_runs");
        assert_eq!(slots.counts(), (3, 3, 0));
        drop((held, third));
        assert_eq!(slots.counts(), (0, 3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_a_place_is_free_and_counts_until_then() {
        let slots = slots(1, 1, 1);
        let line = slots.line(0, 1);
        let held = take(&slots, &line).await.unwrap();
        let patient = take(&slots, &line);
        tokio::pin!(patient);
        assert!(timeout(Duration::from_millis(1), &mut patient).await.is_err());
        assert_eq!(slots.counts(), (1, 1, 1));
        drop(held);
        drop(patient.await.unwrap());
        assert_eq!(slots.counts(), (0, 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_leaves_nothing() {
        let slots = slots(1, 1, 1);
        let line = slots.line(0, 1);
        let held = take(&slots, &line).await.unwrap();
        let given_up = take(&slots, &line);
        assert!(timeout(Duration::from_millis(1), given_up).await.is_err());
        drop(held);
        assert_eq!(slots.counts(), (0, 1, 0));
        assert!(take(&slots, &line).await.is_ok());
    }
}
