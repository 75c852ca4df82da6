//! Looking into a stream, and the operator's hand in it.

use super::{
    Streams,
    fields::{Entry, Fields, added_at, parts},
    keys::PARKED,
    ms, scripts,
};
use crate::{
    Counts, DeadLetter, Inspect, KeptResult, QueueError, QueueStats, TaskState, TaskStatus, WorkerPresence,
    link::Link, script::Call,
};
use async_trait::async_trait;
use jiff::Timestamp;
use redis::{Cmd, Value, cmd, from_redis_value};
use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

/// How long a request to cancel stands.
const CANCEL: Duration = Duration::from_secs(3600);
/// Dead letters searched for a task's name, the newest first.
const SEARCHED: usize = 1000;

impl Streams {
    fn link(&self) -> &Link {
        &self.shared.link
    }

    fn named(&self, queue: &str) -> Result<(), QueueError> {
        let stream = &self.shared.options.stream;
        if queue == stream {
            return Ok(());
        }
        Err(QueueError::Unfit(format!(
            "no queue `{queue}` here; there is `{stream}`"
        )))
    }

    /// Entries of a stream.
    async fn entries(&self, command: &Cmd) -> Result<Vec<Entry>, QueueError> {
        let found: Vec<(String, Value)> = self.link().command(command).await?;
        let entry = |(id, fields)| Entry {
            id,
            deliveries: 1,
            fields: Fields::read(fields).unwrap_or_default(),
        };
        Ok(found.into_iter().map(entry).collect())
    }

    async fn entry(&self, stream: &str, id: &str) -> Result<Option<Entry>, QueueError> {
        let found = self.entries(cmd("XRANGE").arg(stream).arg(id).arg(id)).await?;
        Ok(found.into_iter().next())
    }

    /// Dead letters, newest first.
    async fn letters(&self, most: usize) -> Result<Vec<Entry>, QueueError> {
        let mut range = cmd("XREVRANGE");
        range.arg(&self.shared.keys.dead).arg("+").arg("-");
        self.entries(range.arg("COUNT").arg(most)).await
    }

    /// A task that waits for its time.
    async fn later(&self, name: &str, where_: &str) -> Result<Option<TaskStatus>, QueueError> {
        let keys = &self.shared.keys;
        let (state, zset) = match where_ {
            "retry" => (TaskState::Retry, &keys.retry),
            _ => (TaskState::Scheduled, &keys.scheduled),
        };
        let mut pipe = redis::pipe();
        pipe.cmd("ZSCORE").arg(zset).arg(name);
        pipe.cmd("HGET").arg(&keys.later).arg(name);
        let (due, fields): (Option<f64>, Option<Vec<u8>>) = self.link().pipeline(&pipe).await?;
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds fit 53 bits")]
        let due = due.and_then(|due| Timestamp::from_millisecond(due as i64).ok());
        let Some(due) = due else { return Ok(None) };
        let flat: Vec<String> = fields
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        let pairs = flat.chunks_exact(2).filter_map(|pair| match pair {
            [field, value] => Some((field.clone(), value.clone().into_bytes())),
            _ => None,
        });
        let entry = Entry {
            id: "0-0".to_owned(),
            deliveries: 1,
            fields: Fields(pairs.collect()),
        };
        Ok(Some(TaskStatus {
            due: Some(due),
            ..self.told(name, state, &entry)
        }))
    }

    /// What an entry tells of its task.
    fn told(&self, name: &str, state: TaskState, entry: &Entry) -> TaskStatus {
        let task = entry.task(self.shared.options.format).ok().map(|(_, task)| task);
        TaskStatus {
            id: name.to_owned(),
            state,
            attempts: task.as_ref().map_or(1, |task| task.attempt),
            why: None,
            due: task
                .as_ref()
                .and_then(|task| task.scheduled_at)
                .or_else(|| added_at(&entry.id)),
            kind: task.map(|task| task.monitor.kind),
        }
    }

