//! Adding tasks: results for the ingester, and due checks. Many travel together.

use super::{
    Shared,
    keys::{self, Keys},
    message::TaskMessage,
    payload::DEFAULT_TIMEOUT,
    scripts,
};
use crate::{Enqueued, Queue, QueueError, RedisClock, batch::Batch, link::Link, script::Call};
use async_trait::async_trait;
use lapwing_model::{CheckResult, Clock, Task, peekaping};
use prost::Message;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The options of Peekaping's worker for a result.
const INGEST_RETRIES: i32 = 3;
const INGEST_TIMEOUT_S: i64 = 120;
const INGEST_UNIQUE: Duration = Duration::from_secs(1);
/// Most tasks added by one call of the script.
const ADDED: usize = 256;

/// One task to add, as it will be written.
#[derive(Debug)]
struct New {
    id: String,
    unique_key: String,
    message: Vec<u8>,
    terms: Terms,
}

/// When and how long.
#[derive(Debug)]
struct Terms {
    /// When it is due, in Unix seconds; `None` for now.
    due: Option<i64>,
    /// How long its lock holds, in seconds.
    lock: i64,
    /// Whether a task that stands in the way but will not run is replaced.
    replace: bool,
}

/// A queue that tasks are put in.
pub(super) struct Target {
    keys: Arc<Keys>,
    link: Arc<Link>,
    add: Batch<New, i64>,
    /// It was made known to tools.
    announced: AtomicBool,
}

impl Target {
    pub(super) fn new(queue: &str, link: &Arc<Link>, clock: &RedisClock) -> Self {
        let keys = Arc::new(Keys::new(queue));
        let call = {
            let (keys, link, clock) = (keys.clone(), link.clone(), clock.clone());
            move |tasks| {
                let (keys, link, clock) = (keys.clone(), link.clone(), clock.clone());
                async move { add(&keys, &link, &clock, tasks).await }
            }
        };
        Self {
            keys,
            link: link.clone(),
            add: Batch::new(ADDED, call),
            announced: AtomicBool::new(false),
        }
    }

    /// Puts a task in the queue.
    async fn put(&self, mut message: TaskMessage, terms: Terms) -> Result<Enqueued, QueueError> {
        if !self.announced.load(Ordering::Relaxed) {
            Box::pin(self.announce()).await?;
        }
        message.queue.clone_from(&self.keys.queue);
        message.unique_key = self.keys.unique(&message.kind, &message.payload);
        let new = New {
            message: message.encode_to_vec(),
            id: message.id,
            unique_key: message.unique_key,
            terms,
        };
        match self.add.call(new).await? {
            1 => Ok(Enqueued::Added),
            0 | -1 => Ok(Enqueued::Duplicate),
            other => Err(QueueError::Protocol(format!("enqueue answered {other}"))),
        }
    }

    /// Makes the queue known to tools; once per process is enough.
    async fn announce(&self) -> Result<(), QueueError> {
        let mut command = redis::cmd("SADD");
        let command = command.arg(keys::QUEUES).arg(&self.keys.queue);
        self.link.command::<()>(command).await?;
        self.announced.store(true, Ordering::Relaxed);
        Ok(())
    }
}

async fn add(keys: &Keys, link: &Link, clock: &RedisClock, tasks: Vec<New>) -> Result<Vec<i64>, QueueError> {
    let now = i64::try_from(clock.now().as_nanosecond()).unwrap_or(i64::MAX);
    let mut call = Call::new(
        &scripts::ENQUEUE,
        &[
            &keys.pending,
            &keys.scheduled,
            &keys.active,
            &keys.lease,
            &keys.archived,
            &keys.completed,
        ],
    );
    call.arg(&keys.tasks).arg(now).arg(keys::HINTS).arg(&keys.queue);
    for New {
        id,
        unique_key,
        message,
        terms: Terms { due, lock, replace },
    } in tasks
    {
        call.arg(id).arg(message);
        call.arg(due.map(|due| due.to_string()).unwrap_or_default());
        call.arg(unique_key).arg(lock).arg(u8::from(replace));
    }
    link.script(&call).await
}

/// As [`Sink::publish`](crate::Sink::publish). A result that is there already was published by an earlier attempt.
pub(super) async fn publish(shared: &Shared, task: &Task, result: &CheckResult) -> Result<(), QueueError> {
    let message = TaskMessage {
        kind: peekaping::INGEST_TASK.to_owned(),
        payload: peekaping::encode_result(task, result),
        id: format!(
            "ingest:{}:{}",
            result.monitor_id,
            result.started_at.as_nanosecond()
        ),
        retry: INGEST_RETRIES,
        timeout: INGEST_TIMEOUT_S,
        retention: whole_seconds(shared.options.retention),
        ..TaskMessage::default()
    };
    let terms = Terms {
        due: None,
        lock: whole_seconds(INGEST_UNIQUE),
        replace: false,
    };
    shared.results.put(message, terms).await.map(drop)
}

/// Puts checks in one queue.
pub struct Producer {
    target: Target,
    clock: RedisClock,
}

impl Producer {
    pub(super) fn new(queue: &str, link: &Arc<Link>, clock: &RedisClock) -> Self {
        Self {
            target: Target::new(queue, link, clock),
            clock: clock.clone(),
        }
    }
}

#[async_trait]
impl Queue for Producer {
    fn task_id(&self, task: &Task) -> String {
        format!("healthcheck:{}", task.monitor.id)
    }

    /// Asynq counts whole seconds: a task never comes before it is due, and up to a second after. Its lock's time counts
    /// from then on.
    async fn schedule(&self, task: &Task, delay: Duration) -> Result<Enqueued, QueueError> {
        let timeout = Some(task.monitor.timeout)
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or(DEFAULT_TIMEOUT);
        let message = TaskMessage {
            kind: peekaping::CHECK_TASK.to_owned(),
            payload: peekaping::encode_task(task),
            id: self.task_id(task),
            timeout: whole_seconds(timeout),
            ..TaskMessage::default()
        };
        let lock = task.monitor.interval.saturating_mul(2).saturating_add(delay);
        let terms = Terms {
            due: (!delay.is_zero()).then(|| self.clock.seconds_in(delay).saturating_add(1)),
            lock: whole_seconds(lock).clamp(1, LONGEST_LOCK_S),
            replace: true,
        };
        self.target.put(message, terms).await
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("queue", &self.target.keys.queue)
            .finish_non_exhaustive()
    }
}

/// Redis refuses times whose milliseconds overflow; a hundred years are enough.
const LONGEST_LOCK_S: i64 = 100 * 365 * 24 * 60 * 60;

/// Rounded up: a timeout below a second must not become "none".
fn whole_seconds(duration: Duration) -> i64 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(whole).unwrap_or(i64::MAX)
}
