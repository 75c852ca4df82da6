//! Looking into Asynq's queues, as its Inspector does.

use super::{
    Asynq, Shared,
    keys::{self, Keys},
    message::ServerInfo,
    payload,
    reserve::NO_TEXT,
    scripts,
};
use crate::{
    Counts, DeadLetter, Inspect, KeptResult, QueueError, QueueStats, TaskState, TaskStatus, WorkerPresence,
    inspect::milliseconds, script::Call,
};
use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;
use lapwing_model::Clock;
use prost::Message;
use serde_json::Value;
use std::{sync::atomic::Ordering, time::Duration};

/// Most dead letters listed at once.
const LISTED: usize = 1000;

impl Shared {
    /// The keys of a queue that is served.
    fn keys(&self, queue: &str) -> Result<&Keys, QueueError> {
        let mut served = self.queues.iter().map(|queue| &queue.keys);
        served.find(|keys| keys.queue == queue).ok_or_else(|| {
            let names = self.queues.iter().map(|queue| format!("`{}`", queue.keys.queue));
            let names = names.collect::<Vec<_>>().join(", ");
            QueueError::Unfit(format!("no queue `{queue}` here; there are {names}"))
        })
    }

    fn nanoseconds(&self) -> i64 {
        i64::try_from(self.clock.now().as_nanosecond()).unwrap_or(i64::MAX)
    }

    /// Reads a task; nothing when there is none.
    async fn look(&self, queue: &str, id: &str) -> Result<Option<Look>, QueueError> {
        let keys = self.keys(queue)?;
        let mut call = Call::new(&scripts::LOOK, &[&keys.task(id), &keys.scheduled, &keys.retry]);
        let found: Vec<Vec<u8>> = self.link.script(call.arg(id)).await?;
        let Ok([state, message, since, due, result]) = <[Vec<u8>; 5]>::try_from(found) else {
            return Ok(None);
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Some(Look {
            state: text(&state),
            since: text(&since),
            due: text(&due),
            message,
            result,
        }))
    }

    /// A server's description, and how long it lasts yet, in ms.
    async fn server(&self, server: &str) -> Result<(Option<Vec<u8>>, i64), QueueError> {
        let mut pipe = redis::pipe();
        self.link.pipeline(pipe.get(server).pttl(server)).await
    }

    async fn unarchive(&self, queue: &str, id: &str, again: Option<i64>) -> Result<bool, QueueError> {
        let keys = self.keys(queue)?;
        let again = again.map(|now| now.to_string()).unwrap_or_default();
        let places = [&*keys.task(id), &keys.archived, &keys.pending];
        let mut call = Call::new(&scripts::UNARCHIVE, &places);
        self.link.script(call.arg(id).arg(again)).await
    }
}

/// A task as it lies there.
struct Look {
    state: String,
    message: Vec<u8>,
    since: String,
    due: String,
    result: Vec<u8>,
}

impl Look {
    fn state(&self) -> TaskState {
        match self.state.as_str() {
            "pending" => TaskState::Pending,
            "active" => TaskState::Active,
            "retry" => TaskState::Retry,
            "archived" => TaskState::Archived,
            "completed" => TaskState::Completed,
            // Of a group, it waits for the others.
            _ => TaskState::Scheduled,
        }
    }

    fn status(self, id: &str) -> TaskStatus {
        let state = self.state();
        let known = payload::describe(&self.message);
        let message = known.as_ref().map(|known| &known.envelope.message);
        let failed = message.map_or(0, payload::attempts);
        let ended = matches!(
            state,
            TaskState::Active | TaskState::Completed | TaskState::Archived
        );
        let from_queue = match state {
            TaskState::Scheduled | TaskState::Retry => seconds(&self.due),
            _ => nanoseconds(&self.since),
        };
        TaskStatus {
            id: id.to_owned(),
            state,
            attempts: failed.saturating_add(u32::from(ended)),
            why: message
                .map(|message| message.error_msg.clone())
                .filter(|why| !why.is_empty()),
            due: from_queue.or_else(|| known.as_ref()?.due),
            kind: known.map(|known| known.kind),
        }
    }
}

fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, _) = text.split_once('.').unwrap_or((text, ""));
    Timestamp::from_second(whole.parse().ok()?).ok()
}

fn nanoseconds(text: &str) -> Option<Timestamp> {
    Timestamp::from_nanosecond(text.parse().ok()?).ok()
}

