//! An observation with its task, its times and its worker.

use crate::{Observation, Task};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// The outcome of one task.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CheckResult {
    /// Derived from the monitor, the due time, the region and the attempt: a run repeated after a crash stores once.
    pub id: String,
    /// The monitor's id.
    pub monitor_id: String,
    /// The monitor's name.
    pub monitor_name: String,
    /// The kind that ran.
    pub kind: String,
    /// When the run fell due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Timestamp>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// 1 for the first try.
    pub attempt: u32,
    /// Which worker ran it.
    pub worker: String,
    /// Where that worker is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What was seen.
    #[serde(flatten)]
    pub observation: Observation,
}

/// Who runs checks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerIdentity {
    /// `host:pid`, unique among live workers of one host.
    pub name: String,
    /// The operator's word for where it is.
    pub region: Option<String>,
}

impl CheckResult {
    /// Joins what was seen with who saw it, when, and for which task.
    pub fn new(
        task: &Task,
        worker: &WorkerIdentity,
        started_at: Timestamp,
        ended_at: Timestamp,
        observation: Observation,
    ) -> Self {
        let due = task.scheduled_at.map_or(0, Timestamp::as_nanosecond);
        let region = worker.region.as_deref().unwrap_or("");
        Self {
            id: format!("{}:{due}:{region}:{}", task.monitor.id, task.attempt),
            monitor_id: task.monitor.id.clone(),
            monitor_name: task.monitor.name.clone(),
            kind: task.monitor.kind.clone(),
            scheduled_at: task.scheduled_at,
            started_at,
            ended_at,
            attempt: task.attempt,
            worker: worker.name.clone(),
            region: worker.region.clone(),
            observation,
        }
    }
}
