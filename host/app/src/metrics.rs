//! What is counted, in Prometheus' text format.
//!
//! Labels are bounded: a kind is one of the registry's, or `other`; a plugin is one of the folder's.

pub(crate) mod plugins;
pub(crate) mod queue;

use lapwing_model::CheckResult;
use prometheus_client::{
    collector::Collector,
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Metric, Registry, Unit},
};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Every metric of one process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    checks: Family<Verdict, Counter>,
    durations: Family<Kind, Histogram>,
    in_work: Gauge,
    /// Tasks dropped because the next one was due.
    pub(crate) tasks_stale: Counter,
    /// Failed attempts to take tasks.
    pub(crate) queue_errors: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    kind: String,
    status: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("lapwing");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "This binary", Info::new(version));
        let mut add = Add(&mut registry);
        Self {
            checks: add.metric("checks", "Checks that ran, by what they saw"),
            durations: add.durations("check_duration", "Time from the start of a check to its result"),
            in_work: add.metric("checks_running", "Checks running now"),
            tasks_stale: add.metric(
                "tasks_stale",
                "Tasks dropped because they were older than one and a half intervals",
            ),
            queue_errors: add.metric("queue_errors", "Failed attempts to take tasks from the queue"),
            registry: Mutex::new(registry),
        }
    }

    /// Counts a running check until the answer is dropped.
    pub(crate) fn running(&self) -> impl Drop + use<> {
        self.in_work.inc();
        Running(self.in_work.clone())
    }

    /// Counts a result. `known` tells whether the kind is one of the registry's.
    pub(crate) fn observe(&self, result: &CheckResult, known: bool) {
        let kind = if known {
            result.kind.clone()
        } else {
            "other".to_owned()
        };
        let took = result.ended_at.duration_since(result.started_at);
        let took = Duration::try_from(took).unwrap_or_default();
        self.durations
            .get_or_create(&Kind { kind: kind.clone() })
            .observe(took.as_secs_f64());
        let observation = &result.observation;
        // A plugin's own words are unbounded.
        let reason = match &observation.reason {
            None => String::new(),
            Some(lapwing_model::Reason::Reported(_)) => "reported".to_owned(),
            Some(reason) => reason.to_string(),
        };
        self.checks
            .get_or_create(&Verdict {
                kind,
                status: observation.status.as_str(),
                reason,
            })
            .inc();
    }

    /// Counts what `source` counts by itself, too: it is asked at every scrape.
    pub(crate) fn watch(&self, source: impl Collector) {
        self.registry().register_collector(Box::new(source));
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole, as `GET /metrics` answers.
    pub(crate) fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry())?;
        Ok(text)
    }
}

/// Puts a metric in the registry and hands it out.
struct Add<'a>(&'a mut Registry);

impl Add<'_> {
    fn metric<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    fn durations(&mut self, name: &str, help: &str) -> Family<Kind, Histogram> {
        let metric = Family::new_with_constructor(histogram as fn() -> _);
        self.0
            .register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }
}

/// From 1 ms to 16 s.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