#[async_trait]
impl Inspect for Asynq {
    fn dialect(&self) -> &'static str {
        "asynq"
    }

    fn counts(&self) -> Counts {
        let counts = &self.shared.counts;
        Counts {
            archived: counts.archived.load(Ordering::Relaxed),
            recovered: counts.recovered.load(Ordering::Relaxed),
        }
    }

    fn queues(&self) -> Vec<String> {
        let queues = self.shared.queues.iter();
        queues.map(|queue| queue.keys.queue.clone()).collect()
    }

    async fn stats(&self, queue: &str) -> Result<QueueStats, QueueError> {
        let keys = self.shared.keys(queue)?;
        let counted = [
            &*keys.pending,
            &keys.active,
            &keys.scheduled,
            &keys.retry,
            &keys.archived,
            &keys.completed,
            &keys.processed,
            &keys.failed,
            &keys.paused,
        ];
        let mut call = Call::new(&scripts::STATS, &counted);
        let (sizes, oldest, paused): ([u64; 8], Vec<u8>, bool) =
            self.shared.link.script(call.arg(&keys.tasks)).await?;
        let [
            pending,
            active,
            scheduled,
            retry,
            archived,
            completed,
            processed,
            failed,
        ] = sizes;
        let age = |since: Timestamp| Duration::try_from(self.shared.clock.now().duration_since(since));
        Ok(QueueStats {
            pending,
            active,
            scheduled,
            retry,
            archived,
            completed,
            processed: Some(processed),
            failed: Some(failed),
            lag: pending,
            oldest_ms: nanoseconds(&String::from_utf8_lossy(&oldest))
                .map(|since| milliseconds(age(since).unwrap_or_default())),
            paused,
        })
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), QueueError> {
        let key = &self.shared.keys(queue)?.paused;
        let now = self.shared.clock.seconds_in(Duration::ZERO);
        let mut command = if paused {
            redis::cmd("SETNX")
        } else {
            redis::cmd("DEL")
        };
        command.arg(key);
        if paused {
            command.arg(now);
        }
        self.shared.link.command(&command).await
    }

    async fn status(&self, queue: &str, id: &str) -> Result<Option<TaskStatus>, QueueError> {
        let found = self.shared.look(queue, id).await?;
        Ok(found.map(|look| look.status(id)))
    }

    /// Of a dead letter, the reason.
    async fn result(&self, queue: &str, id: &str) -> Result<Option<KeptResult>, QueueError> {
        let Some(look) = self.shared.look(queue, id).await? else {
            return Ok(None);
        };
        Ok(match look.state() {
            TaskState::Completed if !look.result.is_empty() => {
                let text = || String::from_utf8_lossy(&look.result).into_owned();
                let value = serde_json::from_slice(&look.result).unwrap_or_else(|_| Value::String(text()));
                Some(KeptResult { ok: true, value })
            }
            TaskState::Archived => Some(KeptResult {
                ok: false,
                value: Value::String(look.status(id).why.unwrap_or_default()),
            }),
            _ => None,
        })
    }

    async fn cancel(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        let keys = self.shared.keys(queue)?;
        let places = [&*keys.task(id), &keys.pending, &keys.scheduled, &keys.retry];
        let mut call = Call::new(&scripts::WITHDRAW, &places);
        match self.shared.link.script(call.arg(id).arg(&keys.groups)).await? {
            0 => Ok(false),
            1 => Ok(true),
            _ => {
                let mut command = redis::cmd("PUBLISH");
                self.shared
                    .link
                    .command::<()>(command.arg(keys::CANCEL).arg(id))
                    .await?;
                Ok(true)
            }
        }
    }

    async fn dead(&self, queue: &str, offset: usize, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let keys = self.shared.keys(queue)?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let last = offset.saturating_add(limit.min(LISTED) - 1);
        let mut call = Call::new(&scripts::DEAD, &[&keys.archived]);
        call.arg(&keys.tasks).arg(offset).arg(last);
        let found: Vec<(Vec<u8>, String, Vec<u8>)> = self.shared.link.script(&call).await?;
        let letter = |(id, at, message): (Vec<u8>, String, Vec<u8>)| {
            let known = payload::describe(&message);
            let why = known
                .as_ref()
                .map(|known| known.envelope.message.error_msg.clone());
            let why = match str::from_utf8(&id) {
                Ok(_) => why.unwrap_or_default(),
                Err(_) => NO_TEXT.to_owned(),
            };
            DeadLetter {
                id: String::from_utf8_lossy(&id).into_owned(),
                at: seconds(&at),
                bytes: message.len(),
                why,
                kind: known.map(|known| known.kind),
            }
        };
        Ok(found.into_iter().map(letter).collect())
    }

    async fn revive(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        let now = self.shared.nanoseconds();
        self.shared.unarchive(queue, id, Some(now)).await
    }

    async fn discard(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        self.shared.unarchive(queue, id, None).await
    }

    /// Those that serve any of our queues, stock ones among them.
    async fn workers(&self) -> Result<Vec<WorkerPresence>, QueueError> {
        let shared = &self.shared;
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(keys::SERVERS);
        command.arg(shared.clock.seconds_in(Duration::ZERO)).arg("+inf");
        let servers: Vec<Vec<u8>> = shared.link.command(&command).await?;
        let servers = servers
            .into_iter()
            .filter_map(|server| String::from_utf8(server).ok());
        let servers: Vec<String> = servers.collect();
        // On a cluster, each may be of another slot.
        let answers: Vec<_> = servers.iter().map(|server| shared.server(server)).collect();
        let mut workers = Vec::new();
        for (server, answer) in servers.iter().zip(join_all(answers).await) {
            let (info, left) = answer?;
            let Some(info) = info.and_then(|info| ServerInfo::decode(&*info).ok()) else {
                continue;
            };
            if info.queues.keys().any(|queue| shared.keys(queue).is_ok()) {
                workers.push(present(
                    server,
                    info,
                    u64::try_from(left).unwrap_or_default(),
                    shared,
                ));
            }
        }
        Ok(workers)
    }
}

fn present(server: &str, info: ServerInfo, left_ms: u64, shared: &Shared) -> WorkerPresence {
    let name = server.strip_prefix(keys::SERVERS).unwrap_or(server);
    let started = info.start_time;
    WorkerPresence {
        name: name.trim_matches([':', '{', '}']).to_owned(),
        host: Some(info.host),
        pid: u32::try_from(info.pid).ok(),
        queues: info.queues.into_keys().collect(),
        concurrency: u64::try_from(info.concurrency).ok(),
        active: u64::try_from(info.active_worker_count).unwrap_or_default(),
        started_at: started.and_then(|start| Timestamp::new(start.seconds, start.nanos).ok()),
        idle_ms: Some(milliseconds(shared.options.timing.presence).saturating_sub(left_ms)),
    }
}
