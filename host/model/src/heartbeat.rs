//! The newest stored result of a monitor, as a task may carry it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A stored result in Peekaping's words. Only `push` tasks carry one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "Peekaping's fields, echoed by name")]
pub struct Heartbeat {
    pub id: String,
    pub monitor_id: String,
    /// 0 down, 1 up, 2 pending, 3 maintenance.
    pub status: i64,
    pub msg: String,
    /// Milliseconds.
    pub ping: i64,
    pub duration: i64,
    pub down_count: i64,
    pub retries: i64,
    pub important: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    pub notified: bool,
}
