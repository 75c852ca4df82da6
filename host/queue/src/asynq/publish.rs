//! Adding tasks: results for the ingester, and due checks.

use super::{Shared, keys, keys::Keys, message::TaskMessage, scripts};
use crate::{Enqueued, QueueError};
use lapwing_model::{CheckResult, Clock, Task, peekaping};
use prost::Message;
use std::{sync::PoisonError, time::Duration};

/// What Asynq's client writes for a task with neither timeout nor deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The options of Peekaping's worker for a result.
const INGEST_RETRIES: i32 = 3;
const INGEST_TIMEOUT_S: i64 = 120;
const INGEST_UNIQUE: Duration = Duration::from_secs(1);

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
    put(shared, &shared.results, message, INGEST_UNIQUE, false)
        .await
        .map(drop)
}

/// As [`Queue::task_id`](crate::Queue::task_id).
pub(super) fn task_id(task: &Task) -> String {
    format!("healthcheck:{}", task.monitor.id)
}

/// As [`Queue::schedule`](crate::Queue::schedule).
pub(super) async fn schedule(shared: &Shared, task: &Task, delay: Duration) -> Result<Enqueued, QueueError> {
    if !delay.is_zero() {
        return Err(QueueError::Unfit("scheduled tasks are not spoken yet".to_owned()));
    }
    let timeout = Some(task.monitor.timeout)
        .filter(|timeout| !timeout.is_zero())
        .unwrap_or(DEFAULT_TIMEOUT);
    let message = TaskMessage {
        kind: peekaping::CHECK_TASK.to_owned(),
        payload: peekaping::encode_task(task),
        id: task_id(task),
        timeout: whole_seconds(timeout),
        ..TaskMessage::default()
    };
    put(shared, &shared.checks, message, task.monitor.interval * 2, true).await
}

async fn put(
    shared: &Shared,
    keys: &Keys,
    mut message: TaskMessage,
    unique: Duration,
    replace: bool,
) -> Result<Enqueued, QueueError> {
    announce(shared, &keys.queue).await?;
    message.queue.clone_from(&keys.queue);
    message.unique_key = keys.unique(&message.kind, &message.payload);
    let now = i64::try_from(shared.clock.now().as_nanosecond()).unwrap_or(i64::MAX);
    let mut call = scripts::ENQUEUE.key(keys.task(&message.id));
    call.key(&keys.pending).key(&message.unique_key);
    call.key(&keys.active)
        .key(&keys.lease)
        .key(&keys.archived)
        .key(&keys.completed);
    call.arg(&message.id).arg(message.encode_to_vec()).arg(now);
    call.arg(whole_seconds(unique).max(1)).arg(u8::from(replace));
    match shared.link.script(&call).await? {
        1 => Ok(Enqueued::Added),
        0 | -1 => Ok(Enqueued::Duplicate),
        other => Err(QueueError::Protocol(format!("enqueue answered {other}"))),
    }
}

/// Makes the queue known to tools, once per process.
async fn announce(shared: &Shared, queue: &str) -> Result<(), QueueError> {
    let known = || shared.announced.lock().unwrap_or_else(PoisonError::into_inner);
    if !known().contains(queue) {
        shared
            .link
            .command::<()>(redis::cmd("SADD").arg(keys::QUEUES).arg(queue))
            .await?;
        known().insert(queue.to_owned());
    }
    Ok(())
}

/// Rounded up: a timeout below a second must not become "none".
fn whole_seconds(duration: Duration) -> i64 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(whole).unwrap_or(i64::MAX)
}
