//! Showing this worker to Asynq's tools: the CLI, asynqmon, the Inspector.
//!
//! Nothing of Asynq depends on it; Lapwing's own recovery asks it whether the owner of a task is alive.

use super::{
    Priority, Shared,
    held::Reservation,
    keys,
    message::{ServerInfo, WorkerInfo},
};
use crate::{QueueError, clock::later, inspect::milliseconds};
use prost::Message;
use redis::{cmd, pipe};
use std::sync::atomic::Ordering;

/// Tasks shown by one command.
const FIELDS: usize = 500;

/// Who this process is on the presence list.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) host: String,
    pub(super) pid: i32,
    pub(super) server_id: String,
    /// `host:pid:uuid`.
    pub(super) name: String,
}

impl Identity {
    pub(super) fn new(host: &str, pid: u32) -> Self {
        let server_id = uuid::Uuid::new_v4().to_string();
        let pid = i32::try_from(pid).unwrap_or_default();
        Self {
            host: host.to_owned(),
            pid,
            name: format!("{host}:{pid}:{server_id}"),
            server_id,
        }
    }
}

/// Writes the server's entry and the tasks it works at, to last `timing.presence`. On a cluster the two lists of all
/// servers are of one slot each, and the server's own keys share one.
pub(super) async fn write(shared: &Shared) -> Result<(), QueueError> {
    let (identity, lasting) = (&shared.identity, shared.options.timing.presence);
    let (server, workers) = (keys::server(&identity.name), keys::workers(&identity.name));
    let end = shared.clock.seconds_in(lasting);
    let held = shared.held.all();
    let lasting_ms = milliseconds(lasting);
    let mut pipe = pipe();
    let info = server_info(shared, held.len()).encode_to_vec();
    pipe.pset_ex(&server, info, lasting_ms).ignore();
    pipe.del(&workers).ignore();
    for chunk in held.chunks(FIELDS) {
        let fields: Vec<_> = chunk
            .iter()
            .map(|held| (&held.id, worker_info(shared, held)))
            .collect();
        pipe.hset_multiple(&workers, &fields).ignore();
    }
    if !held.is_empty() {
        // So that nobody sees it half written.
        pipe.atomic();
        pipe.cmd("PEXPIRE").arg(&workers).arg(lasting_ms).ignore();
    }
    let mut outcome = shared.keeper.pipeline(&pipe).await;
    if outcome.is_err() && !shared.server.is_cluster() {
        return outcome;
    }
    for (list, key) in [(keys::SERVERS, &server), (keys::WORKERS, &workers)] {
        let mut listed = cmd("ZADD");
        let added = shared.keeper.command(listed.arg(list).arg(end).arg(key)).await;
        outcome = outcome.and(added);
    }
    outcome
}

fn worker_info(shared: &Shared, held: &Reservation) -> Vec<u8> {
    let (identity, message) = (&shared.identity, &held.envelope.message);
    let info = WorkerInfo {
        host: identity.host.clone(),
        pid: identity.pid,
        server_id: identity.server_id.clone(),
        task_id: held.id.clone(),
        task_type: message.kind.clone(),
        task_payload: Vec::new(),
        queue: message.queue.clone(),
        start_time: Some(held.started.into()),
        deadline: Some(later(held.started, held.limit).into()),
    };
    info.encode_to_vec()
}

/// Takes this worker off the list.
pub(super) async fn clear(shared: &Shared) -> Result<(), QueueError> {
    let (server, workers) = (
        keys::server(&shared.identity.name),
        keys::workers(&shared.identity.name),
    );
    // Each tried, whatever became of the others.
    let mut gone = cmd("DEL");
    let mut outcome = shared.keeper.command(gone.arg(&server).arg(&workers)).await;
    for (list, key) in [(keys::SERVERS, &server), (keys::WORKERS, &workers)] {
        let mut listed = cmd("ZREM");
        let removed = shared.keeper.command(listed.arg(list).arg(key)).await;
        outcome = outcome.and(removed);
    }
    outcome
}

fn server_info(shared: &Shared, active: usize) -> ServerInfo {
    let Identity {
        host, pid, server_id, ..
    } = shared.identity.clone();
    let weight = |weight: u32| i32::try_from(weight).unwrap_or(i32::MAX);
    let queues = shared
        .queues
        .iter()
        .map(|queue| (queue.keys.queue.clone(), weight(queue.weight)))
        .collect();
    let stopped = shared.stopped.load(Ordering::Relaxed);
    ServerInfo {
        host,
        pid,
        server_id,
        concurrency: i32::try_from(shared.options.concurrency).unwrap_or(i32::MAX),
        queues,
        strict_priority: shared.options.priority == Priority::Strict,
        status: if stopped { "stopped" } else { "active" }.to_owned(),
        start_time: Some(shared.started.into()),
        active_worker_count: i32::try_from(active).unwrap_or(i32::MAX),
    }
}
