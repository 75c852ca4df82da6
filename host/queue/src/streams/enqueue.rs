//! Putting tasks on the stream, or where they wait for their time; many at a time.

use super::{Format, Shared, fields, ms, scripts};
use crate::{QueueError, inspect::milliseconds, script::Call};
use lapwing_model::Task;
use std::{sync::Arc, time::Duration};

/// One task to be added.
pub(super) struct Request {
    name: String,
    delay_ms: u64,
    /// A JSON array.
    fields: String,
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Added,
    Duplicate,
    Full,
}

impl Request {
    /// [`QueueError::Unfit`] when the format cannot carry the task.
    pub(super) fn new(format: Format, task: &Task, delay: Duration) -> Result<Self, QueueError> {
        let name = task.monitor.id.clone();
        let fields = fields::write(format, task, &name)?;
        Ok(Self {
            name,
            delay_ms: milliseconds(delay),
            fields: serde_json::Value::from(fields).to_string(),
        })
    }
}

pub(super) async fn call(shared: Arc<Shared>, requests: Vec<Request>) -> Result<Vec<Answer>, QueueError> {
    let (keys, options) = (&shared.keys, &shared.options);
    let mut call = Call::new(
        &scripts::ENQUEUE,
        &[&keys.stream, &keys.later, &keys.scheduled, &keys.retry],
    );
    call.arg(&keys.locks)
        .arg(ms(options.timing.lock))
        .arg(options.max_length)
        .arg(&keys.kept);
    for request in &requests {
        call.arg(&request.name).arg(request.delay_ms).arg(&request.fields);
    }
    let answers: Vec<i64> = shared.link.script(&call).await?;
    let answer = |code| match code {
        1 => Answer::Added,
        0 => Answer::Duplicate,
        _ => Answer::Full,
    };
    Ok(answers.into_iter().map(answer).collect())
}
