//! What is counted, in Prometheus' text format.
//!
//! Labels are bounded: a kind is one of the registry's, or `other`.

use lapwing_model::CheckResult;
use lapwing_queue::asynq::Asynq;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
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
        let metrics = Self {
            checks: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15))),
            in_work: Gauge::default(),
            tasks_stale: Counter::default(),
            queue_errors: Counter::default(),
            registry: Mutex::default(),
        };
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "This binary", Info::new(version));
        registry.register(
            "checks",
            "Checks that ran, by what they saw",
            metrics.checks.clone(),
        );
        registry.register_with_unit(
            "check_duration",
            "Time from the start of a check to its result",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("checks_running", "Checks running now", metrics.in_work.clone());
        registry.register(
            "tasks_stale",
            "Tasks dropped because they were older than one and a half intervals",
            metrics.tasks_stale.clone(),
        );
        registry.register(
            "queue_errors",
            "Failed attempts to take tasks from the queue",
            metrics.queue_errors.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            ..metrics
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

    /// Counts what `queue` does unseen, too.
    pub(crate) fn watch(&self, queue: Arc<Asynq>) {
        self.registry().register_collector(Box::new(Queue(queue)));
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

/// What the Asynq dialect counts by itself.
#[derive(Debug)]
struct Queue(Arc<Asynq>);

impl Collector for Queue {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let counts = self.0.counts();
        for (name, help, count) in [
            (
                "tasks_archived",
                "Messages that are no task, moved to the dead letters",
                counts.archived,
            ),
            (
                "tasks_recovered",
                "Tasks put back because nobody worked at them",
                counts.recovered,
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
