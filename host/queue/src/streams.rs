//! The Redis Streams dialects: Lapwing's own, and the one of BetterStack-style uptime monitors.
//!
//! One instance serves one stream through one consumer group. An entry is read once (`XREADGROUP`), kept alive while its
//! check runs (`XCLAIM … JUSTID`), and acknowledged and deleted when it is done, so that the stream's length is its
//! backlog. How often an entry was handed out is its fencing token: Redis raises the number with every hand-over, and
//! whoever settles an entry must know the present one.
//!
//! Entries that nobody works at (given back, or left by a worker that is gone) are *parked*: they belong to a consumer
//! that no worker is, and are taken before new ones.

mod enqueue;
mod entry;
mod fields;
#[cfg(feature = "fuzz")]
#[expect(clippy::expect_used, reason = "a fuzzer sees nothing but panics")]
pub(crate) mod fuzz;
mod held;
mod inspect;
mod keys;
mod publish;
mod reader;
mod scripts;
mod settle;
mod shelf;
mod upkeep;
mod uptime;

use crate::{
    Enqueued, Lease, Policy, Queue, QueueError, RedisClock, Server, Sink, Source, backoff::Backoff,
    batch::Batch, held::Held, inspect::milliseconds, keeper, link::Link,
};
use async_trait::async_trait;
use keys::Keys;
use lapwing_model::{CheckResult, Task};
use reader::Reader;
use settle::Settling;
use shelf::Shelf;
use std::{
    fmt,
    future::Future,
    num::NonZeroUsize,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};
use tokio_util::task::AbortOnDropHandle;

/// Requests that travel together, at most.
const TOGETHER: usize = 512;

/// What a stream's entries look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Field `task`: a task in Lapwing's own words, as JSON or MessagePack. Or, for `redis-cli`, `kind` and `config`.
    Lapwing,
    /// Fields `websiteId`, `url` and perhaps `regionId`: an HTTP GET within 10 s.
    Uptime,
}

/// Which stream to serve, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The stream's key, which is the queue's name.
    pub stream: String,
    /// The consumer group. Made when it is not there, from the beginning of the stream.
    pub group: String,
    /// What entries look like.
    pub format: Format,
    /// The stream that results go to.
    pub results: String,
    /// About how many results are kept there: the oldest are trimmed, read or not.
    pub results_bound: usize,
    /// Most entries taken in one read.
    pub batch: usize,
    /// How long one read waits for entries. Entries that were given back are noticed as late by an idle worker.
    pub block: Duration,
    /// What to say about running the tasks.
    pub policy: Policy,
    /// How long the newest result of each task is kept with it; zero for not at all.
    pub keep_result: Duration,
    /// Most tasks waiting, scheduled and in work; from then on a producer is told that the queue is full. 0: no bound.
    pub max_length: usize,
    /// About how many dead letters are kept.
    pub dead_bound: usize,
    /// How often an entry may be handed out: one that every worker died of is a dead letter.
    pub max_deliveries: u64,
    /// Shown to tools.
    pub host: String,
    /// Shown to tools.
    pub pid: u32,
    /// How long to wait for a connection, and again for an answer.
    pub patience: Duration,
    /// The intervals.
    pub timing: Timing,
}

impl Options {
    /// Lapwing's own stream.
    pub fn lapwing() -> Self {
        Self {
            stream: "lapwing:tasks".to_owned(),
            group: "lapwing".to_owned(),
            format: Format::Lapwing,
            results: "lapwing:results".to_owned(),
            results_bound: 100_000,
            batch: 512,
            block: Duration::from_secs(1),
            policy: Policy::default(),
            keep_result: Duration::from_secs(3600),
            max_length: 1_000_000,
            dead_bound: 10_000,
            max_deliveries: 5,
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            pid: std::process::id(),
            patience: Duration::from_secs(2),
            timing: Timing::default(),
        }
    }

    /// The stream of a BetterStack-style uptime monitor.
    pub fn uptime() -> Self {
        Self {
            stream: "uptime:jobs".to_owned(),
            group: "uptime-group".to_owned(),
            format: Format::Uptime,
            results: "uptime:results".to_owned(),
            batch: 10,
            block: Duration::from_secs(5),
            ..Self::lapwing()
        }
    }
}

/// The intervals workers agree on. Change them only for all workers of a stream at once; tests scale them down.
#[derive(Debug, Clone)]
pub struct Timing {
    /// An entry not renewed for so long is taken from its worker; renewed three times as often. 15 s.
    pub idle: Duration,
    /// Time between two looks at what is due and what was cancelled. 1 s.
    pub beat: Duration,
    /// How long one reservation waits for work. 1 s.
    pub wait: Duration,
    /// A consumer that owns nothing is removed when it was not heard of for so long. 1 h.
    pub silence: Duration,
    /// Within this, the same result is told once. Longer than a crash and its recovery take. 10 min.
    pub told: Duration,
    /// How long a monitor's lock lasts when nobody releases it. 24 h.
    pub lock: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(15),
            beat: Duration::from_secs(1),
            wait: Duration::from_secs(1),
            silence: Duration::from_secs(3600),
            told: Duration::from_secs(600),
            lock: Duration::from_secs(24 * 3600),
        }
    }
}

/// One stream: a [`Source`], a [`Sink`] and a [`Queue`].
///
/// Reading, leases and recovery begin with the first reservation, so a producer leaves no trace of a worker.
pub struct Streams {
    shared: Arc<Shared>,
    shelf: Arc<Shelf>,
    settle: Arc<Settling>,
    enqueue: Batch<enqueue::Request, enqueue::Answer>,
    publish: Batch<publish::Request, ()>,
    work: OnceLock<Work>,
}