    /// A task whose entry is on the stream.
    async fn waiting(&self, name: &str, id: &str) -> Result<Option<TaskStatus>, QueueError> {
        let Some(entry) = self.entry(&self.shared.keys.stream, id).await? else {
            return Ok(None);
        };
        let mut pending = cmd("XPENDING");
        pending
            .arg(&self.shared.keys.stream)
            .arg(&self.shared.options.group);
        let found = self
            .link()
            .command(pending.arg(id).arg(id).arg(1))
            .await
            .or_else(none_without_group)?;
        let found: Vec<(String, String, u64, u64)> = found;
        let state = match found.first() {
            Some((_, owner, ..)) if owner != PARKED => TaskState::Active,
            _ => TaskState::Pending,
        };
        Ok(Some(self.told(name, state, &entry)))
    }

    /// A dead letter as tools show it.
    fn letter(&self, entry: &Entry) -> DeadLetter {
        let text = |field| entry.fields.text(field).ok().flatten().unwrap_or_default();
        let payload = payload(entry);
        let bytes = payload.fields.0.iter().map(|(_, value)| value.len()).sum();
        let task = payload.task(self.shared.options.format).ok();
        DeadLetter {
            id: entry.id.clone(),
            kind: task.map(|(_, task)| task.monitor.kind),
            why: text("reason").to_owned(),
            at: added_at(&entry.id),
            bytes,
        }
    }
}

/// The entry that a dead letter was.
fn payload(letter: &Entry) -> Entry {
    let text = |field| letter.fields.text(field).ok().flatten();
    let fields = letter.fields.0.iter().filter_map(|(field, value)| {
        let field = field.strip_prefix("payload:")?;
        Some((field.to_owned(), value.clone()))
    });
    Entry {
        id: text("id").unwrap_or(&letter.id).to_owned(),
        deliveries: 1,
        fields: Fields(fields.collect()),
    }
}

fn none_without_group<T>(error: QueueError) -> Result<Vec<T>, QueueError> {
    match &error {
        QueueError::Protocol(text) if text.contains("NOGROUP") || text.contains("no such key") => {
            Ok(Vec::new())
        }
        _ => Err(error),
    }
}

