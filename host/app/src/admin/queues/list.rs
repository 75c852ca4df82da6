//! `GET /api/v1/queues`.

use crate::{
    admin::{State, openapi::refer},
    queues::Open,
    tally::Counts,
};
use axum::{Json, extract};
use lapwing_queue::QueueStats;
use schemars::JsonSchema;
use serde::Serialize;

/// A pending task that has been due for longer makes a backlog, in milliseconds.
const BACKLOG_MS: u64 = 10_000;

/// The queues that this process serves.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QueueList {
    queues: Vec<QueueEntry>,
}

/// One queue.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QueueEntry {
    /// Its name.
    name: String,
    /// How it is spoken: `asynq`, `streams`, `uptime-stream`, `arq` or `memory`.
    dialect: &'static str,
    /// `worker offline`: this worker has not polled its queues within the liveness time; `paused`; `backlog`: a task has
    /// been due for more than ten seconds; `no tasks defined`: there is none, and never was one; else `ready`. A queue that
    /// cannot be asked counts as offline.
    state: &'static str,
    /// Why the queue could not be asked; then all that follows of it is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// What is where.
    #[serde(flatten)]
    stats: QueueStats,
    /// Tasks that this process ended in a second, over the last minute or since its start.
    rate: f64,
    /// How many of its tasks this process runs at once.
    max_jobs: usize,
    /// What this process did since its start.
    here: Counts,
}

/// What waits, what runs and what was given up, of every queue.
#[utoipa::path(get, path = "/api/v1/queues", tag = "queues", responses(
    (status = 200, description = "Every queue of this process", body = ref(refer::<QueueList>()))
))]
pub(crate) async fn list(extract::State(state): extract::State<State>) -> Json<QueueList> {
    let queues = state.queues.borrow().clone();
    let alive = state.pulse.age() <= state.liveness;
    let entries = queues.iter().map(|open| entry(open, alive));
    let queues = futures_util::future::join_all(entries).await;
    Json(QueueList { queues })
}

async fn entry(open: &Open, alive: bool) -> QueueEntry {
    let asked = open.dialect.stats(&open.settings.name).await;
    let (stats, trouble) = match asked {
        Ok(stats) => (stats, None),
        Err(error) => (
            QueueStats::default(),
            Some(format!("{:#}", anyhow::Error::from(error))),
        ),
    };
    let here = open.tally.counts();
    QueueEntry {
        name: open.settings.name.clone(),
        dialect: open.dialect.dialect(),
        state: word(alive && trouble.is_none(), &stats, &here),
        trouble,
        stats,
        rate: open.tally.rate(),
        max_jobs: open.settings.max_jobs,
        here,
    }
}

fn word(alive: bool, stats: &QueueStats, here: &Counts) -> &'static str {
    let there =
        stats.pending + stats.active + stats.scheduled + stats.retry + stats.archived + stats.completed;
    let ever = there + stats.processed.unwrap_or_default() + here.complete + here.failed + here.retried;
    match () {
        () if !alive => "worker offline",
        () if stats.paused => "paused",
        () if stats.oldest_ms.is_some_and(|age| age > BACKLOG_MS) => "backlog",
        () if ever == 0 => "no tasks defined",
        () => "ready",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_word_wins() {
        let none = crate::tally::Tally::default().counts();
        let mut stats = QueueStats::default();
        assert_eq!(word(true, &stats, &none), "no tasks defined");
        stats.pending = 1;
        assert_eq!(word(true, &stats, &none), "ready");
        stats.oldest_ms = Some(10_001);
        assert_eq!(word(true, &stats, &none), "backlog");
        stats.paused = true;
        assert_eq!(word(true, &stats, &none), "paused");
        assert_eq!(word(false, &stats, &none), "worker offline");
    }
}
