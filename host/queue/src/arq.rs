//! The arq dialect: stock Python arq clients enqueue checks and await their results; stock workers share the queue.
//!
//! Keys, messages and state transitions are those of arq 0.28 (sources: its `connections.py`, `jobs.py` and
//! `worker.py`). What differs is what stock arq gets wrong, and each script says so. arq's keys carry no hash tag, so
//! it is not made for Redis Cluster.

mod front;
#[cfg(feature = "fuzz")]
#[expect(clippy::expect_used, reason = "a fuzzer sees nothing but panics")]
pub(crate) mod fuzz;
mod held;
mod inspect;
mod job;
mod keys;
mod outcome;
mod pickle;
mod presence;
mod reserve;
mod scripts;
mod settle;
mod value;

use crate::{
    Enqueued, Lease, Policy, Queue, QueueError, RedisClock, Server, Sink, Source, backoff::Backoff,
    batch::Batch, held::Held, inspect::milliseconds, keeper, link::Link, script::Call,
};
use async_trait::async_trait;
use front::Front;
use jiff::Timestamp;
pub use job::Format;
use job::Job;
use keys::Keys;
use lapwing_model::{CheckResult, Clock, Task};
use settle::{Ending, Hold};
use std::{
    collections::VecDeque,
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicU64},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Tells whether this worker runs a kind of checks.
pub type Known = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How to take part; the default is what stock clients expect.
#[derive(Clone)]
pub struct Options {
    /// The queue: arq's `queue_name`, which is the key of its sorted set.
    pub queue: String,
    /// Which functions are kinds that this worker runs, besides `check`. Jobs of others are left alone.
    pub known: Known,
    /// How often a job is tried (arq's `max_tries`), and how long one run may take (its `job_timeout`).
    pub policy: Policy,
    /// How long results are kept: zero for not at all, `None` for ever.
    pub keep_result: Option<Duration>,
    /// How long a job of ours may wait past the time it is due.
    pub expires: Duration,
    /// How our own jobs are written. A result is written as its job was.
    pub format: Format,
    /// Most jobs claimed by one call, up to 2000.
    pub batch: usize,
    /// Longest job that is read, in bytes.
    pub longest_job: usize,
    /// Most dead letters kept; the oldest go first.
    pub dead_letters: usize,
    /// How many tasks the worker runs at once; only shown to tools.
    pub concurrency: usize,
    /// Shown to tools.
    pub host: String,
    /// Shown to tools.
    pub pid: u32,
    /// Where a stock worker's `--check` looks for a sign of life. Default: the queue's name and `:health-check`.
    pub health_check_key: Option<String>,
    /// Time between two such signs.
    pub health_check_interval: Duration,
    /// How long to wait for a connection, and again for an answer.
    pub patience: Duration,
    /// What tests scale down.
    pub timing: Timing,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue: "arq:queue".to_owned(),
            known: Arc::new(|_| false),
            policy: Policy {
                max_tries: 5,
                job_timeout: None,
            },
            keep_result: Some(Duration::from_secs(3600)),
            expires: Duration::from_secs(24 * 60 * 60),
            format: Format::default(),
            batch: 512,
            longest_job: 1 << 20,
            dead_letters: 1000,
            concurrency: 128,
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            pid: std::process::id(),
            health_check_key: None,
            health_check_interval: Duration::from_secs(3600),
            patience: Duration::from_secs(2),
            timing: Timing::default(),
        }
    }
}

/// The intervals of one worker.
#[derive(Debug, Clone)]
pub struct Timing {
    /// How long a claim lasts when it is not renewed: after a crash its job runs again so much later. 30 s; stock
    /// workers claim for their longest timeout, once.
    pub claim: Duration,
    /// Time between two renewals of claims and signs of presence; less than half of `claim`. 8 s.
    pub beat: Duration,
    /// Time between two looks for requests to abort what runs here. 500 ms, as stock.
    pub abort: Duration,
    /// Age past which a request to abort a job that is gone is forgotten. 60 s.
    pub stale_abort: Duration,
    /// Longest pause between two looks for work. 400 ms.
    pub idle: Duration,
    /// How long one reservation waits for work. 1 s.
    pub wait: Duration,
    /// While many jobs in work or of other workers stand at the head of the queue, how often that head is looked
    /// through for what was put back into it. 250 ms.
    pub sweep: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            claim: ms(30_000),
            beat: ms(8000),
            abort: ms(500),
            stale_abort: ms(60_000),
            idle: ms(400),
            wait: ms(1000),
            sweep: ms(250),
        }
    }
}

/// One arq queue: a [`Source`], a [`Sink`] and a [`Queue`].
///
/// Presence and the renewal of claims begin with the first reservation, so a producer leaves no trace of a worker.
pub struct Arq {
    shared: Arc<Shared>,
    keeper: OnceLock<AbortOnDropHandle<()>>,
}

