//! What a message asks for: a check as Peekaping writes it, or in Lapwing's own words.

use super::message::{Envelope, TaskMessage};
use jiff::Timestamp;
use lapwing_model::{Task, TaskMessage as OwnWords, peekaping};
use std::time::Duration;

/// Type of a task whose payload is a [`lapwing_model::TaskMessage`] as JSON.
pub const CHECK_TASK: &str = "lapwing:check";
/// The time Asynq gives a task that names neither timeout nor deadline (source: `processor.go` of Asynq 0.25).
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The task in a message, or why it is none; `since` is when it became pending, where that is known.
pub(super) fn parse(message: &TaskMessage, since: Timestamp) -> Result<Task, String> {
    let task = match message.kind.as_str() {
        peekaping::CHECK_TASK => peekaping::parse_task(&message.payload),
        CHECK_TASK => OwnWords::from_json(&message.payload).map(|task| task.into_task(&message.id, since)),
        kind => return Err(format!("handler not found for task {kind:?}")),
    };
    let mut task = task.map_err(|error| error.to_string())?;
    task.attempt = attempts(message).saturating_add(1);
    Ok(task)
}

/// How often the task was tried and failed.
pub(super) fn attempts(message: &TaskMessage) -> u32 {
    u32::try_from(message.retried).unwrap_or_default()
}

/// What can be told of a message.
pub(super) struct Known {
    pub(super) envelope: Envelope,
    /// The kind of check; of a task that is no check its type.
    pub(super) kind: String,
    /// When it fell due.
    pub(super) due: Option<Timestamp>,
}

/// What can be told of a message; nothing of bytes that are none.
pub(super) fn describe(bytes: &[u8]) -> Option<Known> {
    let envelope = Envelope::decode(bytes).ok()?;
    let (kind, due) = match parse(&envelope.message, Timestamp::UNIX_EPOCH) {
        Ok(task) => (task.monitor.kind, task.scheduled_at),
        Err(_) => (envelope.message.kind.clone(), None),
    };
    Some(Known {
        envelope,
        kind,
        due: due.filter(|due| *due != Timestamp::UNIX_EPOCH),
    })
}

/// How long a run that begins `now` may take: to its timeout or its deadline, whichever comes first.
pub(super) fn limit(message: &TaskMessage, now: Timestamp) -> Duration {
    let timeout = u64::try_from(message.timeout).ok().filter(|seconds| *seconds > 0);
    let timeout = timeout.map(Duration::from_secs);
    let deadline = (message.deadline > 0).then(|| {
        let deadline = Timestamp::from_second(message.deadline).unwrap_or(Timestamp::MAX);
        Duration::try_from(deadline.duration_since(now)).unwrap_or_default()
    });
    timeout
        .into_iter()
        .chain(deadline)
        .min()
        .unwrap_or(DEFAULT_TIMEOUT)
}
