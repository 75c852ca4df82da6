//! Memories, tables and instances of one run, with a note of which limit was hit.
//!
//! The note matters because traps mislead: a guest whose `memory.grow` fails aborts with `unreachable`.

use crate::settings::RunLimits;
use wasmtime::{ResourceLimiter, Result};

const MEMORY: &str = "memory limit (`limits.memory_mib`)";
const TABLE: &str = "table limit (`limits.table_elements`)";

/// How many of each there may be.
#[derive(Debug)]
struct Counts {
    instances: usize,
    tables: usize,
    memories: usize,
}

/// Asked by the engine before every growth.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: usize,
    memory_limit: usize,
    table_limit: usize,
    counts: Counts,
    hit: Option<&'static str>,
}

impl Limiter {
    pub(crate) fn new(limits: &RunLimits) -> Self {
        let count = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
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

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.memory_limit {
            self.hit.get_or_insert(MEMORY);
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

    #[test]
    fn memory_is_summed_over_all_memories() {
        let mut limiter = Limiter::new(&RunLimits {
            memory_mib: 1,
            ..RunLimits::default()
        });
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
        let mut limiter = Limiter::new(&RunLimits {
            table_elements: 100,
            ..RunLimits::default()
        });
        assert!(limiter.table_growing(0, 100, None).unwrap());
        assert!(!limiter.table_growing(0, 101, None).unwrap());
        assert_eq!(limiter.hit(), Some(TABLE));
    }
}
