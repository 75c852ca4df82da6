//! The names of Asynq's keys (source: `internal/base/base.go` of Asynq 0.25).
//!
//! The braces are part of the names: they put all keys of one queue into one slot of a Redis Cluster.

use md5::{Digest, Md5};

/// All queue names that were ever enqueued to.
pub(super) const QUEUES: &str = "asynq:queues";
/// Live servers: key of the server's description → when it expires.
pub(super) const SERVERS: &str = "asynq:servers";
/// As [`SERVERS`], for what each server works at.
pub(super) const WORKERS: &str = "asynq:workers";
/// Channel of ids of tasks to cancel.
pub(super) const CANCEL: &str = "asynq:cancel";

/// Channel of this crate's own: word of tasks on an empty queue, by the queue's name.
pub(super) const HINTS: &str = "lapwing:asynq:due";

/// The keys of one queue.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) queue: String,
    pub(super) pending: String,
    pub(super) active: String,
    pub(super) lease: String,
    pub(super) paused: String,
    pub(super) scheduled: String,
    pub(super) retry: String,
    pub(super) archived: String,
    pub(super) completed: String,
    pub(super) processed: String,
    pub(super) failed: String,
    /// Prefix of the keys of tasks.
    pub(super) tasks: String,
    /// Prefix of the keys of groups.
    pub(super) groups: String,
}

impl Keys {
    pub(super) fn new(queue: &str) -> Self {
        let key = |name: &str| format!("asynq:{{{queue}}}:{name}");
        Self {
            queue: queue.to_owned(),
            pending: key("pending"),
            active: key("active"),
            lease: key("lease"),
            paused: key("paused"),
            scheduled: key("scheduled"),
            retry: key("retry"),
            archived: key("archived"),
            completed: key("completed"),
            processed: key("processed"),
            failed: key("failed"),
            tasks: key("t:"),
            groups: key("g:"),
        }
    }

    pub(super) fn task(&self, id: &str) -> String {
        format!("{}{id}", self.tasks)
    }

    /// `key` if it is one of this queue's, else nothing: on a cluster, one strange key would fail a call for many tasks.
    pub(super) fn own<'a>(&self, key: &'a str) -> &'a str {
        let prefix = self.tasks.strip_suffix("t:").unwrap_or_default();
        if key.starts_with(prefix) { key } else { "" }
    }

    /// The lock that keeps a second task of the same type and payload out.
    pub(super) fn unique(&self, kind: &str, payload: &[u8]) -> String {
        format!(
            "asynq:{{{}}}:unique:{kind}:{}",
            self.queue,
            hex::encode(Md5::digest(payload))
        )
    }
}

/// The key of a server's description; `identity` is `host:pid:uuid`.
pub(super) fn server(identity: &str) -> String {
    format!("{SERVERS}:{{{identity}}}")
}

/// The key of what a server works at.
pub(super) fn workers(identity: &str) -> String {
    format!("{WORKERS}:{{{identity}}}")
}
