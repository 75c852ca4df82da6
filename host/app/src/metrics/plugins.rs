//! What plugins count by themselves: read from those in force at each scrape.
//!
//! The label is the plugin's name, which only one file at a time can serve under. Counters go on when a plugin is
//! replaced.

use crate::kinds::Kinds;
use lapwing_wasm::{Compiled, PluginReport, Tally};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

/// A bucket beyond this has no bound.
const LONGEST: Duration = Duration::from_hours(24);

/// The plugins of one process.
pub(crate) struct Plugins(Weak<Kinds>);

impl Plugins {
    /// Those of `kinds`, for as long as somebody else holds it.
    pub(crate) fn of(kinds: &Arc<Kinds>) -> Self {
        Self(Arc::downgrade(kinds))
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plugins")
    }
}

/// One number of a plugin that serves.
struct Figure {
    name: &'static str,
    help: &'static str,
    read: fn(&PluginReport, &Tally) -> Option<Number>,
}

enum Number {
    Count(u64),
    Amount(f64),
}

const FIGURES: &[Figure] = &[
    Figure {
        name: "plugin_runs",
        help: "Runs that came to an end, second tries included",
        read: |_, tally| Some(Number::Count(tally.runs)),
    },
    Figure {
        name: "plugin_faults",
        help: "Runs in which the plugin went wrong: traps, limits, its own code out of time",
        read: |_, tally| Some(Number::Count(tally.faults)),
    },
    Figure {
        name: "plugin_refusals",
        help: "Calls to the host that were refused for want of a right",
        read: |_, tally| Some(Number::Count(tally.refusals)),
    },
    Figure {
        name: "plugin_limits_hit",
        help: "Quotas and limits that runs came to",
        read: |_, tally| Some(Number::Count(tally.limits)),
    },
    Figure {
        name: "plugin_runs_reused",
        help: "Runs by an instance that had served its monitor before",
        read: |_, tally| Some(Number::Count(tally.reused)),
    },
    Figure {
        name: "plugin_live_instances",
        help: "Instances that exist now, those that wait for their monitor's next run included",
        read: |plugin, _| Some(Number::Amount(float(plugin.plugin()?.stats().live))),
    },
    Figure {
        name: "plugin_run_p50_seconds",
        help: "Half of the runs since the plugin was loaded were over within this time",
        read: |plugin, _| Some(Number::Amount(float(plugin.plugin()?.stats().p50_us?) / 1e6)),
    },
    Figure {
        name: "plugin_run_p99_seconds",
        help: "99 of 100 runs since the plugin was loaded were over within this time",
        read: |plugin, _| Some(Number::Amount(float(plugin.plugin()?.stats().p99_us?) / 1e6)),
    },
    Figure {
        name: "plugin_compile_seconds",
        help: "Time that compiling the plugin took",
        read: |plugin, _| Some(Number::Amount(float(plugin.about.as_ref()?.compile_ms) / 1000.0)),
    },
    Figure {
        name: "plugin_start_memory_bytes",
        help: "Memory that an instance needs at its start",
        read: |plugin, _| Some(Number::Amount(float(plugin.about.as_ref()?.memory_kib * 1024))),
    },
];

impl Collector for Plugins {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(kinds) = self.0.upgrade() else {
            return Ok(());
        };
        let plugins = kinds.plugins();
        files(&plugins, &mut encoder)?;
        let tally = |name: &str| kinds.host().map(|host| host.custody().record(name).tally());
        if let Some(usage) = kinds.host().map(|host| host.usage()) {
            for (name, help, amount) in [
                (
                    "plugin_slots_used",
                    "Places for runs that are taken",
                    usage.slots_used,
                ),
                ("plugin_slots", "Places for runs", usage.slots_total),
                ("plugin_runs_waiting", "Runs that wait for a place", usage.waiting),
            ] {
                let gauge = ConstGauge::new(float(amount));
                gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
            }
        }
        if let Some(compiled) = kinds.host().map(|host| host.compiled()) {
            compilations(&compiled, &mut encoder)?;
        }
        let serving: BTreeMap<&str, (&PluginReport, Tally)> = plugins
            .iter()
            .filter(|plugin| plugin.is_active())
            .filter_map(|plugin| Some((plugin.name.as_str(), (plugin, tally(&plugin.name)?))))
            .collect();
        for Figure { name, help, read } in FIGURES {
            let mut numbers = serving
                .iter()
                .filter_map(|(name, (plugin, tally))| Some((*name, read(plugin, tally)?)))
                .peekable();
            let kind = match numbers.peek() {
                None => continue,
                Some((_, Number::Count(_))) => MetricType::Counter,
                Some((_, Number::Amount(_))) => MetricType::Gauge,
            };
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (plugin, number) in numbers {
                let labels = [("plugin", plugin)];
                let encoder = family.encode_family(&labels)?;
                match number {
                    Number::Count(count) => ConstCounter::new(count).encode(encoder)?,
                    Number::Amount(amount) => ConstGauge::new(amount).encode(encoder)?,
                }
            }
        }
        Ok(())
    }
}

/// How plugins came by their machine code.
fn compilations(compiled: &Compiled, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
    for (name, help, count) in [
        (
            "plugin_cache_hits",
            "Plugins whose machine code was in the cache",
            compiled.hits,
        ),
        (
            "plugin_cache_misses",
            "Plugins that had to be compiled",
            compiled.misses,
        ),
    ] {
        let counter = ConstCounter::new(count);
        counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    }
    let seconds = |(most, count): &(Duration, u64)| {
        let most = if *most > LONGEST {
            f64::INFINITY
        } else {
            most.as_secs_f64()
        };
        (most, *count)
    };
    let buckets: Vec<_> = compiled.times.iter().map(seconds).collect();
    let count = compiled.times.iter().map(|(_, count)| count).sum();
    let (name, help) = ("plugin_compilation_seconds", "How long compilations took");
    encoder
        .encode_descriptor(name, help, None, MetricType::Histogram)?
        .encode_histogram::<NoLabelSet>(compiled.took.as_secs_f64(), count, &buckets, None)
}

/// How many files are in which state.
fn files(plugins: &[PluginReport], encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
    let mut states = BTreeMap::new();
    for plugin in plugins {
        *states.entry(plugin.state.as_str()).or_insert(0_i64) += 1;
    }
    let help = "Files of the plugin folder, by state";
    let mut family = encoder.encode_descriptor("plugin_files", help, None, MetricType::Gauge)?;
    for (state, count) in states {
        let labels = [("state", state)];
        ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "no plugin comes near 2^53 of anything")]
fn float(count: u64) -> f64 {
    count as f64
}
