//! Instances kept between runs, for plugins that offer it (`max-reuse`): languages whose start takes longer than a check.
//!
//! A kept instance serves nobody but the [`Tenant`] it served before, and only after runs with nothing amiss
//! ([`Guest::is_clean`]): what a run leaves in its memory can mislead or reach nobody else. The lock is taken by such
//! plugins' runs only, and no instance is dropped under it.

use crate::{
    abi::v1::Plugin,
    guest::Guest,
    rights::Held,
    settings::{PluginSettings, kib},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;
use wasmtime::Store;

/// Time between two sweeps.
pub(crate) const SWEEP: Duration = Duration::from_mins(1);
/// Longest rest between two runs: a monitor that checks less often pays for a start.
const REST: Duration = Duration::from_mins(10);
/// What an instance holds beside its memory, rounded up. The pool has a slot for each MiB: see [`Shelf::slots`].
const OVERHEAD: usize = 1 << 20;

/// Whom an instance serves: one monitor, as it is configured, until an operator changes a grant.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) place: Place,
    /// Digest of its configuration, defaults filled in.
    pub(crate) config: blake3::Hash,
    pub(crate) held: Arc<Held>,
    /// It wants a fresh one now; what is kept goes.
    pub(crate) anew: bool,
}

/// Where its instance is kept; there is one at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// SHA-256 of the plugin's file, in hex.
    pub(crate) digest: Arc<str>,
    pub(crate) kind: Arc<str>,
    pub(crate) queue: Arc<str>,
    pub(crate) monitor: String,
}

/// An instance after a run that was answered.
pub(crate) struct Instance {
    pub(crate) store: Store<Guest>,
    pub(crate) plugin: Plugin,
    /// Runs it has served.
    pub(crate) runs: u32,
}

/// All that is kept.
#[derive(Debug)]
pub(crate) struct Shelf<T = Instance> {
    kept: Mutex<HashMap<Place, Kept<T>>>,
    count: AtomicU64,
    /// Most bytes that all may hold.
    room: usize,
}

#[derive(Debug)]
struct Kept<T> {
    what: T,
    bytes: usize,
    config: blake3::Hash,
    held: Arc<Held>,
    since: Instant,
}

impl<T> Shelf<T> {
    pub(crate) fn new(settings: &PluginSettings) -> Self {
        Self {
            kept: Mutex::default(),
            count: AtomicU64::new(0),
            room: kib(settings.kept_memory_mib) << 10,
        }
    }

    /// Most instances there can be.
    pub(crate) fn slots(settings: &PluginSettings) -> u32 {
        settings.kept_memory_mib
    }

    /// What is kept for a tenant. What is not fit for it any more is dropped.
    pub(crate) fn take(&self, tenant: &Tenant) -> Option<T> {
        let kept = self.change(|kept| kept.remove(&tenant.place))?;
        let same = tenant.config == kept.config && Arc::ptr_eq(&tenant.held, &kept.held);
        (same && !tenant.anew && kept.since.elapsed() < REST).then_some(kept.what)
    }

    /// Keeps something with `memory` bytes for its tenant's next run. What rests longest makes room for it.
    pub(crate) fn put(&self, tenant: Tenant, what: T, memory: usize) {
        let bytes = memory.saturating_add(OVERHEAD);
        if bytes > self.room {
            return;
        }
        let Tenant {
            place, config, held, ..
        } = tenant;
        let since = Instant::now();
        let entry = Kept {
            what,
            bytes,
            config,
            held,
            since,
        };
        let _gone = self.change(|kept| {
            let mut gone = Vec::from_iter(kept.insert(place, entry));
            while kept.values().map(|kept| kept.bytes).sum::<usize>() > self.room {
                let oldest = kept.iter().min_by_key(|(_, kept)| kept.since);
                let Some(place) = oldest.map(|(place, _)| place.clone()) else {
                    break;
                };
                gone.extend(kept.remove(&place));
            }
            gone
        });
    }

