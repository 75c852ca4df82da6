//! Showing this worker: to stock arq's `--check` by the health-check key, to our own tools by a list of workers.

use super::Shared;
use crate::{QueueError, WorkerPresence, inspect::milliseconds, link::Link};
use jiff::Timestamp;
use lapwing_model::Clock;
use redis::{cmd, pipe};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// What a worker says of itself on our list.
#[derive(Debug, Serialize, Deserialize)]
struct Info {
    host: String,
    pid: u32,
    concurrency: u64,
    active: u64,
    started: Timestamp,
}

/// When to show what.
#[derive(Debug, Default)]
pub(super) struct Presence {
    next_check: Option<Instant>,
}

impl Presence {
    /// Shows this worker to last three beats, and for stock arq as often as configured.
    pub(super) async fn write(&mut self, shared: &Shared, link: &Link) -> Result<(), QueueError> {
        let (options, keys) = (&shared.options, &shared.keys);
        let now = shared.clock.now();
        let active = shared.held.len();
        let mut pipe = pipe();
        pipe.atomic();
        let check = self.next_check.is_none_or(|at| Instant::now() >= at);
        if check {
            let queued: u64 = link.command(cmd("ZCARD").arg(&keys.queue)).await?;
            let text = health(shared, now, active, queued);
            // At least until the beat after the next: the key must not run out beside a live worker.
            let lasting =
                (options.health_check_interval + Duration::from_secs(1)).max(options.timing.beat * 3);
            let lasting = milliseconds(lasting);
            for key in [&health_key(shared), &keys.health] {
                pipe.cmd("PSETEX").arg(key).arg(lasting).arg(&text).ignore();
            }
        }
        let info = Info {
            host: options.host.clone(),
            pid: options.pid,
            concurrency: options.concurrency as u64,
            active: active as u64,
            started: shared.started,
        };
        let info = serde_json::to_string(&info).unwrap_or_default();
        pipe.cmd("ZADD")
            .arg(&keys.workers)
            .arg(now.as_millisecond())
            .arg(&shared.name)
            .ignore();
        pipe.cmd("HSET")
            .arg(&keys.worker_infos)
            .arg(&shared.name)
            .arg(info)
            .ignore();
        for key in [&keys.workers, &keys.worker_infos] {
            pipe.cmd("PEXPIRE").arg(key).arg(lasting(shared)).ignore();
        }
        let () = link.pipeline(&pipe).await?;
        if check {
            self.next_check = Some(Instant::now() + options.health_check_interval / 2);
        }
        forget_the_gone(shared, link, now).await
    }
}

/// As stock workers write it (source: `record_health` in `arq/worker.py` of arq 0.28), except for the clock.
fn health(shared: &Shared, now: Timestamp, ongoing: usize, queued: u64) -> String {
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let counts = &shared.counts;
    format!(
        "{} j_complete={} j_failed={} j_retried={} j_ongoing={ongoing} queued={queued}",
        now.strftime("%b-%d %H:%M:%S"),
        count(&counts.complete),
        count(&counts.failed),
        count(&counts.retried),
    )
}

fn health_key(shared: &Shared) -> String {
    let given = shared.options.health_check_key.clone();
    given.unwrap_or_else(|| format!("{}:health-check", shared.keys.queue))
}

/// How long a worker counts as live that says nothing, in milliseconds.
fn lasting(shared: &Shared) -> i64 {
    let beats = shared.options.timing.beat * 3;
    i64::try_from(beats.as_millis()).unwrap_or(i64::MAX)
}

async fn forget_the_gone(shared: &Shared, link: &Link, now: Timestamp) -> Result<(), QueueError> {
    let keys = &shared.keys;
    let mut old = cmd("ZRANGEBYSCORE");
    old.arg(&keys.workers)
        .arg("-inf")
        .arg(now.as_millisecond() - lasting(shared));
    let gone: Vec<String> = link.command(&old).await?;
    if gone.is_empty() {
        return Ok(());
    }
    let mut pipe = pipe();
    pipe.cmd("ZREM").arg(&keys.workers).arg(&gone).ignore();
    pipe.cmd("HDEL").arg(&keys.worker_infos).arg(&gone).ignore();
    link.pipeline(&pipe).await
}

/// Takes this worker off, as far as that can be done now.
pub(super) async fn clear(shared: &Shared) {
    let keys = &shared.keys;
    let mut pipe = pipe();
    pipe.cmd("ZREM").arg(&keys.workers).arg(&shared.name).ignore();
    pipe.cmd("HDEL")
        .arg(&keys.worker_infos)
        .arg(&shared.name)
        .ignore();
    pipe.cmd("ZCARD").arg(&keys.workers);
    let cleared = async {
        let (others,): (u64,) = shared.link.pipeline(&pipe).await?;
        // Stock workers do so whoever else lives; another of ours would not be seen until its next sign.
        if others == 0 {
            let () = shared.link.command(cmd("DEL").arg(health_key(shared))).await?;
        }
        Ok::<_, QueueError>(())
    };
    if let Err(error) = cleared.await {
        tracing::debug!("presence not cleared, it runs out by itself: {error}");
    }
}

/// When each was heard of, what they say, and what stands at the health-check key and at our copy of it.
type Listed = (
    Vec<(String, f64)>,
    HashMap<String, String>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

/// The live workers: ours, and the stock worker that wrote the health-check key last.
pub(super) async fn workers(shared: &Shared) -> Result<Vec<WorkerPresence>, QueueError> {
    let (keys, now) = (&shared.keys, shared.now());
    let mut pipe = pipe();
    pipe.cmd("ZRANGE")
        .arg(&keys.workers)
        .arg(0)
        .arg(-1)
        .arg("WITHSCORES");
    pipe.cmd("HGETALL").arg(&keys.worker_infos);
    pipe.cmd("GET").arg(health_key(shared));
    pipe.cmd("GET").arg(&keys.health);
    let (heard, infos, health, ours): Listed = shared.link.pipeline(&pipe).await?;
    let mut workers = Vec::new();
    for (name, at) in heard {
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this age")]
        let idle = now - at as i64;
        let Some(info) = infos
            .get(&name)
            .and_then(|info| serde_json::from_str::<Info>(info).ok())
            .filter(|_| idle <= lasting(shared))
        else {
            continue;
        };
        workers.push(WorkerPresence {
            name,
            host: Some(info.host),
            pid: Some(info.pid),
            queues: vec![keys.queue.clone()],
            concurrency: Some(info.concurrency),
            active: info.active,
            started_at: Some(info.started),
            idle_ms: Some(idle.max(0).unsigned_abs()),
        });
    }
    if let Some(health) = health.filter(|health| ours.as_ref() != Some(health)) {
        let ongoing = String::from_utf8_lossy(&health)
            .split(' ')
            .find_map(|word| word.strip_prefix("j_ongoing=")?.parse().ok());
        workers.push(WorkerPresence {
            name: health_key(shared),
            host: None,
            pid: None,
            queues: vec![keys.queue.clone()],
            concurrency: None,
            active: ongoing.unwrap_or_default(),
            started_at: None,
            idle_ms: None,
        });
    }
    Ok(workers)
}
