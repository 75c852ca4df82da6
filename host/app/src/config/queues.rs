//! The queues to take tasks from: `[[queues]]` in the file, or Peekaping's when there are none.

use super::{Faults, HumanDuration, file::Worker};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::{
    collections::HashSet,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// One queue to take tasks from.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueEntry {
    /// How the queue is spoken.
    pub(crate) dialect: Dialect,
    /// The queue's name, or key. Default by dialect: `healthcheck`, `lapwing:tasks`, `uptime:jobs`, `arq:queue`.
    pub(crate) name: Option<String>,
    /// How many of its tasks run at once. Default: `worker.concurrency`.
    #[schemars(range(max = 1_000_000))]
    pub(crate) max_jobs: Option<NonZeroUsize>,
    /// The longest time one run may take, at most `1h`. Default: as the task says; of `arq`, `300s`.
    pub(crate) job_timeout: Option<HumanDuration>,
    /// How long a result is kept with its task; `0s` for not at all. Default: `WORKER_KEEP_RESULT_SECONDS`, else `1h`, but
    /// nothing in the Peekaping-compatible `asynq` and `uptime-stream`.
    pub(crate) keep_result: Option<HumanDuration>,
    /// How often a task is tried when our own trouble (a plugin that trapped, a panic) stood in its way, the first time
    /// included. Default: `WORKER_MAX_TRIES`, else 5 of `arq`, 3 of `streams`, 1 elsewhere.
    pub(crate) max_tries: Option<NonZeroU32>,
    /// Of `asynq` queues, which share their slots: a queue is served only while those of greater weight are empty, or as
    /// often as its weight says with `worker.strict_priority = false`. Default 1.
    pub(crate) weight: Option<NonZeroU32>,
    /// How many tasks are taken at once at most (`streams`, `uptime-stream`, `arq`). Default: as many as there is room for;
    /// of `uptime-stream`, 10.
    pub(crate) batch: Option<NonZeroUsize>,
    /// How long one read waits for an entry (`streams`, `uptime-stream`). Default `1s`; of `uptime-stream`, `5s`.
    pub(crate) block: Option<HumanDuration>,
    /// The consumer group (`streams`, `uptime-stream`). Default `lapwing`, or `uptime-group`.
    pub(crate) group: Option<String>,
    /// The stream that results go to (`streams`, `uptime-stream`). Default `lapwing:results`, or `uptime:results`.
    pub(crate) results: Option<String>,
    /// How many tasks the queue takes at most (`streams`, `uptime-stream`). Default 1000000.
    pub(crate) max_length: Option<NonZeroUsize>,
    /// The key that tells `lapwing worker --check` that a worker lives. Default: the queue's name and `:health-check`.
    pub(crate) health_check_key: Option<String>,
    /// How often that key is written; it lasts a second longer. Default `1h` of `arq`, as stock, else `30s`.
    pub(crate) health_check_interval: Option<HumanDuration>,
    /// Whether the kinds of load tests (`noop`, `sleep`, `cpu`) are run, and the API puts them on the queue.
    #[serde(default)]
    pub(crate) load_test: bool,
}

/// How a queue is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dialect {
    /// As Peekaping's worker and other Asynq clients.
    Asynq,
    /// Lapwing's own, on a Redis stream.
    Streams,
    /// Jobs with `websiteId` and `url` on a Redis stream.
    UptimeStream,
    /// As Python's arq.
    Arq,
}

/// One queue, every setting decided.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct QueueSettings {
    pub(crate) dialect: Dialect,
    pub(crate) name: String,
    pub(crate) max_jobs: usize,
    #[serde(serialize_with = "human_option")]
    pub(crate) job_timeout: Option<Duration>,
    #[serde(serialize_with = "human")]
    pub(crate) keep_result: Duration,
    pub(crate) max_tries: u32,
    pub(crate) weight: u32,
    pub(crate) batch: Option<usize>,
    #[serde(serialize_with = "human_option")]
    pub(crate) block: Option<Duration>,
    pub(crate) group: Option<String>,
    pub(crate) results: Option<String>,
    pub(crate) max_length: Option<usize>,
    pub(crate) health_check_key: String,
    #[serde(serialize_with = "human")]
    pub(crate) health_check_interval: Duration,
    pub(crate) load_test: bool,
}

