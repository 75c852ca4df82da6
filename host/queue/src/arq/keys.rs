//! The names of arq's keys (source: `arq/constants.py` of arq 0.28), and of ours beside them.
//!
//! Only the queue itself and what ends in its name are per queue; jobs of all queues share their prefixes. They carry
//! no hash tag, so arq does not work on a Redis Cluster, and neither does this dialect.

/// Ids of jobs to abort → when that was asked, in Unix milliseconds.
pub(super) const ABORT: &str = "arq:abort";
const JOB: &str = "arq:job:";
const RESULT: &str = "arq:result:";

/// The keys of one queue.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// Job ids → when each is due, in Unix milliseconds; those in work included.
    pub(super) queue: String,
    /// Ours: exists while nothing is to be handed out. Stock workers do not know it.
    pub(super) paused: String,
    /// Ours: dead letters → when, in Unix milliseconds.
    pub(super) dead: String,
    /// Ours: the jobs of the dead letters, and why each died.
    pub(super) dead_jobs: String,
    pub(super) dead_reasons: String,
    /// Ours: live workers → when they were last heard of, in Unix milliseconds; and what they say of themselves.
    pub(super) workers: String,
    pub(super) worker_infos: String,
    /// Ours: what one of us wrote to the health-check key last.
    pub(super) health: String,
}

impl Keys {
    pub(super) fn new(queue: &str) -> Self {
        let key = |name: &str| format!("{queue}:{name}");
        Self {
            queue: queue.to_owned(),
            paused: key("paused"),
            dead: key("dead"),
            dead_jobs: key("dead:jobs"),
            dead_reasons: key("dead:reasons"),
            workers: key("lapwing:workers"),
            worker_infos: key("lapwing:workers:info"),
            health: key("lapwing:health"),
        }
    }
}

pub(super) fn job(id: &str) -> String {
    format!("{JOB}{id}")
}

pub(super) fn result(id: &str) -> String {
    format!("{RESULT}{id}")
}