#[async_trait]
impl Inspect for Streams {
    fn dialect(&self) -> &'static str {
        match self.shared.options.format {
            super::Format::Lapwing => "streams",
            super::Format::Uptime => "uptime-stream",
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            archived: self.shared.archived.load(Ordering::Relaxed),
            recovered: self.shared.recovered.load(Ordering::Relaxed),
        }
    }

    fn queues(&self) -> Vec<String> {
        vec![self.shared.options.stream.clone()]
    }

    async fn stats(&self, queue: &str) -> Result<QueueStats, QueueError> {
        self.named(queue)?;
        let keys = &self.shared.keys;
        let mut call = Call::new(
            &scripts::STATS,
            &[
                &keys.stream,
                &keys.dead,
                &keys.scheduled,
                &keys.retry,
                &keys.paused,
                &keys.processed,
                &keys.failed,
            ],
        );
        call.arg(&self.shared.options.group).arg(PARKED);
        let numbers: Vec<i64> = self.link().script(&call).await?;
        let number = |index: usize| numbers.get(index).copied().unwrap_or_default();
        let count = |index| u64::try_from(number(index)).unwrap_or_default();
        Ok(QueueStats {
            pending: count(0) + count(2),
            active: count(1).saturating_sub(count(2)),
            scheduled: count(3),
            retry: count(4),
            archived: count(5),
            // Each is a key that runs out by itself; counting them would mean looking at every key.
            completed: 0,
            processed: Some(count(7)),
            failed: Some(count(8)),
            lag: count(0),
            oldest_ms: u64::try_from(number(9)).ok(),
            paused: number(6) != 0,
        })
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), QueueError> {
        self.named(queue)?;
        let key = &self.shared.keys.paused;
        let mut command = cmd(if paused { "SET" } else { "DEL" });
        command.arg(key);
        if paused {
            command.arg(1);
        }
        self.link().command(&command).await
    }

    async fn status(&self, queue: &str, id: &str) -> Result<Option<TaskStatus>, QueueError> {
        self.named(queue)?;
        let keys = &self.shared.keys;
        let mut pipe = redis::pipe();
        pipe.cmd("GET").arg(keys.lock(id));
        pipe.cmd("EXISTS").arg(keys.result(id));
        let (held, kept): (Option<String>, bool) = self.link().pipeline(&pipe).await?;
        let found = match held.as_deref() {
            Some(where_ @ ("scheduled" | "retry")) => self.later(id, where_).await?,
            Some(entry) => self.waiting(id, entry).await?,
            // A task that does not name itself goes by its entry.
            None if parts(id).is_some() => self.waiting(id, id).await?,
            None => None,
        };
        if found.is_some() {
            return Ok(found);
        }
        // A result goes with the dead letter of a later run.
        if kept {
            return Ok(Some(TaskStatus::completed(id)));
        }
        let dead = self.letters(SEARCHED).await?;
        let named = |letter: &&Entry| letter.fields.text("task") == Ok(Some(id));
        if let Some(letter) = dead.iter().find(named) {
            let why = letter.fields.text("reason").ok().flatten().map(str::to_owned);
            return Ok(Some(TaskStatus {
                why,
                ..self.told(id, TaskState::Archived, &payload(letter))
            }));
        }
        Ok(None)
    }

    async fn result(&self, queue: &str, id: &str) -> Result<Option<KeptResult>, QueueError> {
        self.named(queue)?;
        let kept: Option<String> = self
            .link()
            .command(cmd("GET").arg(self.shared.keys.result(id)))
            .await?;
        let read = |json: String| {
            let value = serde_json::from_str(&json);
            value.map_err(|error| QueueError::Protocol(format!("kept result of `{id}`: {error}")))
        };
        Ok(kept
            .map(read)
            .transpose()?
            .map(|value| KeptResult { ok: true, value }))
    }

    async fn cancel(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        self.named(queue)?;
        let keys = &self.shared.keys;
        let mut call = Call::new(
            &scripts::CANCEL,
            &[
                &keys.stream,
                &keys.later,
                &keys.scheduled,
                &keys.retry,
                &keys.cancelled,
                &keys.lock(id),
            ],
        );
        call.arg(&self.shared.options.group)
            .arg(PARKED)
            .arg(id)
            .arg(ms(CANCEL));
        call.arg(if parts(id).is_some() { id } else { "" });
        self.link().script(&call).await
    }

    async fn dead(&self, queue: &str, offset: usize, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.named(queue)?;
        let newest = self.letters(offset.saturating_add(limit)).await?;
        Ok(newest
            .iter()
            .skip(offset)
            .map(|entry| self.letter(entry))
            .collect())
    }

    async fn revive(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        self.named(queue)?;
        if parts(id).is_none() {
            return Ok(false);
        }
        let keys = &self.shared.keys;
        let mut call = Call::new(
            &scripts::REVIVE,
            &[&keys.stream, &keys.dead, &keys.scheduled, &keys.retry],
        );
        call.arg(id)
            .arg(&keys.locks)
            .arg(ms(self.shared.options.timing.lock));
        self.link().script(&call).await
    }

    async fn discard(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        self.named(queue)?;
        if parts(id).is_none() {
            return Ok(false);
        }
        self.link()
            .command(cmd("XDEL").arg(&self.shared.keys.dead).arg(id))
            .await
    }

    /// The group's consumers that own something, or were heard of in the last minute.
    async fn workers(&self) -> Result<Vec<WorkerPresence>, QueueError> {
        let mut info = cmd("XINFO");
        info.arg("CONSUMERS").arg(&self.shared.keys.stream);
        let consumers = self
            .link()
            .command(info.arg(&self.shared.options.group))
            .await
            .or_else(none_without_group)?;
        let consumers: Vec<HashMap<String, Value>> = consumers;
        let presence = |info: HashMap<String, Value>| {
            let name: String = from_redis_value(info.get("name")?.clone()).ok()?;
            let number = |field| from_redis_value::<u64>(info.get(field)?.clone()).ok();
            let (active, idle_ms) = (number("pending")?, number("idle"));
            let live = active > 0 || idle_ms.is_some_and(|idle| idle < 60_000);
            if name == PARKED || !live {
                return None;
            }
            let mut words = name.rsplitn(3, ':').skip(1);
            let pid = words.next().and_then(|pid| pid.parse().ok());
            let host = words.next().filter(|_| pid.is_some()).map(str::to_owned);
            Some(WorkerPresence {
                host,
                pid,
                name,
                queues: self.queues(),
                concurrency: None,
                active,
                started_at: None,
                idle_ms,
            })
        };
        Ok(consumers.into_iter().filter_map(presence).collect())
    }
}
