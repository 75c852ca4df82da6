//! Looking into an arq queue, and the operator's hand in it.

use super::{
    Arq, Shared,
    job::{Format, Job},
    keys,
    outcome::Ended,
    presence, scripts,
    value::{Failure, Value},
};
use crate::{
    DeadLetter, Inspect, KeptResult, QueueError, QueueStats, TaskState, TaskStatus, WorkerPresence,
    inspect::milliseconds, script::Call,
};
use async_trait::async_trait;
use jiff::Timestamp;
use redis::{cmd, pipe};

/// Due jobs looked at to count those in work.
const LOOK: usize = 1000;

impl Arq {
    /// What serves the queue called `queue`.
    fn named(&self, queue: &str) -> Result<&Shared, QueueError> {
        let served = &self.shared.keys.queue;
        if queue == served {
            return Ok(&self.shared);
        }
        Err(QueueError::Unfit(format!(
            "no queue `{queue}` here; there is `{served}`"
        )))
    }
}

#[async_trait]
impl Inspect for Arq {
    fn dialect(&self) -> &'static str {
        "arq"
    }

    fn queues(&self) -> Vec<String> {
        vec![self.shared.keys.queue.clone()]
    }

    /// Jobs in work are counted among the first thousand that are due, and jobs there of functions that this worker saw
    /// and does not run are not counted as pending. arq counts neither results nor ends.
    async fn stats(&self, queue: &str) -> Result<QueueStats, QueueError> {
        let shared = self.named(queue)?;
        let keys = &shared.keys;
        let mut call = Call::new(&scripts::STATS, &[&keys.queue, &keys.paused, &keys.dead]);
        {
            let front = shared.front.lock().await;
            call.arg(LOOK).arg(front.functions(shared).1);
        }
        let (due, active, scheduled, oldest, archived, paused): (u64, u64, u64, i64, u64, bool) =
            shared.link.script(&call).await?;
        let pending = due.saturating_sub(active);
        Ok(QueueStats {
            pending,
            active,
            scheduled,
            archived,
            lag: pending,
            oldest_ms: u64::try_from(oldest).ok(),
            paused,
            ..QueueStats::default()
        })
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), QueueError> {
        let shared = self.named(queue)?;
        let command = if paused {
            cmd("SET").arg(&shared.keys.paused).arg(shared.now()).clone()
        } else {
            cmd("DEL").arg(&shared.keys.paused).clone()
        };
        shared.link.command(&command).await
    }

    async fn status(&self, queue: &str, id: &str) -> Result<Option<TaskStatus>, QueueError> {
        let shared = self.named(queue)?;
        let keys = &shared.keys;
        let mut pipe = pipe();
        pipe.atomic();
        pipe.cmd("ZSCORE").arg(&keys.queue).arg(id);
        pipe.cmd("GET").arg(keys::job(id));
        pipe.cmd("EXISTS").arg(format!("arq:in-progress:{id}"));
        pipe.cmd("GET").arg(format!("arq:retry:{id}"));
        pipe.cmd("GET").arg(keys::result(id));
        pipe.cmd("ZSCORE").arg(&keys.dead).arg(id);
        pipe.cmd("HGET").arg(&keys.dead_reasons).arg(id);
        pipe.cmd("HGET").arg(&keys.dead_jobs).arg(id);
        let (score, job, active, tries, result, dead, why, dead_job): Found =
            shared.link.pipeline(&pipe).await?;
        let result = result.filter(|result| is_of(result, queue));
        let told = result.as_deref().and_then(attempts);
        let (state, job) = match (score, dead, result) {
            (Some(_), ..) if active => (TaskState::Active, job),
            (Some(score), ..) if ms(score) > shared.now() => match tries {
                Some(_) => (TaskState::Retry, job),
                None => (TaskState::Scheduled, job),
            },
            (Some(_), ..) => (TaskState::Pending, job),
            (None, Some(_), _) => (TaskState::Archived, dead_job),
            (None, None, Some(result)) => (TaskState::Completed, Some(result)),
            (None, None, None) => return Ok(None),
        };
        Ok(Some(TaskStatus {
            id: id.to_owned(),
            state,
            kind: job.as_deref().and_then(kind),
            attempts: tries.or(told).unwrap_or_default(),
            why: why.filter(|_| state == TaskState::Archived),
            due: score.and_then(|score| Timestamp::from_millisecond(ms(score)).ok()),
        }))
    }

    async fn result(&self, queue: &str, id: &str) -> Result<Option<KeptResult>, QueueError> {
        let shared = self.named(queue)?;
        let bytes: Option<Vec<u8>> = shared.link.command(cmd("GET").arg(keys::result(id))).await?;
        let bytes = bytes.filter(|bytes| is_of(bytes, queue));
        Ok(bytes.map(|bytes| {
            kept(&bytes).unwrap_or_else(|why| KeptResult {
                ok: false,
                value: format!("the result cannot be read: {why}").into(),
            })
        }))
    }

    async fn cancel(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        let shared = self.named(queue)?;
        let bytes: Option<Vec<u8>> = shared.link.command(cmd("GET").arg(keys::job(id))).await?;
        let job = bytes.and_then(|bytes| Job::read(&bytes).ok());
        let now = shared.now();
        let ended = Ended {
            id,
            queue,
            job: job.as_ref(),
            attempt: 0,
            started: now,
            finished: now,
        };
        let mut call = Call::new(&scripts::CANCEL, &[&shared.keys.queue, keys::ABORT]);
        call.arg(id);
        call.arg(ended.write(Err(Failure::Cancelled), shared.options.format))
            .arg(shared.lasting());
        shared.link.script(&call).await
    }

    async fn dead(&self, queue: &str, offset: usize, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let shared = self.named(queue)?;
        let Some(last) = limit.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let keys = &shared.keys;
        let places = [&*keys.dead, &keys.dead_jobs, &keys.dead_reasons];
        let mut call = Call::new(&scripts::DEAD, &places);
        call.arg(offset).arg(offset.saturating_add(last));
        let letters: Vec<(Vec<u8>, f64, Vec<u8>, Vec<u8>)> = shared.link.script(&call).await?;
        let letter = |(id, at, why, job): (Vec<u8>, f64, Vec<u8>, Vec<u8>)| DeadLetter {
            id: String::from_utf8_lossy(&id).into_owned(),
            kind: kind(&job),
            why: String::from_utf8_lossy(&why).into_owned(),
            at: Timestamp::from_millisecond(ms(at)).ok(),
            bytes: job.len(),
        };
        Ok(letters.into_iter().map(letter).collect())
    }

    async fn revive(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        let shared = self.named(queue)?;
        shared
            .raise(id, &milliseconds(shared.options.expires).to_string())
            .await
    }

    async fn discard(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        let shared = self.named(queue)?;
        shared.raise(id, "").await
    }

    async fn workers(&self) -> Result<Vec<WorkerPresence>, QueueError> {
        presence::workers(&self.shared).await
    }
}