    /// Drops what has rested too long.
    pub(crate) fn sweep(&self) {
        let _gone: Vec<_> =
            self.change(|kept| kept.extract_if(|_, kept| kept.since.elapsed() >= REST).collect());
    }

    /// Drops what is kept of a plugin: it is no longer loaded.
    pub(crate) fn clear(&self, digest: &str) {
        let of_it = |place: &Place| *place.digest == *digest;
        let _gone: Vec<_> = self.change(|kept| kept.extract_if(|place, _| of_it(place)).collect());
    }

    /// How many are kept.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// What `change` takes out is the caller's to drop, without the lock.
    fn change<R>(&self, change: impl FnOnce(&mut HashMap<Place, Kept<T>>) -> R) -> R {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let out = change(&mut kept);
        self.count.store(kept.len() as u64, Relaxed);
        out
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;
    use tokio::time::advance;

    fn shelf(mib: u32) -> Shelf<u32> {
        Shelf::new(&PluginSettings {
            kept_memory_mib: mib,
            ..PluginSettings::default()
        })
    }

    static HELD: LazyLock<Arc<Held>> = LazyLock::new(Arc::default);

    fn tenant(monitor: &str) -> Tenant {
        Tenant {
            place: Place {
                digest: "d".into(),
                kind: "k".into(),
                queue: "q".into(),
                monitor: monitor.into(),
            },
            config: blake3::hash(b"{}"),
            held: HELD.clone(),
            anew: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_for_its_tenant_and_for_once() {
        let shelf = shelf(8);
        shelf.put(tenant("a"), 1, 0);
        assert_eq!(shelf.take(&tenant("b")), None);
        assert_eq!(
            (shelf.take(&tenant("a")), shelf.take(&tenant("a"))),
            (Some(1), None)
        );
        let others: [fn(&mut Tenant); 7] = [
            |tenant| tenant.place.digest = "e".into(),
            |tenant| tenant.place.kind = "l".into(),
            |tenant| tenant.place.queue = "r".into(),
            |tenant| tenant.place.monitor = "b".into(),
            |tenant| tenant.config = blake3::hash(b"[]"),
            |tenant| tenant.held = Arc::default(),
            |tenant| tenant.anew = true,
        ];
        for (number, change) in others.into_iter().enumerate() {
            shelf.put(tenant("a"), 1, 0);
            let mut other = tenant("a");
            change(&mut other);
            assert_eq!(shelf.take(&other), None, "{number}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_at_rest_makes_room() {
        let shelf = shelf(6);
        for monitor in ["a", "b", "c"] {
            shelf.put(tenant(monitor), 1, 1 << 20);
            advance(Duration::from_secs(1)).await;
        }
        shelf.put(tenant("a"), 2, 1 << 20);
        assert_eq!(shelf.count(), 3, "one for each");
        advance(Duration::from_secs(1)).await;
        shelf.put(tenant("d"), 1, 1 << 20);
        assert_eq!(shelf.count(), 3);
        assert_eq!(shelf.take(&tenant("b")), None);
        assert_eq!(shelf.take(&tenant("a")), Some(2));
        shelf.put(tenant("e"), 1, 6 << 20);
        assert_eq!(shelf.take(&tenant("e")), None, "too large for the whole shelf");
        assert_eq!(shelf.count(), 2, "and nothing went for it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_rest_is_the_last() {
        let shelf = shelf(6);
        for monitor in ["a", "b"] {
            shelf.put(tenant(monitor), 1, 0);
        }
        advance(REST).await;
        assert_eq!(shelf.take(&tenant("a")), None);
        assert_eq!(shelf.count(), 1, "nobody came for it");
        shelf.sweep();
        assert_eq!(shelf.count(), 0);
    }

    #[test]
    fn what_an_unloaded_plugin_left_goes() {
        let shelf = shelf(6);
        shelf.put(tenant("a"), 1, 0);
        shelf.clear("e");
        assert_eq!(shelf.count(), 1);
        shelf.clear("d");
        assert_eq!(shelf.count(), 0);
    }
}