fn human<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    HumanDuration(*span).serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde passes references")]
fn human_option<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    span.map(HumanDuration).serialize(serializer)
}

/// What the environment and `[worker]` say for all queues.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub(crate) concurrency: usize,
    pub(crate) keep_result: Option<Duration>,
    pub(crate) max_tries: Option<NonZeroU32>,
}

impl Defaults {
    /// Nothing said, but how many at once.
    const fn plain(concurrency: usize) -> Self {
        Self {
            concurrency,
            keep_result: None,
            max_tries: None,
        }
    }
}

impl QueueSettings {
    /// Of the queue in a process's own memory.
    pub(crate) fn in_memory(concurrency: usize) -> Self {
        QueueEntry::of(Dialect::Streams, "memory", NonZeroU32::MIN).settled(&Defaults::plain(concurrency))
    }

    /// An Asynq queue of its own, with the settings that such a one has by default.
    pub(crate) fn asynq(name: &str, concurrency: usize) -> Self {
        QueueEntry::of(Dialect::Asynq, name, NonZeroU32::MIN).settled(&Defaults::plain(concurrency))
    }
}

impl QueueEntry {
    /// An entry that sets nothing.
    fn of(dialect: Dialect, name: &str, weight: NonZeroU32) -> Self {
        Self {
            dialect,
            name: Some(name.to_owned()),
            max_jobs: None,
            job_timeout: None,
            keep_result: None,
            max_tries: None,
            weight: Some(weight),
            batch: None,
            block: None,
            group: None,
            results: None,
            max_length: None,
            health_check_key: None,
            health_check_interval: None,
            load_test: false,
        }
    }

    fn settled(self, defaults: &Defaults) -> QueueSettings {
        use Dialect::{Arq, Asynq, Streams, UptimeStream};
        let second = Duration::from_secs(1);
        let stock = match self.dialect {
            Asynq => ("healthcheck", None, Duration::ZERO, 1, second * 30),
            Streams => ("lapwing:tasks", None, second * 3600, 3, second * 30),
            UptimeStream => ("uptime:jobs", None, Duration::ZERO, 1, second * 30),
            Arq => ("arq:queue", Some(second * 300), second * 3600, 5, second * 3600),
        };
        let (name, job_timeout, keep_result, max_tries, interval) = stock;
        let name = self.name.unwrap_or_else(|| name.to_owned());
        let span = |set: Option<HumanDuration>| set.map(|span| span.0);
        QueueSettings {
            dialect: self.dialect,
            max_jobs: self.max_jobs.map_or(defaults.concurrency, NonZeroUsize::get),
            job_timeout: span(self.job_timeout).or(job_timeout),
            keep_result: span(self.keep_result)
                .or(defaults.keep_result)
                .unwrap_or(keep_result),
            max_tries: self
                .max_tries
                .or(defaults.max_tries)
                .map_or(max_tries, NonZeroU32::get),
            weight: self.weight.map_or(1, NonZeroU32::get),
            batch: self.batch.map(NonZeroUsize::get),
            block: span(self.block),
            group: self.group,
            results: self.results,
            max_length: self.max_length.map(NonZeroUsize::get),
            health_check_key: self
                .health_check_key
                .unwrap_or_else(|| format!("{name}:health-check")),
            health_check_interval: span(self.health_check_interval).unwrap_or(interval),
            load_test: self.load_test,
            name,
        }
    }
}

