//! The Asynq dialect: a drop-in for Peekaping's worker and producer on an unmodified Redis.
//!
//! Keys, messages and state transitions are those of Asynq 0.25 and 0.26 (sources: its `internal/rdb`,
//! `internal/base` and `internal/proto`), so stock clients, workers and tools share the queues with Lapwing. What
//! differs is what stock Asynq gets wrong, and each script says so. It is not made for Redis Cluster: one script
//! serves all queues.

mod cancel;
mod held;
mod inspect;
mod keys;
pub mod message;
mod presence;
mod publish;
mod recover;
mod reserve;
mod scripts;
mod settle;
mod upkeep;

use crate::{
    Enqueued, Lease, Queue, QueueError, RedisClock, Server, Sink, Source, backoff::Backoff, link::Link,
};
use async_trait::async_trait;
use held::Held;
use jiff::Timestamp;
use keys::Keys;
use lapwing_model::{CheckResult, Clock, Task};
use presence::Identity;
use std::{
    cmp::Reverse,
    collections::HashSet,
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// How to take part; the default is what Peekaping's worker does.
#[derive(Debug, Clone)]
pub struct Options {
    /// The queues to serve, with their weights: a queue is served only while all of greater weight are empty, and not
    /// at all with a weight of 0.
    pub queues: Vec<(String, u32)>,
    /// How many tasks the worker runs at once; only shown to tools.
    pub concurrency: usize,
    /// Shown to tools.
    pub host: String,
    /// Shown to tools.
    pub pid: u32,
    /// Where due checks are put.
    pub check_queue: String,
    /// Where results are put.
    pub ingest_queue: String,
    /// How long the ingester's Asynq keeps a result after taking it in; whole seconds, 0 to delete it at once.
    pub retention: Duration,
    /// How long to wait for a connection, and again for an answer.
    pub patience: Duration,
    /// Asynq's intervals.
    pub timing: Timing,
}

impl Default for Options {
    fn default() -> Self {
        let queues = [("critical", 6), ("healthcheck", 5), ("default", 3), ("low", 1)];
        Self {
            queues: queues.map(|(name, weight)| (name.to_owned(), weight)).to_vec(),
            concurrency: 128,
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            pid: std::process::id(),
            check_queue: "healthcheck".to_owned(),
            ingest_queue: "ingester".to_owned(),
            retention: Duration::from_secs(3600),
            patience: Duration::from_secs(2),
            timing: Timing::default(),
        }
    }
}

/// The intervals workers agree on. Change them only for all workers of a Redis at once; tests scale them down.
#[derive(Debug, Clone)]
pub struct Timing {
    /// How long a lease lasts. 30 s.
    pub lease: Duration,
    /// Time between two extensions, presence writes and looks for lost tasks. 5 s.
    pub beat: Duration,
    /// How long presence lasts. 10 s.
    pub presence: Duration,
    /// A lease not extended for so long is looked into; more than a beat and an answer take. 8 s.
    pub silence: Duration,
    /// Time between the two looks that find a worker gone; more than a reconnection takes. 4 s.
    pub confirm: Duration,
    /// How long after its end a stock worker's lease is left alone. 30 s.
    pub grace: Duration,
    /// Longest pause between two looks for work. 500 ms.
    pub idle: Duration,
    /// How long one reservation waits for work. 1 s.
    pub wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            beat: Duration::from_secs(5),
            presence: Duration::from_secs(10),
            silence: Duration::from_secs(8),
            confirm: Duration::from_secs(4),
            grace: Duration::from_secs(30),
            idle: Duration::from_millis(500),
            wait: Duration::from_secs(1),
        }
    }
}

/// How often the dialect did what no caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that are no task, moved to the dead letters.
    pub archived: u64,
    /// Tasks put back because nobody worked at them.
    pub recovered: u64,
}

/// One Redis spoken to the way Asynq does: a [`Source`], a [`Sink`] and a [`Queue`].
///
/// Presence, leases and recovery begin with the first reservation, so a producer leaves no trace of a worker.
pub struct Asynq {
    shared: Arc<Shared>,
    upkeep: OnceLock<[AbortOnDropHandle<()>; 2]>,
}