impl Shared {
    /// Puts a dead letter back, to expire after so many ms, or discards it.
    async fn raise(&self, id: &str, expires_ms: &str) -> Result<bool, QueueError> {
        let keys = &self.keys;
        let places = [
            &*keys.dead,
            &keys.dead_jobs,
            &keys.dead_reasons,
            &keys.queue,
            keys::ABORT,
        ];
        let mut call = Call::new(&scripts::REVIVE, &places);
        self.link.script(call.arg(id).arg(expires_ms)).await
    }
}

/// score, job, in progress, tries, result, died at, of what, job of the dead letter
type Found = (
    Option<f64>,
    Option<Vec<u8>>,
    bool,
    Option<u32>,
    Option<Vec<u8>>,
    Option<f64>,
    Option<String>,
    Option<Vec<u8>>,
);

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of this age")]
fn ms(score: f64) -> i64 {
    score as i64
}

/// The kind of a job; a result echoes its job.
fn kind(job: &[u8]) -> Option<String> {
    Job::read(job).ok()?.kind().map(str::to_owned)
}

/// Whether a result is of this queue, as far as it says: results of all queues stand side by side.
fn is_of(result: &[u8], queue: &str) -> bool {
    let Ok((_, result)) = Format::read(result) else {
        return true;
    };
    result
        .get("q")
        .and_then(Value::as_str)
        .is_none_or(|name| name == queue)
}

/// How often the job of a result was tried.
fn attempts(result: &[u8]) -> Option<u32> {
    let (_, result) = Format::read(result).ok()?;
    u32::try_from(result.get("t")?.as_int()?).ok()
}

fn kept(bytes: &[u8]) -> Result<KeptResult, String> {
    let (_, result) = Format::read(bytes)?;
    let ok = matches!(result.get("s"), Some(Value::Bool(true)));
    let value = match result.get("r") {
        // Exceptions, mostly.
        Some(Value::Object { name, text }) => text.as_ref().unwrap_or(name).clone().into(),
        Some(value) => value.to_json("result").unwrap_or_else(Into::into),
        None => serde_json::Value::Null,
    };
    Ok(KeptResult { ok, value })
}