/// What runs in the background of a worker.
struct Work {
    reader: AbortOnDropHandle<()>,
    upkeep: AbortOnDropHandle<()>,
}

/// What the parts of the dialect have in common.
struct Shared {
    server: Server,
    link: Link,
    clock: RedisClock,
    options: Options,
    keys: Keys,
    /// `host:pid:uuid`, unique for each start of a process.
    consumer: String,
    held: Held<held::Reservation>,
    /// Whether there is something that a plain read does not see: a pause, or parked entries.
    look: AtomicBool,
    archived: AtomicU64,
    recovered: AtomicU64,
}

impl Streams {
    /// Connects to `server`.
    ///
    /// Fails when the server cannot be reached or denies access now; later on, both are [`QueueError`]s of the calls and
    /// the connection mends itself. [`QueueError::Unfit`] when a stream's name cannot carry the names of its keys.
    pub async fn connect(server: &Server, options: Options) -> Result<Arc<Self>, QueueError> {
        let keys = Keys::new(&options.stream)?;
        let results = keys::tagged(&options.results)?;
        if server.is_cluster() && keys::tagged(&options.stream)? != options.stream {
            return Err(QueueError::Unfit(format!(
                "on a cluster the stream's name needs a hash tag, such as `{{{}}}`",
                options.stream
            )));
        }
        let link = Link::new(server, options.patience);
        let clock = RedisClock::start(&link).await?;
        let ackdel = settle::has_ackdel(&link).await;
        let shared = Arc::new(Shared {
            server: server.clone(),
            link,
            clock,
            keys,
            consumer: format!("{}:{}:{}", options.host, options.pid, uuid::Uuid::new_v4()),
            held: Held::default(),
            look: AtomicBool::new(true),
            archived: AtomicU64::new(0),
            recovered: AtomicU64::new(0),
            options,
        });
        let settle = move |shared, requests| settle::call(shared, ackdel, requests);
        let publish = move |shared, requests| publish::call(shared, results.clone(), requests);
        Ok(Arc::new(Self {
            settle: Arc::new(together(&shared, settle)),
            enqueue: together(&shared, enqueue::call),
            publish: together(&shared, publish),
            shelf: Arc::default(),
            shared,
            work: OnceLock::new(),
        }))
    }

    /// Redis's time of day: the clock that producers stamp tasks with.
    pub fn clock(&self) -> RedisClock {
        self.shared.clock.clone()
    }

    fn start(&self) -> Work {
        let reader = Reader::new(self.shared.clone(), self.shelf.clone(), self.settle.clone());
        Work {
            reader: AbortOnDropHandle::new(tokio::spawn(reader.run())),
            upkeep: keeper::spawn(upkeep::run(self.shared.clone())),
        }
    }

    /// Stops reading and gives back what was read but not asked for.
    async fn stop(&self, goodbye: bool) {
        let Some(work) = self.work.get() else { return };
        work.reader.abort();
        self.shelf.close();
        if let Err(error) = upkeep::hand_over(&self.shared, goodbye).await {
            tracing::debug!("entries not handed over, their leases run out by themselves: {error}");
        }
    }
}

/// Calls that travel together.
fn together<Q, A, F>(
    shared: &Arc<Shared>,
    call: impl Fn(Arc<Shared>, Vec<Q>) -> F + Send + 'static,
) -> Batch<Q, A>
where
    Q: Send + 'static,
    A: Send + 'static,
    F: Future<Output = Result<Vec<A>, QueueError>> + Send,
{
    let shared = shared.clone();
    Batch::new(TOGETHER, move |requests| call(shared.clone(), requests))
}

/// The pauses after something went wrong.
fn trouble() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_millis(500))
}

/// A span as Redis counts them: whole milliseconds, at least one.
fn ms(span: Duration) -> u64 {
    milliseconds(span).max(1)
}

#[async_trait]
impl Source for Streams {
    async fn reserve(&self, room: NonZeroUsize) -> Result<Vec<Lease>, QueueError> {
        self.work.get_or_init(|| self.start());
        self.shelf.take(room.get(), self.shared.options.timing.wait).await
    }

    async fn drain(&self) {
        self.stop(false).await;
    }

    async fn close(&self) {
        if let Some(work) = self.work.get() {
            work.upkeep.abort();
        }
        self.stop(true).await;
    }
}

#[async_trait]
impl Sink for Streams {
    async fn publish(&self, task: &Task, result: &CheckResult) -> Result<(), QueueError> {
        let request = publish::Request::new(self.shared.options.format, task, result)?;
        self.publish.call(request).await
    }
}

#[async_trait]
impl Queue for Streams {
    fn task_id(&self, task: &Task) -> String {
        task.monitor.id.clone()
    }

    async fn schedule(&self, task: &Task, delay: Duration) -> Result<Enqueued, QueueError> {
        let request = enqueue::Request::new(self.shared.options.format, task, delay)?;
        match self.enqueue.call(request).await? {
            enqueue::Answer::Added => Ok(Enqueued::Added),
            enqueue::Answer::Duplicate => Ok(Enqueued::Duplicate),
            enqueue::Answer::Full => Err(QueueError::Full(self.shared.options.max_length)),
        }
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("consumer", &self.shared.consumer)
            .finish_non_exhaustive()
    }
}
