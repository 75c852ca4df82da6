//! The memory dialect: one process, bounded, nothing survives it.
//!
//! For `lapwing run` without a Redis. Nobody else can take a task, so its leases do not run out while they are held;
//! a dropped one goes back to the head of the queue at once.

use crate::{Enqueued, Lease, Queue, QueueError, Settle, Sink, Source};
use async_trait::async_trait;
use lapwing_model::{CheckResult, Task};
use std::{
    collections::{HashSet, VecDeque},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How long a reservation waits for work.
const WAIT: Duration = Duration::from_secs(1);
/// Most dead letters kept; the oldest go first.
const DEAD_LETTERS: usize = 1000;
/// Most ids of results remembered, to publish each once.
const REMEMBERED: usize = 1000;

/// A queue in memory: a [`Source`] and a [`Queue`]. Clones are handles to the same queue.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    capacity: usize,
    state: Mutex<State>,
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: VecDeque<Arc<Task>>,
    /// Monitors with a task pending or in work.
    monitors: HashSet<String>,
    dead: VecDeque<DeadLetter>,
}

/// A task that was archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The task.
    pub task: Arc<Task>,
    /// Why.
    pub why: String,
}

impl Memory {
    /// A queue for at most `capacity` tasks, pending and in work.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Inner {
            capacity,
            state: Mutex::default(),
            added: Notify::new(),
        }))
    }

    /// The archived tasks, oldest first; at most 1,000 are kept.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.0.state().dead.iter().cloned().collect()
    }

    /// How many tasks are pending.
    pub fn pending(&self) -> usize {
        self.0.state().pending.len()
    }

    /// How many tasks are in work.
    pub fn active(&self) -> usize {
        let state = self.0.state();
        state.monitors.len() - state.pending.len()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for Memory {
    async fn reserve(&self, room: NonZeroUsize) -> Result<Vec<Lease>, QueueError> {
        let some = async {
            loop {
                let added = self.0.added.notified();
                let tasks: Vec<_> = {
                    let mut state = self.0.state();
                    let count = room.get().min(state.pending.len());
                    if state.pending.len() > count {
                        self.0.added.notify_one();
                    }
                    state.pending.drain(..count).collect()
                };
                if !tasks.is_empty() {
                    return tasks;
                }
                added.await;
            }
        };
        let tasks = timeout(WAIT, some).await.unwrap_or_default();
        let lease = |task: Arc<Task>| {
            let seat = Seat {
                queue: self.0.clone(),
                task: task.clone(),
                settled: AtomicBool::new(false),
                never: CancellationToken::new(),
            };
            Lease::new(task.monitor.id.clone(), task, Box::new(seat))
        };
        Ok(tasks.into_iter().map(lease).collect())
    }

    async fn close(&self) {}
}

#[async_trait]
impl Queue for Memory {
    async fn enqueue(&self, task: &Task) -> Result<Enqueued, QueueError> {
        let mut state = self.0.state();
        if state.monitors.contains(&task.monitor.id) {
            return Ok(Enqueued::Duplicate);
        }
        if state.monitors.len() >= self.0.capacity {
            return Err(QueueError::Full(self.0.capacity));
        }
        state.monitors.insert(task.monitor.id.clone());
        state.pending.push_back(Arc::new(task.clone()));
        self.0.added.notify_one();
        Ok(Enqueued::Added)
    }
}

/// The right to settle one task, once.
struct Seat {
    queue: Arc<Inner>,
    task: Arc<Task>,
    settled: AtomicBool,
    never: CancellationToken,
}

impl Seat {
    fn settle(&self, how: impl FnOnce(&mut State)) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            how(&mut self.queue.state());
            self.queue.added.notify_one();
        }
    }

    fn put_back(&self) {
        self.settle(|state| state.pending.push_front(self.task.clone()));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.put_back();
    }
}

#[async_trait]
impl Settle for Seat {
    async fn confirm(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn ack(&self) -> Result<(), QueueError> {
        self.settle(|state| {
            state.monitors.remove(&self.task.monitor.id);
        });
        Ok(())
    }

    async fn archive(&self, why: &str) -> Result<(), QueueError> {
        self.settle(|state| {
            state.monitors.remove(&self.task.monitor.id);
            if state.dead.len() >= DEAD_LETTERS {
                state.dead.pop_front();
            }
            state.dead.push_back(DeadLetter {
                task: self.task.clone(),
                why: why.to_owned(),
            });
        });
        Ok(())
    }

    async fn requeue(&self) -> Result<(), QueueError> {
        self.put_back();
        Ok(())
    }

    fn lost(&self) -> &CancellationToken {
        &self.never
    }

    fn cancelled(&self) -> &CancellationToken {
        &self.never
    }
}

/// A [`Sink`] into a channel of the caller's.
#[derive(Debug)]
pub struct Results {
    sender: mpsc::Sender<CheckResult>,
    /// Ids sent last, oldest first.
    sent: Mutex<VecDeque<String>>,
}

impl Results {
    /// Results go into `sender`; a full channel makes the publisher wait.
    pub fn new(sender: mpsc::Sender<CheckResult>) -> Self {
        Self {
            sender,
            sent: Mutex::default(),
        }
    }

    /// Whether this is the first time; then it is remembered.
    fn is_new(&self, id: &str) -> bool {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.iter().any(|known| known == id) {
            return false;
        }
        if sent.len() >= REMEMBERED {
            sent.pop_front();
        }
        sent.push_back(id.to_owned());
        true
    }
}

#[async_trait]
impl Sink for Results {
    async fn publish(&self, _: &Task, result: &CheckResult) -> Result<(), QueueError> {
        let place = self.sender.reserve().await;
        let place = place.map_err(|_| QueueError::Protocol("nobody takes the results".to_owned()))?;
        if self.is_new(&result.id) {
            place.send(result.clone());
        }
        Ok(())
    }
}
