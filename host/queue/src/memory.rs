//! The memory dialect: one process, bounded, nothing survives it.
//!
//! For `lapwing run` without a Redis. Nobody else can take a task, so its leases do not run out while they are held;
//! a dropped one goes back to the head of the queue at once.

use crate::{
    DeadLetter, Enqueued, Inspect, KeptResult, Lease, Policy, Queue, QueueError, QueueStats, Settle, Sink,
    Source, TaskState, TaskStatus, WorkerPresence, backoff, inspect::milliseconds,
};
use async_trait::async_trait;
use lapwing_model::{CheckResult, Clock, SystemClock, Task};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// The queue's name.
const NAME: &str = "memory";
/// How long a reservation waits for work.
const WAIT: Duration = Duration::from_secs(1);
/// Most dead letters kept, and most results; the oldest go first.
const KEPT: usize = 1000;
/// Most ids of results remembered, to publish each once.
const REMEMBERED: usize = 1000;

/// A queue in memory. Clones are handles to the same queue.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    capacity: usize,
    policy: Policy,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Every task that is not done, by id.
    tasks: HashMap<String, Entry>,
    /// Ids of tasks that are due, the next one first.
    pending: VecDeque<String>,
    /// Ids of tasks that are due later; the number tells apart what is due at once.
    later: BTreeMap<(Instant, u64), String>,
    serial: u64,
    paused: bool,
    processed: u64,
    failed: u64,
    dead: VecDeque<(DeadLetter, Arc<Task>)>,
    results: VecDeque<(String, KeptResult)>,
}

#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
    state: TaskState,
    why: Option<String>,
    /// Since when it is pending.
    since: Instant,
    cancelled: CancellationToken,
}

impl State {
    /// Makes a task wait for its time, or for a worker.
    fn place(&mut self, id: &str, state: TaskState, delay: Duration) {
        let Some(entry) = self.tasks.get_mut(id) else {
            return;
        };
        entry.state = state;
        entry.since = Instant::now() + delay;
        if delay.is_zero() {
            self.pending.push_back(id.to_owned());
        } else {
            self.serial += 1;
            self.later.insert((entry.since, self.serial), id.to_owned());
        }
    }

    /// Moves what has become due to the others.
    fn forward(&mut self) {
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= Instant::now()
        {
            let id = first.remove();
            self.place(&id, TaskState::Pending, Duration::ZERO);
        }
    }

    /// Takes what is due.
    fn take(&mut self, room: usize) -> Vec<(String, Arc<Task>, CancellationToken)> {
        self.forward();
        let count = if self.paused {
            0
        } else {
            room.min(self.pending.len())
        };
        let taken: Vec<String> = self.pending.drain(..count).collect();
        let started = |id: String| {
            let entry = self.tasks.get_mut(&id)?;
            entry.state = TaskState::Active;
            Some((id, entry.task.clone(), entry.cancelled.clone()))
        };
        taken.into_iter().filter_map(started).collect()
    }

    /// Forgets a task that waits; false when there is none of this name.
    fn withdraw(&mut self, id: &str) -> bool {
        self.pending.retain(|waiting| waiting != id);
        self.later.retain(|_, waiting| waiting != id);
        self.tasks.remove(id).is_some()
    }

    fn count(&self, state: TaskState) -> u64 {
        self.tasks.values().filter(|entry| entry.state == state).count() as u64
    }
}

/// Adds `item`, in place of the oldest when there are [`KEPT`].
fn keep<T>(kept: &mut VecDeque<T>, item: T) {
    if kept.len() >= KEPT {
        kept.pop_front();
    }
    kept.push_back(item);
}

