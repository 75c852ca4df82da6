//! The Asynq dialect: a drop-in for Asynq's workers and clients, and so for Peekaping's, on an unmodified Redis.
//!
//! Keys, messages and state transitions are those of Asynq 0.25 and 0.26 (sources: its `internal/rdb`,
//! `internal/base` and `internal/proto`), so stock clients, workers and tools share the queues with Lapwing. What
//! differs is what stock Asynq gets wrong, and each script says so.

mod held;
mod inspect;
mod keys;
mod listen;
pub mod message;
mod options;
pub mod payload;
mod presence;
mod publish;
mod recover;
mod reserve;
mod rhythm;
mod scripts;
mod served;
mod settle;
mod upkeep;

pub use options::{Options, Priority, QueueOptions, Timing};
pub use publish::Producer;

use crate::{
    Enqueued, Lease, Queue, QueueError, RedisClock, Server, Sink, Source, backoff::Backoff, held::Held,
    keeper, link::Link,
};
use async_trait::async_trait;
use jiff::Timestamp;
use lapwing_model::{CheckResult, Clock, Task};
use presence::Identity;
use publish::Target;
use rhythm::Rhythm;
use served::Served;
use std::{
    cmp::Reverse,
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// Pauses between two looks for work while Redis is away or refuses: few calls, and back well within two seconds.
const LEAST_TROUBLE: Duration = Duration::from_millis(50);
const LONGEST_TROUBLE: Duration = Duration::from_millis(700);

/// One Redis spoken to the way Asynq does: a [`Source`], a [`Sink`], a [`Queue`] and an [`Inspect`](crate::Inspect).
///
/// Presence, leases and recovery begin with the first reservation, so a producer leaves no trace of a worker.
pub struct Asynq {
    shared: Arc<Shared>,
    background: OnceLock<[AbortOnDropHandle<()>; 2]>,
}

/// What the parts of the dialect have in common.
struct Shared {
    server: Server,
    link: Arc<Link>,
    /// What leases are kept alive through, on a thread of its own.
    keeper: Link,
    clock: RedisClock,
    options: Options,
    identity: Identity,
    started: Timestamp,
    /// The queues to serve, most important first.
    queues: Vec<Served>,
    checks: Producer,
    results: Target,
    held: Held<held::Reservation>,
    counts: AtomicCounts,
    /// Number of the next reservation.
    serial: AtomicU64,
    rhythm: Mutex<Rhythm>,
    /// Word of new tasks, or of room for them.
    hint: Notify,
    trouble: Mutex<Backoff>,
    stopped: AtomicBool,
    /// Makes the upkeep beat now.
    wake: Notify,
    /// Asks the upkeep to say goodbye.
    closing: CancellationToken,
    /// It has.
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct AtomicCounts {
    archived: AtomicU64,
    recovered: AtomicU64,
}

impl Shared {
    fn rhythm(&self) -> MutexGuard<'_, Rhythm> {
        self.rhythm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Backoff> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Word of tasks, or of room for them: whoever waits looks now.
    fn hint(&self) {
        self.rhythm().reset();
        self.hint.notify_one();
    }
}

impl Asynq {
    /// Connects to `server`.
    ///
    /// Fails when the server cannot be reached or denies access now; later on, both are [`QueueError`]s of the calls
    /// and the connection mends itself.
    pub async fn connect(server: &Server, mut options: Options) -> Result<Arc<Self>, QueueError> {
        let link = Arc::new(Link::new(server, options.patience));
        let clock = RedisClock::start(&link).await?;
        options.queues.retain(|queue| queue.weight > 0);
        options.queues.sort_by_key(|queue| Reverse(queue.weight));
        let queues = options.queues.iter();
        let shared = Shared {
            server: server.clone(),
            keeper: Link::new(server, options.patience),
            identity: Identity::new(&options.host, options.pid),
            started: clock.now(),
            queues: queues.map(|queue| Served::new(queue, &link, &clock)).collect(),
            checks: Producer::new(&options.check_queue, &link, &clock),
            results: Target::new(&options.ingest_queue, &link, &clock),
            link,
            clock,
            held: Held::default(),
            counts: AtomicCounts::default(),
            serial: AtomicU64::new(1),
            rhythm: Mutex::new(Rhythm::new(options.timing.idle)),
            hint: Notify::new(),
            trouble: Mutex::new(Backoff::new(LEAST_TROUBLE, LONGEST_TROUBLE)),
            stopped: AtomicBool::new(false),
            wake: Notify::new(),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            options,
        };
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
            background: OnceLock::new(),
        }))
    }

    /// Redis's time of day: the clock that producers stamp tasks with.
    pub fn clock(&self) -> RedisClock {
        self.shared.clock.clone()
    }

    /// Puts checks in the queue called `queue`, served here or not.
    pub fn producer(&self, queue: &str) -> Producer {
        Producer::new(queue, &self.shared.link, &self.shared.clock)
    }
}

#[async_trait]
impl Source for Asynq {
    async fn reserve(&self, room: NonZeroUsize) -> Result<Vec<Lease>, QueueError> {
        self.background.get_or_init(|| {
            let listen = tokio::spawn(listen::run(self.shared.clone()));
            let upkeep = keeper::spawn(upkeep::run(self.shared.clone()));
            [AbortOnDropHandle::new(listen), upkeep]
        });
        reserve::reserve(&self.shared, room).await
    }

    async fn drain(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.wake.notify_one();
    }

    async fn close(&self) {
        self.shared.closing.cancel();
        if self.background.get().is_some() {
            let goodbye = self.shared.closed.cancelled();
            if tokio::time::timeout(self.shared.options.patience, goodbye)
                .await
                .is_err()
            {
                tracing::debug!("presence not cleared, it runs out by itself");
            }
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
        self.shared.checks.task_id(task)
    }

    async fn schedule(&self, task: &Task, delay: Duration) -> Result<Enqueued, QueueError> {
        self.shared.checks.schedule(task, delay).await
    }
}

impl fmt::Debug for Asynq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asynq")
            .field("identity", &self.shared.identity.name)
            .finish_non_exhaustive()
    }
}