/// What the parts of the dialect have in common.
struct Shared {
    server: Server,
    link: Arc<Link>,
    clock: RedisClock,
    keys: Keys,
    /// `host:pid:uuid`.
    name: String,
    started: Timestamp,
    held: Held<held::Reservation>,
    /// Marks under which jobs may have been claimed, without an answer; and when.
    doubtful: Mutex<Vec<(String, Instant)>>,
    /// Claimed, and not handed out because whoever asked is gone.
    ready: Mutex<VecDeque<(Hold, Task)>>,
    front: tokio::sync::Mutex<Front>,
    endings: Batch<Ending, bool>,
    counts: Counts,
    /// Number of the next claim.
    serial: AtomicU64,
    idle: Mutex<Backoff>,
    trouble: Mutex<Backoff>,
    options: Options,
}

#[derive(Debug, Default)]
struct Counts {
    complete: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    /// Ended since the last look for work.
    ended: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    /// How long results are kept, as the scripts take it.
    fn lasting(&self) -> String {
        match self.options.keep_result {
            None => "0".to_owned(),
            Some(Duration::ZERO) => String::new(),
            Some(lasting) => milliseconds(lasting).max(1).to_string(),
        }
    }
}

impl Arq {
    /// Connects to `server`.
    ///
    /// Fails when the server cannot be reached or denies access now; later on, both are [`QueueError`]s of the calls
    /// and the connection mends itself. [`QueueError::Unfit`] for a cluster.
    pub async fn connect(server: &Server, options: Options) -> Result<Arc<Self>, QueueError> {
        if server.is_cluster() {
            return Err(QueueError::Unfit(format!(
                "arq's keys share no slot, so arq does not work on {server}: use one server, or Sentinels"
            )));
        }
        let link = Arc::new(Link::new(server, options.patience));
        let clock = RedisClock::start(&link).await?;
        let keys = Keys::new(&options.queue);
        let uuid = uuid::Uuid::new_v4();
        let shared = Shared {
            server: server.clone(),
            name: format!("{}:{}:{uuid}", options.host, options.pid),
            started: clock.now(),
            endings: settle::endings(link.clone(), keys.clone(), options.dead_letters),
            link,
            clock,
            keys,
            held: Held::default(),
            doubtful: Mutex::default(),
            ready: Mutex::default(),
            front: tokio::sync::Mutex::default(),
            counts: Counts::default(),
            serial: AtomicU64::new(1),
            idle: Mutex::new(Backoff::new(Duration::from_millis(5), options.timing.idle)),
            trouble: Mutex::new(Backoff::new(
                Duration::from_millis(50),
                Duration::from_millis(500),
            )),
            options,
        };
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
            keeper: OnceLock::new(),
        }))
    }

    /// Redis's time of day.
    pub fn clock(&self) -> RedisClock {
        self.shared.clock.clone()
    }

    /// Gives back what was claimed and never handed out.
    async fn give_back(&self) {
        let ready: Vec<_> = locked(&self.shared.ready).drain(..).collect();
        let given = ready.iter().map(|(hold, _)| crate::Settle::requeue(hold));
        for outcome in futures_util::future::join_all(given).await {
            if let Err(error) = outcome {
                tracing::debug!("not given back, its claim runs out: {error}");
            }
        }
    }
}

#[async_trait]
impl Source for Arq {
    async fn reserve(&self, room: NonZeroUsize) -> Result<Vec<Lease>, QueueError> {
        self.keeper
            .get_or_init(|| keeper::spawn(held::keep(self.shared.clone())));
        reserve::reserve(&self.shared, room).await
    }

    async fn drain(&self) {
        self.give_back().await;
    }

    async fn close(&self) {
        self.give_back().await;
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
            presence::clear(&self.shared).await;
        }
    }
}

/// Results stay with their jobs.
#[async_trait]
impl Sink for Arq {
    async fn publish(&self, _: &Task, _: &CheckResult) -> Result<(), QueueError> {
        Ok(())
    }
}

#[async_trait]
impl Queue for Arq {
    fn task_id(&self, task: &Task) -> String {
        task.monitor.id.clone()
    }

    async fn schedule(&self, task: &Task, delay: Duration) -> Result<Enqueued, QueueError> {
        let Shared {
            keys, clock, options, ..
        } = &*self.shared;
        let job = Job::of(task, options.format, clock.now()).and_then(|job| job.write());
        let job = job.map_err(|why| QueueError::Unfit(format!("task `{}`: {why}", task.monitor.id)))?;
        let mut call = Call::new(&scripts::SCHEDULE, &[&keys.queue, keys::ABORT]);
        call.arg(&task.monitor.id).arg(job);
        call.arg(milliseconds(delay)).arg(milliseconds(options.expires));
        let added: bool = self.shared.link.script(&call).await?;
        Ok(if added {
            Enqueued::Added
        } else {
            Enqueued::Duplicate
        })
    }
}

impl fmt::Debug for Arq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arq")
            .field("queue", &self.shared.keys.queue)
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}
