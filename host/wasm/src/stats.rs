//! What plugins hold now, and how long their runs take, for the admin API and the metrics.
//!
//! Written on the run path without locks; read at any time, and then only nearly consistent. One [`Stats`] belongs to
//! one loaded plugin, so a replaced plugin's figures go with it.

use schemars::JsonSchema;
use serde::Serialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// What all plugins of a host hold at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Instances that exist, with their memories; those of `kept` when nothing runs.
    pub live_stores: u64,
    /// Those of them that wait for their monitor's next run (`plugins.kept_memory_mib`).
    pub kept: u64,
    /// Runs that have a slot.
    pub slots_used: u64,
    /// Runs that can have one (`plugins.concurrent_runs`).
    pub slots_total: u64,
    /// Runs that wait for one.
    pub waiting: u64,
}

/// What one loaded plugin holds, and how long its runs took. How they went is in [`crate::Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PluginStats {
    /// Its instances that exist.
    pub live: u64,
    /// Half of its runs were over within so many microseconds, rounded up by less than an eighth; none before the first.
    pub p50_us: Option<u64>,
    /// As `p50_us`, for 99 of 100 runs.
    pub p99_us: Option<u64>,
}

/// Upper bounds of the buckets of compile times, in milliseconds.
const COMPILE_MS: [u64; 9] = [50, 100, 250, 500, 1000, 5000, 15_000, 60_000, u64::MAX];

/// How plugins came by their machine code.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compiled {
    /// Loads that found it in the cache.
    pub hits: u64,
    /// Loads that did not.
    pub misses: u64,
    /// How long the compilations took that came to an end, together.
    pub took: Duration,
    /// How many of them took so long: longer than the entry before, and no longer than this.
    pub times: Vec<(Duration, u64)>,
}

/// As [`Compiled`], while it is counted.
#[derive(Debug, Default)]
pub(crate) struct Compilations {
    hits: AtomicU64,
    misses: AtomicU64,
    took_ms: AtomicU64,
    times: [AtomicU64; COMPILE_MS.len()],
}

impl Compilations {
    /// Code was looked for in the cache.
    pub(crate) fn looked(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.fetch_add(1, Relaxed);
    }

    /// Code was made in so many milliseconds.
    pub(crate) fn made(&self, ms: u64) {
        self.took_ms.fetch_add(ms, Relaxed);
        let place = COMPILE_MS.partition_point(|most| *most < ms);
        if let Some(count) = self.times.get(place) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> Compiled {
        let times = COMPILE_MS.iter().zip(&self.times);
        Compiled {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            took: Duration::from_millis(self.took_ms.load(Relaxed)),
            times: times
                .map(|(most, count)| (Duration::from_millis(*most), count.load(Relaxed)))
                .collect(),
        }
    }
}

/// One plugin's counters.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// The host's gauge of live stores.
    host: Arc<AtomicU64>,
    live: AtomicU64,
    times: Histogram,
}

/// Counts one store for as long as it lives.
#[derive(Debug)]
pub(crate) struct Live(Arc<Stats>);

impl Stats {
    /// The counters of a plugin whose stores also count in `host`.
    pub(crate) fn new(host: Arc<AtomicU64>) -> Self {
        Self {
            host,
            ..Self::default()
        }
    }

    /// A store begins to live.
    pub(crate) fn enter(self: &Arc<Self>) -> Live {
        self.live.fetch_add(1, Relaxed);
        self.host.fetch_add(1, Relaxed);
        Live(self.clone())
    }

    /// A run came to its end after so long.
    pub(crate) fn ran(&self, took: Duration) {
        self.times.add(took);
    }

    pub(crate) fn snapshot(&self) -> PluginStats {
        PluginStats {
            live: self.live.load(Relaxed),
            p50_us: self.times.percentile(50),
            p99_us: self.times.percentile(99),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Relaxed);
        self.0.host.fetch_sub(1, Relaxed);
    }
}

/// Buckets of a power of two.
const STEPS: u64 = 8;
/// Powers of two, from 8 µs to nine hours; the last takes all that is longer.
const OCTAVES: u64 = 32;
#[expect(clippy::cast_possible_truncation, reason = "a few hundred")]
const BUCKETS: usize = (STEPS * (OCTAVES + 1)) as usize;

/// How often which length came, in buckets of microseconds: exact below eight, an eighth wide above.
#[derive(Debug)]
struct Histogram([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Histogram {
    fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.0.get(bucket(micros)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    /// The end of the bucket that `percent` of the entries do not lie above.
    fn percentile(&self, percent: u64) -> Option<u64> {
        let counts = || self.0.iter().map(|bucket| bucket.load(Relaxed));
        let wanted = counts().sum::<u64>().saturating_mul(percent).div_ceil(100);
        let mut seen = 0;
        let bucket = counts().position(|count| {
            seen += count;
            count > 0 && seen >= wanted
        })?;
        Some(end(bucket as u64))
    }
}

fn bucket(micros: u64) -> usize {
    let octave = u64::from(micros.max(1).ilog2());
    let bucket = if micros < STEPS {
        micros
    } else {
        (octave - 2) * STEPS + (micros >> (octave - 3)) - STEPS
    };
    usize::try_from(bucket).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

/// The largest value of a bucket.
fn end(bucket: u64) -> u64 {
    if bucket < STEPS {
        return bucket;
    }
    let (octave, step) = (bucket / STEPS + 2, bucket % STEPS);
    ((STEPS + step + 1) << (octave - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_and_is_an_eighth_wide() {
        for micros in (0..100_000).chain([1 << 30, (1 << 34) - 1]) {
            let end = end(bucket(micros) as u64);
            assert!(end >= micros && end - micros <= micros / 8, "{micros}: {end}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_what_came() {
        let stats = Stats::default();
        assert_eq!(stats.snapshot().p50_us, None);
        for micros in 1..=100 {
            stats.ran(Duration::from_micros(micros));
        }
        let seen = stats.snapshot();
        assert_eq!((seen.p50_us, seen.p99_us), (Some(51), Some(103)));
    }

    #[test]
    fn compilations_are_counted_by_how_long_they_took() {
        let compilations = Compilations::default();
        for ms in [0, 50, 51, 70_000] {
            compilations.made(ms);
        }
        compilations.looked(true);
        let seen = compilations.snapshot();
        assert_eq!((seen.hits, seen.misses, seen.took.as_millis()), (1, 0, 70_101));
        let counts: Vec<u64> = seen.times.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_store_counts_while_it_lives() {
        let host = Arc::new(AtomicU64::new(0));
        let stats = [(); 2].map(|()| Arc::new(Stats::new(host.clone())));
        let [one, two] = stats.each_ref().map(Stats::enter);
        assert_eq!((host.load(Relaxed), stats[0].snapshot().live), (2, 1));
        drop(one);
        assert_eq!((host.load(Relaxed), stats[1].snapshot().live), (1, 1));
        drop(two);
        assert_eq!(host.load(Relaxed), 0);
    }
}
