//! Looking into a queue, and the operator's hand in it: what the admin API and the command line ask for.

use crate::QueueError;
use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// Looking into one dialect's queues. Every method names the queue by the name it was configured with; a name that the
/// dialect does not serve is [`QueueError::Unfit`].
#[async_trait]
pub trait Inspect: Send + Sync + 'static {
    /// The dialect's name, as in the configuration.
    fn dialect(&self) -> &'static str;

    /// The names of the queues served, the most important first.
    fn queues(&self) -> Vec<String>;

    /// How often the dialect did what no caller sees, since it was connected.
    fn counts(&self) -> Counts {
        Counts::default()
    }

    /// How many tasks are where. Cheap enough to ask for every second.
    async fn stats(&self, queue: &str) -> Result<QueueStats, QueueError>;

    /// Stops (or lets go on) the handing out of tasks, for every worker of the queue. Idempotent.
    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), QueueError>;

    /// What is known of a task; `None` when nothing is (any more).
    async fn status(&self, queue: &str, id: &str) -> Result<Option<TaskStatus>, QueueError>;

    /// The result kept with a task; `None` when it has none (yet, or any more).
    async fn result(&self, queue: &str, id: &str) -> Result<Option<KeptResult>, QueueError>;

    /// Asks for a task to be cancelled: one that waits never runs, one in work is stopped by whoever runs it. False when
    /// there is no such task.
    async fn cancel(&self, queue: &str, id: &str) -> Result<bool, QueueError>;

    /// Dead letters, newest first, from the `offset`th on.
    async fn dead(&self, queue: &str, offset: usize, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Puts a dead letter back on the queue. False when there is no such one.
    async fn revive(&self, queue: &str, id: &str) -> Result<bool, QueueError>;

    /// Deletes a dead letter. False when there is no such one.
    async fn discard(&self, queue: &str, id: &str) -> Result<bool, QueueError>;

    /// The live workers of the dialect's queues, Lapwing's and others, as far as the dialect knows them.
    async fn workers(&self) -> Result<Vec<WorkerPresence>, QueueError>;
}

/// How often a dialect did what no caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that are no task, are past their deadline, or that no worker survived, moved to the dead letters.
    pub archived: u64,
    /// Tasks put back, or taken over, because nobody worked at them.
    pub recovered: u64,
}

/// How many tasks of one queue are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct QueueStats {
    /// Due, and not taken.
    pub pending: u64,
    /// In work.
    pub active: u64,
    /// Due later.
    pub scheduled: u64,
    /// To be tried again later.
    pub retry: u64,
    /// Dead letters.
    pub archived: u64,
    /// Done, with a result that is kept.
    pub completed: u64,
    /// Tasks done or failed since the queue began, where the dialect counts them.
    pub processed: Option<u64>,
    /// Tasks failed since the queue began, where the dialect counts them.
    pub failed: Option<u64>,
    /// Entries not handed out yet (streams; elsewhere as `pending`).
    pub lag: u64,
    /// How long the oldest pending task has been due, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// Whether nothing is handed out.
    pub paused: bool,
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Due later.
    Scheduled,
    /// Due, and not taken.
    Pending,
    /// In work.
    Active,
    /// To be tried again later.
    Retry,
    /// A dead letter.
    Archived,
    /// Done; its result is kept.
    Completed,
}

/// What is known of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TaskStatus {
    /// The queue's name for it.
    pub id: String,
    /// Where it is.
    pub state: TaskState,
    /// The kind of check, where its message can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it is (or was) due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

impl TaskStatus {
    /// Of a task of which only the result is left.
    pub(crate) fn completed(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            state: TaskState::Completed,
            kind: None,
            attempts: 1,
            why: None,
            due: None,
        }
    }
}

/// A result kept with its task.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct KeptResult {
    /// Whether the task was run to its end, whatever it found. If not, `value` is the reason.
    pub ok: bool,
    /// The result: of our own tasks a [`CheckResult`](lapwing_model::CheckResult).
    pub value: Value,
}

/// A task that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeadLetter {
    /// The queue's name for it.
    pub id: String,
    /// The kind of check, where its message can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Why.
    pub why: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The message's size in bytes. The message itself may hold credentials and is not shown.
    pub bytes: usize,
}

/// One live worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WorkerPresence {
    /// Unique among live workers.
    pub name: String,
    /// Its host, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its process there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// How many tasks it may run at once, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
    /// How many it runs now.
    pub active: u64,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Time since it was last heard of, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
}

/// Milliseconds, as the structs above count them.
pub(crate) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