impl Memory {
    /// A queue for at most `capacity` tasks, waiting and in work.
    pub fn new(capacity: usize, policy: Policy) -> Self {
        Self(Arc::new(Inner {
            capacity,
            policy,
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of the queue called `queue`.
    fn named(&self, queue: &str) -> Result<MutexGuard<'_, State>, QueueError> {
        if queue == NAME {
            return Ok(self.state());
        }
        Err(QueueError::Unfit(format!(
            "no queue `{queue}` here; there is `{NAME}`"
        )))
    }

    fn add(&self, task: Arc<Task>, delay: Duration) -> Result<Enqueued, QueueError> {
        let mut state = self.state();
        let id = task.monitor.id.clone();
        if state.tasks.contains_key(&id) {
            return Ok(Enqueued::Duplicate);
        }
        if state.tasks.len() >= self.capacity {
            return Err(QueueError::Full(self.capacity));
        }
        let waits = if delay.is_zero() {
            TaskState::Pending
        } else {
            TaskState::Scheduled
        };
        let entry = Entry {
            task,
            state: waits,
            why: None,
            since: Instant::now(),
            cancelled: CancellationToken::new(),
        };
        state.tasks.insert(id.clone(), entry);
        state.place(&id, waits, delay);
        self.changed.notify_one();
        Ok(Enqueued::Added)
    }
}

#[async_trait]
impl Source for Memory {
    async fn reserve(&self, room: NonZeroUsize) -> Result<Vec<Lease>, QueueError> {
        let some = async {
            loop {
                let changed = self.0.changed.notified();
                let (taken, next) = {
                    let mut state = self.0.state();
                    let taken = state.take(room.get());
                    if !state.pending.is_empty() && !state.paused {
                        self.0.changed.notify_one();
                    }
                    (taken, state.later.keys().next().map(|(due, _)| *due))
                };
                if !taken.is_empty() {
                    return taken;
                }
                let due = async {
                    match next {
                        Some(due) => sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! { () = changed => {}, () = due => {} }
            }
        };
        let taken = timeout(WAIT, some).await.unwrap_or_default();
        let lease = |(id, task, cancelled): (String, Arc<Task>, CancellationToken)| {
            let seat = Seat {
                queue: self.0.clone(),
                task: task.clone(),
                settled: AtomicBool::new(false),
                never: CancellationToken::new(),
                cancelled,
            };
            Lease::new(id, task, self.0.policy, Box::new(seat))
        };
        Ok(taken.into_iter().map(lease).collect())
    }

    async fn close(&self) {}
}

/// Results stay with their tasks.
#[async_trait]
impl Sink for Memory {
    async fn publish(&self, _: &Task, _: &CheckResult) -> Result<(), QueueError> {
        Ok(())
    }
}

#[async_trait]
impl Queue for Memory {
    fn task_id(&self, task: &Task) -> String {
        task.monitor.id.clone()
    }

    async fn schedule(&self, task: &Task, delay: Duration) -> Result<Enqueued, QueueError> {
        self.0.add(Arc::new(task.clone()), delay)
    }
}

#[async_trait]
impl Inspect for Memory {
    fn dialect(&self) -> &'static str {
        NAME
    }

    fn queues(&self) -> Vec<String> {
        vec![NAME.to_owned()]
    }

    async fn stats(&self, queue: &str) -> Result<QueueStats, QueueError> {
        let mut state = self.0.named(queue)?;
        state.forward();
        let oldest = state.pending.front().and_then(|id| state.tasks.get(id));
        let pending = state.pending.len() as u64;
        Ok(QueueStats {
            pending,
            active: state.count(TaskState::Active),
            scheduled: state.count(TaskState::Scheduled),
            retry: state.count(TaskState::Retry),
            archived: state.dead.len() as u64,
            completed: state.results.len() as u64,
            processed: Some(state.processed),
            failed: Some(state.failed),
            lag: pending,
            oldest_ms: oldest.map(|entry| milliseconds(entry.since.elapsed())),
            paused: state.paused,
        })
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), QueueError> {
        self.0.named(queue)?.paused = paused;
        self.0.changed.notify_one();
        Ok(())
    }

    async fn status(&self, queue: &str, id: &str) -> Result<Option<TaskStatus>, QueueError> {
        let mut state = self.0.named(queue)?;
        state.forward();
        let of = |task: &Task, state, why| TaskStatus {
            id: id.to_owned(),
            state,
            kind: Some(task.monitor.kind.clone()),
            attempts: task.attempt,
            why,
            due: task.scheduled_at,
        };
        if let Some(Entry { task, state, why, .. }) = state.tasks.get(id) {
            return Ok(Some(of(task, *state, why.clone())));
        }
        // A result goes with the dead letter of a later run.
        if state.results.iter().any(|(kept, _)| kept == id) {
            return Ok(Some(TaskStatus::completed(id)));
        }
        if let Some((letter, task)) = state.dead.iter().rev().find(|(letter, _)| letter.id == id) {
            return Ok(Some(of(task, TaskState::Archived, Some(letter.why.clone()))));
        }
        Ok(None)
    }

    async fn result(&self, queue: &str, id: &str) -> Result<Option<KeptResult>, QueueError> {
        let state = self.0.named(queue)?;
        let newest = state.results.iter().rev().find(|(kept, _)| kept == id);
        Ok(newest.map(|(_, result)| result.clone()))
    }

    async fn cancel(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        let mut state = self.0.named(queue)?;
        match state.tasks.get(id) {
            Some(entry) if entry.state == TaskState::Active => {
                entry.cancelled.cancel();
                Ok(true)
            }
            _ => Ok(state.withdraw(id)),
        }
    }

    async fn dead(&self, queue: &str, offset: usize, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let state = self.0.named(queue)?;
        let newest = state.dead.iter().rev().skip(offset).take(limit);
        Ok(newest.map(|(letter, _)| letter.clone()).collect())
    }

    async fn revive(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        let found = {
            let state = self.0.named(queue)?;
            let found = state.dead.iter().find(|(letter, _)| letter.id == id);
            found.map(|(_, task)| task.clone())
        };
        let Some(task) = found else {
            return Ok(false);
        };
        // Where the monitor has another task by now, the dead one has nothing left to tell.
        self.0.add(task, Duration::ZERO)?;
        self.discard(queue, id).await
    }

    async fn discard(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        let mut state = self.0.named(queue)?;
        let before = state.dead.len();
        state.dead.retain(|(letter, _)| letter.id != id);
        Ok(state.dead.len() < before)
    }

    /// The process itself is the only worker, and whoever asks knows it.
    async fn workers(&self) -> Result<Vec<WorkerPresence>, QueueError> {
        Ok(Vec::new())
    }
}

/// The right to settle one task, once.
struct Seat {
    queue: Arc<Inner>,
    task: Arc<Task>,
    settled: AtomicBool,
    never: CancellationToken,
    cancelled: CancellationToken,
}

impl Seat {
    fn settle(&self, how: impl FnOnce(&mut State, &str)) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            how(&mut self.queue.state(), &self.task.monitor.id);
            self.queue.changed.notify_one();
        }
    }

    fn put_back(&self) {
        self.settle(|state, id| {
            if let Some(entry) = state.tasks.get_mut(id) {
                entry.state = TaskState::Pending;
                entry.since = Instant::now();
                state.pending.push_front(id.to_owned());
            }
        });
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

    async fn ack(&self, result: Option<&CheckResult>) -> Result<(), QueueError> {
        let value = result.and_then(|result| serde_json::to_value(result).ok());
        self.settle(|state, id| {
            state.tasks.remove(id);
            state.processed += 1;
            if let Some(value) = value {
                keep(
                    &mut state.results,
                    (id.to_owned(), KeptResult { ok: true, value }),
                );
            }
        });
        Ok(())
    }

    async fn retry(&self, why: &str) -> Result<(), QueueError> {
        self.settle(|state, id| {
            state.failed += 1;
            if let Some(entry) = state.tasks.get_mut(id) {
                let attempt = self.task.attempt;
                entry.why = Some(why.to_owned());
                entry.task = Arc::new(Task {
                    attempt: attempt.saturating_add(1),
                    ..Task::clone(&self.task)
                });
                state.place(id, TaskState::Retry, backoff::retry_pause(attempt));
            }
        });
        Ok(())
    }

    async fn archive(&self, why: &str) -> Result<(), QueueError> {
        self.settle(|state, id| {
            state.tasks.remove(id);
            state.processed += 1;
            state.failed += 1;
            let letter = DeadLetter {
                id: id.to_owned(),
                kind: Some(self.task.monitor.kind.clone()),
                why: why.to_owned(),
                at: Some(SystemClock.now()),
                bytes: self.task.monitor.config.len(),
            };
            state.results.retain(|(kept, _)| kept != id);
            keep(&mut state.dead, (letter, self.task.clone()));
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
        &self.cancelled
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
