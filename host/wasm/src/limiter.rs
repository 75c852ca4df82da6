//! Memories, tables and instances of one run, with a note of which limit was hit.
//!
//! The note matters because traps mislead: a guest whose `memory.grow` fails aborts with `unreachable`.

use crate::settings::RunLimits;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use wasmtime::{ResourceLimiter, Result};

/// What a run may have without drawing on what all runs share: places are for that.
pub(crate) const LIGHT: usize = 4 << 20;
/// The hit that is nobody's fault: others have what is wanted.
pub(crate) const SHARED_MEMORY: &str = "memory of all runs (`plugins.total_memory_mib`)";
const MEMORY: &str = "memory limit (`limits.memory_mib`)";
const TABLE: &str = "table limit (`limits.table_elements`)";

/// How many of each there may be.
#[derive(Debug)]
struct Counts {
    instances: usize,
    tables: usize,
    memories: usize,
}

/// Bytes left of the memory that all runs of a host share.
#[derive(Debug)]
pub(crate) struct SharedMemory(AtomicUsize);

impl SharedMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self
            .0
            .try_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        taken.is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Relaxed);
    }
}

/// Asked by the engine before every growth.
#[derive(Debug)]
pub(crate) struct Limiter {
    shared: Arc<SharedMemory>,
    memory: usize,
    memory_limit: usize,
    table_limit: usize,
    counts: Counts,
    hit: Option<&'static str>,
}

impl Limiter {
    pub(crate) fn new(limits: &RunLimits, shared: Arc<SharedMemory>) -> Self {
        let count = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            shared,
            memory: 0,
            memory_limit: limits.memory_bytes(),
            table_limit: count(limits.table_elements),
            counts: Counts {
                instances: count(limits.instances),
                tables: count(limits.tables),
                memories: count(limits.memories),
            },
            hit: None,
        }
    }

    /// Bytes of linear memory the guest has; it never gives any back.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// The first limit that was hit, named with its setting.
    pub(crate) fn hit(&self) -> Option<&'static str> {
        self.hit
    }
}

/// What so much memory draws on what is shared.
fn heavy(memory: usize) -> usize {
    memory.saturating_sub(LIGHT)
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.shared.give_back(heavy(self.memory));
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.memory_limit {
            self.hit.get_or_insert(MEMORY);
            return Ok(false);
        }
        if !self.shared.take(heavy(total) - heavy(self.memory)) {
            self.hit.get_or_insert(SHARED_MEMORY);
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        if desired > self.table_limit {
            self.hit.get_or_insert(TABLE);
            return Ok(false);
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.counts.instances
    }

    fn tables(&self) -> usize {
        self.counts.tables
    }

    fn memories(&self) -> usize {
        self.counts.memories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plenty() -> Arc<SharedMemory> {
        Arc::new(SharedMemory::new(1 << 30))
    }

    #[test]
    fn what_runs_share_comes_back_with_each_of_them() {
        let shared = Arc::new(SharedMemory::new(10 << 20));
        let limits = RunLimits::default();
        let [mut one, mut other] = [(); 2].map(|()| Limiter::new(&limits, shared.clone()));
        assert!(
            one.memory_growing(0, 12 << 20, None).unwrap(),
            "4 MiB are its own"
        );
        assert!(other.memory_growing(0, 6 << 20, None).unwrap());
        assert!(!other.memory_growing(6 << 20, 7 << 20, None).unwrap());
        assert_eq!((one.hit(), other.hit()), (None, Some(SHARED_MEMORY)));
        drop(one);
        assert!(other.memory_growing(6 << 20, 14 << 20, None).unwrap());
        drop(other);
        assert_eq!(shared.0.load(Relaxed), 10 << 20);
    }

    #[test]
    fn memory_is_summed_over_all_memories() {
        let mut limiter = Limiter::new(
            &RunLimits {
                memory_mib: 1,
                ..RunLimits::default()
            },
            plenty(),
        );
        assert!(limiter.memory_growing(0, 600 << 10, None).unwrap());
        assert!(
            !limiter.memory_growing(0, 600 << 10, None).unwrap(),
            "a second memory counts too"
        );
        assert_eq!(limiter.hit(), Some(MEMORY));
        assert!(
            limiter.memory_growing(600 << 10, 1 << 20, None).unwrap(),
            "what is left may still be used"
        );
    }

    #[test]
    fn a_large_table_is_refused() {
        let mut limiter = Limiter::new(
            &RunLimits {
                table_elements: 100,
                ..RunLimits::default()
            },
            plenty(),
        );
        assert!(limiter.table_growing(0, 100, None).unwrap());
        assert!(!limiter.table_growing(0, 101, None).unwrap());
        assert_eq!(limiter.hit(), Some(TABLE));
    }
}