/// Decides every setting of every queue; none in the file means Peekaping's, by `worker.queues`.
pub(crate) fn resolve(
    entries: Vec<QueueEntry>,
    worker: &Worker,
    defaults: &Defaults,
    faults: &mut Faults,
) -> Vec<QueueSettings> {
    if entries.is_empty() {
        let weights = worker
            .queues
            .clone()
            .unwrap_or_else(super::file::peekaping_queues);
        if weights.is_empty() {
            faults.push("worker.queues", "is empty: the worker would take no task");
        }
        let of = |(name, weight): (String, NonZeroU32)| {
            QueueEntry::of(Dialect::Asynq, &name, weight).settled(defaults)
        };
        return weights.into_iter().map(of).collect();
    }
    if worker.queues.is_some() {
        faults.push(
            "worker.queues",
            "is for Peekaping's queues alone; name them as [[queues]] with `dialect = \"asynq\"` and `weight` beside the others",
        );
    }
    let mut names = HashSet::new();
    let mut settled = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        review(index, &entry, faults);
        let queue = entry.settled(defaults);
        let key = match queue.dialect {
            Dialect::Asynq => format!("asynq:{{{}}}", queue.name),
            _ => queue.name.clone(),
        };
        if !names.insert(key) {
            faults.push(
                format!("queues[{index}].name"),
                format!("`{}` is served by another entry already", queue.name),
            );
        }
        settled.push(queue);
    }
    for (index, queue) in settled.iter().enumerate() {
        between(index, queue, &settled, faults);
    }
    settled
}

/// What would make queues work against each other.
fn between(index: usize, queue: &QueueSettings, all: &[QueueSettings], faults: &mut Faults) {
    let field = |name: &str| format!("queues[{index}].{name}");
    let is_stream = |queue: &QueueSettings| matches!(queue.dialect, Dialect::Streams | Dialect::UptimeStream);
    let served = |key: &str| all.iter().any(|other| other.name == key && is_stream(other));
    if queue.dialect == Dialect::Asynq && queue.name == "ingester" {
        let message = "`ingester` is where Peekaping's results go: a worker would take its own";
        faults.push(field("name"), message);
    }
    if is_stream(queue) && served(&format!("{}:dead", queue.name)) {
        let message = format!(
            "its dead letters go to `{}:dead`, which another entry serves",
            queue.name
        );
        faults.push(field("name"), message);
    }
    if let Some(results) = queue.results.as_ref().filter(|results| served(results)) {
        faults.push(
            field("results"),
            format!("`{results}` is a queue: results would be taken for tasks"),
        );
    }
    let key = &queue.health_check_key;
    if all.iter().any(|other| other.name == *key) {
        faults.push(field("health_check_key"), format!("`{key}` is a queue"));
    }
    if all.iter().take(index).any(|other| other.health_check_key == *key) {
        faults.push(
            field("health_check_key"),
            format!("`{key}` is that of another entry already"),
        );
    }
}

/// What no schema can say.
fn review(index: usize, entry: &QueueEntry, faults: &mut Faults) {
    use Dialect::{Arq, Asynq, Streams, UptimeStream};
    let field = |name: &str| format!("queues[{index}].{name}");
    let dialect = entry.dialect;
    let only = [
        ("weight", entry.weight.is_some(), &[Asynq][..]),
        ("batch", entry.batch.is_some(), &[Streams, UptimeStream, Arq]),
        ("block", entry.block.is_some(), &[Streams, UptimeStream]),
        ("group", entry.group.is_some(), &[Streams, UptimeStream]),
        ("results", entry.results.is_some(), &[Streams, UptimeStream]),
        ("max_length", entry.max_length.is_some(), &[Streams, UptimeStream]),
        ("load_test", entry.load_test, &[Asynq, Streams, Arq]),
    ];
    for (name, is_set, of) in only {
        if is_set && !of.contains(&dialect) {
            let words: Vec<_> = of
                .iter()
                .map(|dialect| format!("`{}`", dialect.as_str()))
                .collect();
            faults.push(field(name), format!("is only for {}", words.join(", ")));
        }
    }
    for (name, text) in [
        ("name", &entry.name),
        ("group", &entry.group),
        ("results", &entry.results),
        ("health_check_key", &entry.health_check_key),
    ] {
        if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            faults.push(field(name), "is empty");
        }
    }
    let spans = [
        ("job_timeout", entry.job_timeout, 3600),
        ("block", entry.block, 60),
        ("health_check_interval", entry.health_check_interval, 24 * 3600),
    ];
    for (name, span, most) in spans {
        if span.is_some_and(|span| span.0.is_zero() || span.0 > Duration::from_secs(most)) {
            let most = HumanDuration(Duration::from_secs(most));
            let most = serde_json::to_string(&most).unwrap_or_default();
            let message = format!("is not more than zero and at most {}", most.replace('"', "`"));
            faults.push(field(name), message);
        }
    }
}

