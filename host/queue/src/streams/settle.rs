//! The ways to end the work at an entry, many at a time.

use super::{
    Shared, fields,
    held::{Reservation, span},
    keys::PARKED,
    ms, scripts,
};
use crate::{
    QueueError, Settle,
    backoff::retry_pause,
    batch::Batch,
    held::{Reserved, kept},
    link::Link,
    link::queue_error,
    script::Call,
};
use async_trait::async_trait;
use lapwing_model::{CheckResult, Task};
use redis::{Value, cmd};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// An entry is ours until the server says otherwise: it stays with us while its group stands.
const FOR_EVER: Duration = Duration::MAX;

/// What settles entries.
pub(super) type Settling = Batch<Request, Outcome>;

/// One entry to be settled.
pub(super) struct Request {
    reservation: Arc<Reservation>,
    verb: &'static str,
    /// Two of the verb's own.
    detail: [String; 2],
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    /// Somebody else has it, or it is gone.
    Lost,
    /// The server did not let us, in its own words.
    Refused(String),
}

/// Whether the server can acknowledge and delete in one step (Redis 8.2).
pub(super) async fn has_ackdel(link: &Link) -> bool {
    let mut info = cmd("COMMAND");
    info.arg("INFO").arg("XACKDEL");
    // Who may not ask does without.
    let known: Vec<Value> = link.command(&info).await.unwrap_or_default();
    known.iter().any(|command| *command != Value::Nil)
}

/// Settles entries. A refusal of every one of them is an error.
pub(super) async fn call(
    shared: Arc<Shared>,
    ackdel: bool,
    requests: Vec<Request>,
) -> Result<Vec<Outcome>, QueueError> {
    let (keys, options) = (&shared.keys, &shared.options);
    let mut call = Call::new(
        &scripts::SETTLE,
        &[
            &keys.stream,
            &keys.dead,
            &keys.later,
            &keys.retry,
            &keys.processed,
            &keys.failed,
            &keys.cancelled,
        ],
    );
    call.arg(&options.group).arg(&shared.consumer).arg(PARKED);
    call.arg(&keys.locks).arg(&keys.kept).arg(ms(options.keep_result));
    call.arg(ms(options.timing.lock))
        .arg(options.dead_bound)
        .arg(u8::from(ackdel));
    let (least, greatest) = span(requests.iter().map(|request| request.reservation.entry.as_str()));
    call.arg(least).arg(greatest);
    for Request {
        reservation,
        verb,
        detail,
    } in &requests
    {
        call.arg(*verb)
            .arg(&reservation.entry)
            .arg(reservation.deliveries)
            .arg(&reservation.name)
            .arg(detail);
    }
    let answers: Vec<Value> = shared.link.script(&call).await?;
    let outcome = |answer| match answer {
        Value::Int(1) => Outcome::Done,
        Value::Int(_) => Outcome::Lost,
        Value::BulkString(text) => Outcome::Refused(String::from_utf8_lossy(&text).into_owned()),
        other => Outcome::Refused(format!("{other:?}")),
    };
    let outcomes: Vec<Outcome> = answers.into_iter().map(outcome).collect();
    match outcomes.first() {
        Some(Outcome::Refused(text)) if outcomes.iter().all(|one| matches!(one, Outcome::Refused(_))) => {
            Err(refusal(text))
        }
        _ => Ok(outcomes),
    }
}

/// What the server said inside a script that went on.
pub(super) fn refusal(text: &str) -> QueueError {
    let (code, detail) = text.split_once(' ').unwrap_or((text, ""));
    queue_error(redis::make_extension_error(
        code.to_owned(),
        Some(detail.to_owned()),
    ))
}

/// One reservation and what it takes to end it. While this lives, the lease is kept alive.
pub(super) struct Hold {
    shared: Arc<Shared>,
    settle: Arc<Settling>,
    reservation: Arc<Reservation>,
}

impl Hold {
    pub(super) fn new(shared: Arc<Shared>, settle: Arc<Settling>, reservation: Arc<Reservation>) -> Self {
        shared.held.insert(reservation.clone());
        Self {
            shared,
            settle,
            reservation,
        }
    }

    pub(super) fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    /// Settles the entry.
    async fn run(&self, verb: &'static str, detail: [String; 2]) -> Result<(), QueueError> {
        self.reservation.end(FOR_EVER, self.ask(verb, detail)).await
    }

    /// Whether the entry was still ours.
    async fn ask(&self, verb: &'static str, detail: [String; 2]) -> Result<bool, QueueError> {
        let request = Request {
            reservation: self.reservation.clone(),
            verb,
            detail,
        };
        match self.settle.call(request).await? {
            Outcome::Done => Ok(true),
            Outcome::Lost => Ok(false),
            Outcome::Refused(text) => Err(refusal(&text)),
        }
    }

    fn still_ours(&self) -> Result<(), QueueError> {
        self.reservation.still_ours(FOR_EVER)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.held.remove(&self.reservation);
    }
}

#[async_trait]
impl Settle for Hold {
    async fn confirm(&self) -> Result<(), QueueError> {
        // Nobody takes an entry before its idle time is over.
        let tenure = &self.reservation.tenure;
        self.still_ours()?;
        if tenure.age() < self.shared.options.timing.idle {
            return Ok(());
        }
        let at = Instant::now();
        if self.ask("confirm", Default::default()).await? {
            tenure.confirm(at);
        } else {
            tenure.lost.cancel();
        }
        self.still_ours()
    }

    async fn ack(&self, result: Option<&CheckResult>) -> Result<(), QueueError> {
        let keep = self.shared.options.keep_result > Duration::ZERO;
        let result = result.filter(|_| keep).map(serde_json::to_string);
        let result = result.transpose().map_err(|error| {
            QueueError::Protocol(format!("result of `{}`: {error}", self.reservation.name))
        })?;
        self.run("ack", [result.unwrap_or_default(), String::new()]).await
    }

    async fn retry(&self, why: &str) -> Result<(), QueueError> {
        let Some(task) = &self.reservation.task else {
            return self.archive(why).await;
        };
        let next = Task {
            attempt: task.attempt.saturating_add(1),
            ..Task::clone(task)
        };
        let fields = fields::write(self.shared.options.format, &next, &self.reservation.name)?;
        let fields = serde_json::Value::from(fields).to_string();
        let pause = ms(retry_pause(task.attempt));
        self.run("retry", [fields, pause.to_string()]).await
    }

    async fn archive(&self, why: &str) -> Result<(), QueueError> {
        self.run("archive", [kept(why).to_owned(), String::new()]).await
    }

    async fn requeue(&self) -> Result<(), QueueError> {
        self.run("requeue", Default::default()).await?;
        self.shared.look.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn lost(&self) -> &CancellationToken {
        &self.reservation.tenure.lost
    }

    fn cancelled(&self) -> &CancellationToken {
        &self.reservation.tenure.cancelled
    }
}
