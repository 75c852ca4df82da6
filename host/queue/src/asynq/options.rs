//! How to take part.

use crate::Policy;
use std::time::Duration;

/// How to take part; the default is what Peekaping's worker does.
#[derive(Debug, Clone)]
pub struct Options {
    /// The queues to serve.
    pub queues: Vec<QueueOptions>,
    /// Which of them comes first.
    pub priority: Priority,
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
            queues: queues
                .map(|(name, weight)| QueueOptions::new(name, weight))
                .to_vec(),
            priority: Priority::default(),
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

/// How to serve one queue.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Its name.
    pub name: String,
    /// Its share, see [`Priority`]; not served at all with 0.
    pub weight: u32,
    /// Most of its tasks in work in this process at once; `None` for no limit but the room of each reservation.
    pub max_jobs: Option<usize>,
    /// What its leases say about running its tasks. The message's own timeout and deadline hold where they are shorter.
    pub policy: Policy,
    /// How long a result is kept with its task, where the message itself does not say; whole seconds, 0 for not at all.
    pub keep_result: Duration,
}

impl QueueOptions {
    /// As Peekaping's worker serves its queues: everything once, nothing kept.
    pub fn new(name: &str, weight: u32) -> Self {
        Self {
            name: name.to_owned(),
            weight,
            max_jobs: None,
            policy: Policy::default(),
            keep_result: Duration::ZERO,
        }
    }
}

/// What the weights of queues mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// A queue is served only while all of greater weight are empty.
    #[default]
    Strict,
    /// Each look for work begins with one of the queues, the likelier the greater its weight, and goes on so.
    Weighted,
}

/// The intervals workers agree on. Change them only for all workers of a Redis at once; tests scale them down.
#[derive(Debug, Clone)]
pub struct Timing {
    /// How long a lease lasts. 30 s.
    pub lease: Duration,
    /// Time between two extensions, presence writes and looks for tasks that are due, lost or kept too long. 5 s.
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
    /// By how much the pauses before another try are longer than Asynq's. 1.
    pub retry: f64,
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
            retry: 1.0,
        }
    }
}