impl Dialect {
    /// The word for it in the file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Asynq => "asynq",
            Self::Streams => "streams",
            Self::UptimeStream => "uptime-stream",
            Self::Arq => "arq",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults = Defaults::plain(128);

    fn read(text: &str) -> (Vec<QueueSettings>, String) {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            queues: Vec<QueueEntry>,
            #[serde(default)]
            worker: Worker,
        }
        let file: File = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        let queues = resolve(file.queues, &file.worker, &DEFAULTS, &mut faults);
        let told = if faults.is_empty() {
            String::new()
        } else {
            faults.to_string()
        };
        (queues, told)
    }

    #[test]
    fn without_queues_it_is_peekapings_worker() {
        let (queues, faults) = read("");
        let names: Vec<_> = queues
            .iter()
            .map(|queue| (queue.name.as_str(), queue.weight, queue.max_tries))
            .collect();
        let peekapings = [
            ("critical", 6, 1),
            ("default", 3, 1),
            ("healthcheck", 5, 1),
            ("low", 1, 1),
        ];
        assert_eq!(names, peekapings);
        assert_eq!(faults, "");
    }

    #[test]
    fn each_dialect_has_the_defaults_of_its_stock_worker() {
        let (queues, faults) = read(
            "[[queues]]\ndialect = 'arq'\n[[queues]]\ndialect = 'uptime-stream'\n[[queues]]\ndialect = 'streams'\nmax_jobs = 3",
        );
        assert_eq!(faults, "");
        let [arq, uptime, streams] = &queues[..] else {
            panic!("{queues:?}")
        };
        assert_eq!((arq.name.as_str(), arq.max_tries), ("arq:queue", 5));
        assert_eq!(arq.job_timeout, Some(Duration::from_secs(300)));
        assert_eq!(arq.health_check_key, "arq:queue:health-check");
        assert_eq!((uptime.name.as_str(), uptime.max_tries), ("uptime:jobs", 1));
        assert_eq!((streams.name.as_str(), streams.max_jobs), ("lapwing:tasks", 3));
        assert_eq!(uptime.max_jobs, 128);
    }

    #[test]
    fn queues_that_would_work_against_each_other_are_refused() {
        let (_, faults) = read(
            "[[queues]]\ndialect = 'streams'\nname = 'a'\nresults = 'a'\n\
             [[queues]]\ndialect = 'uptime-stream'\nname = 'a:dead'\nhealth_check_key = 'a'\n\
             [[queues]]\ndialect = 'arq'\nname = 'a'\n\
             [[queues]]\ndialect = 'asynq'\nname = 'a'\nhealth_check_key = 'k'\n\
             [[queues]]\ndialect = 'asynq'\nname = 'ingester'\nhealth_check_key = 'k'\n",
        );
        for says in [
            "queues[0].results: `a` is a queue",
            "queues[0].name: its dead letters go to `a:dead`",
            "queues[1].health_check_key: `a` is a queue",
            "queues[2].name: `a` is served by another entry already",
            "queues[4].name: `ingester` is where",
            "queues[4].health_check_key: `k` is that of another",
        ] {
            assert!(faults.contains(says), "{says} in {faults}");
        }
        assert!(
            !faults.contains("queues[3]"),
            "asynq's keys have a prefix: {faults}"
        );
    }

    #[test]
    fn every_fault_names_its_queue_and_field() {
        let (_, faults) = read(
            "[worker]\nqueues = { low = 1 }\n\
             [[queues]]\ndialect = 'arq'\nweight = 2\nblock = '0s'\n\
             [[queues]]\ndialect = 'arq'\njob_timeout = '2h'\nname = 'arq:queue'\n\
             [[queues]]\ndialect = 'uptime-stream'\nload_test = true\nname = ' '",
        );
        for says in [
            "worker.queues: is for Peekaping's queues alone",
            "queues[0].weight: is only for `asynq`",
            "queues[0].block: is only for `streams`, `uptime-stream`",
            "queues[0].block: is not more than zero",
            "queues[1].job_timeout: is not more than zero and at most `1h`",
            "queues[1].name: `arq:queue` is served by another entry already",
            "queues[2].load_test: is only for",
            "queues[2].name: is empty",
        ] {
            assert!(faults.contains(says), "{says} in {faults}");
        }
    }
}