/// What the parts of the dialect have in common.
struct Shared {
    server: Server,
    link: Link,
    clock: RedisClock,
    options: Options,
    identity: Identity,
    started: Timestamp,
    /// The queues to serve, most important first.
    queues: Vec<Keys>,
    checks: Keys,
    results: Keys,
    held: Held,
    counts: AtomicCounts,
    /// Number of the next reservation.
    serial: AtomicU64,
    /// Queues this process has made known.
    announced: Mutex<HashSet<String>>,
    idle: Mutex<Backoff>,
    trouble: Mutex<Backoff>,
    stopped: AtomicBool,
    /// Makes the upkeep beat now.
    wake: Notify,
}

#[derive(Debug, Default)]
struct AtomicCounts {
    archived: AtomicU64,
    recovered: AtomicU64,
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Backoff> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Backoff> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a counter for the present day, in UTC.
    fn today(&self, counter: &str) -> String {
        format!("{counter}:{}", self.clock.now().strftime("%Y-%m-%d"))
    }
}

impl Asynq {
    /// Connects to `server`.
    ///
    /// Fails when the server cannot be reached or denies access now; later on, both are [`QueueError`]s of the calls
    /// and the connection mends itself.
    pub async fn connect(server: &Server, mut options: Options) -> Result<Arc<Self>, QueueError> {
        let link = Link::new(server, options.patience);
        let clock = RedisClock::start(&link).await?;
        options.queues.retain(|(_, weight)| *weight > 0);
        options.queues.sort_by_key(|(_, weight)| Reverse(*weight));
        let shared = Shared {
            server: server.clone(),
            link,
            identity: Identity::new(&options.host, options.pid),
            started: clock.now(),
            clock,
            queues: options.queues.iter().map(|(name, _)| Keys::new(name)).collect(),
            checks: Keys::new(&options.check_queue),
            results: Keys::new(&options.ingest_queue),
            held: Held::default(),
            counts: AtomicCounts::default(),
            serial: AtomicU64::new(1),
            announced: Mutex::default(),
            idle: Mutex::new(Backoff::new(Duration::from_millis(5), options.timing.idle)),
            trouble: Mutex::new(Backoff::new(Duration::from_millis(50), options.timing.idle)),
            stopped: AtomicBool::new(false),
            wake: Notify::new(),
            options,
        };
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
            upkeep: OnceLock::new(),
        }))
    }

    /// Redis's time of day: the clock that producers stamp tasks with.
    pub fn clock(&self) -> RedisClock {
        self.shared.clock.clone()
    }

    /// How often the dialect did what no caller sees, since the start.
    pub fn counts(&self) -> Counts {
        let AtomicCounts { archived, recovered } = &self.shared.counts;
        Counts {
            archived: archived.load(Ordering::Relaxed),
            recovered: recovered.load(Ordering::Relaxed),
        }
    }
}

#[async_trait]
impl Source for Asynq {
    async fn reserve(&self, room: NonZeroUsize) -> Result<Vec<Lease>, QueueError> {
        self.upkeep.get_or_init(|| {
            let upkeep = tokio::spawn(upkeep::run(self.shared.clone()));
            let cancel = tokio::spawn(cancel::run(self.shared.clone()));
            [upkeep, cancel].map(AbortOnDropHandle::new)
        });
        reserve::reserve(&self.shared, room).await
    }

    async fn drain(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.wake.notify_one();
    }

    async fn close(&self) {
        for task in self.upkeep.get().into_iter().flatten() {
            task.abort();
        }
        if let Err(error) = presence::clear(&self.shared).await {
            tracing::debug!("presence not cleared, it runs out by itself: {error}");
        }
    }
}

#[async_trait]
impl Sink for Asynq {
    async fn publish(&self, task: &Task, result: &CheckResult) -> Result<(), QueueError> {
        publish::publish(&self.shared, task, result).await
    }
}

#[async_trait]
impl Queue for Asynq {
    fn task_id(&self, task: &Task) -> String {
        publish::task_id(task)
    }

    async fn schedule(&self, task: &Task, delay: Duration) -> Result<Enqueued, QueueError> {
        publish::schedule(&self.shared, task, delay).await
    }
}

impl fmt::Debug for Asynq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asynq")
            .field("identity", &self.shared.identity.name)
            .finish_non_exhaustive()
    }
}
