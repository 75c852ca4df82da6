//! Asynq's protobuf messages (source: `internal/proto/asynq.proto` of Asynq 0.25 and 0.26).

use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, decode_key, skip_field},
};
use std::collections::{BTreeMap, HashMap};

/// A task as it lies in the queue.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskMessage {
    /// Task type, such as `monitor:healthcheck`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// The handler's business.
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
    /// Unique in its queue.
    #[prost(string, tag = "3")]
    pub id: String,
    /// The queue's name.
    #[prost(string, tag = "4")]
    pub queue: String,
    /// How often it may be tried again.
    #[prost(int32, tag = "5")]
    pub retry: i32,
    /// How often it has been tried again.
    #[prost(int32, tag = "6")]
    pub retried: i32,
    /// Why the last try failed.
    #[prost(string, tag = "7")]
    pub error_msg: String,
    /// Seconds one try may take; 0 for no limit.
    #[prost(int64, tag = "8")]
    pub timeout: i64,
    /// Unix seconds after which it must not run; 0 for none.
    #[prost(int64, tag = "9")]
    pub deadline: i64,
    /// Key of its uniqueness lock; empty for none.
    #[prost(string, tag = "10")]
    pub unique_key: String,
    /// Unix seconds of the last failure.
    #[prost(int64, tag = "11")]
    pub last_failed_at: i64,
    /// Seconds to keep it after completion; 0 to delete it at once.
    #[prost(int64, tag = "12")]
    pub retention: i64,
    /// Unix seconds of completion.
    #[prost(int64, tag = "13")]
    pub completed_at: i64,
    /// Aggregation group.
    #[prost(string, tag = "14")]
    pub group_key: String,
}

/// The highest field number of [`TaskMessage`]; 0.26 has `headers` as 15.
const LAST_KNOWN: u32 = 14;

/// A task message with the fields that this version does not know, kept so that rewriting the message loses nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// What is known.
    pub message: TaskMessage,
    /// The rest, as it was encoded.
    pub unknown: Vec<u8>,
}

impl Envelope {
    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            message: TaskMessage::decode(bytes)?,
            unknown: unknown_fields(bytes)?,
        })
    }

    /// Writes it in order of field numbers, as Go does.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.message.encode_to_vec();
        bytes.extend_from_slice(&self.unknown);
        bytes
    }
}

fn unknown_fields(mut rest: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut unknown = Vec::new();
    while !rest.is_empty() {
        let field = rest;
        let (tag, wire_type) = decode_key(&mut rest)?;
        skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
        if tag > LAST_KNOWN {
            unknown.extend_from_slice(field.get(..field.len() - rest.len()).unwrap_or_default());
        }
    }
    Ok(unknown)
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Time {
    /// Unix seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds of the second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl From<jiff::Timestamp> for Time {
    fn from(at: jiff::Timestamp) -> Self {
        let nanosecond = at.as_nanosecond();
        let whole = i64::try_from(nanosecond.div_euclid(1_000_000_000)).unwrap_or_default();
        let nanos = i32::try_from(nanosecond.rem_euclid(1_000_000_000)).unwrap_or_default();
        Self {
            seconds: whole,
            nanos,
        }
    }
}

/// A worker process, as tools list it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ServerInfo {
    /// Host name.
    #[prost(string, tag = "1")]
    pub host: String,
    /// Process id.
    #[prost(int32, tag = "2")]
    pub pid: i32,
    /// Tells processes apart.
    #[prost(string, tag = "3")]
    pub server_id: String,
    /// How many tasks it runs at once.
    #[prost(int32, tag = "4")]
    pub concurrency: i32,
    /// The queues it serves, with their weights.
    #[prost(btree_map = "string, int32", tag = "5")]
    pub queues: BTreeMap<String, i32>,
    /// Whether weights are strict priorities.
    #[prost(bool, tag = "6")]
    pub strict_priority: bool,
    /// `new`, `active`, `stopped` or `closed`.
    #[prost(string, tag = "7")]
    pub status: String,
    /// When it started.
    #[prost(message, optional, tag = "8")]
    pub start_time: Option<Time>,
    /// How many tasks it runs now.
    #[prost(int32, tag = "9")]
    pub active_worker_count: i32,
}

/// A task that a worker process runs now.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WorkerInfo {
    /// As [`ServerInfo::host`].
    #[prost(string, tag = "1")]
    pub host: String,
    /// As [`ServerInfo::pid`].
    #[prost(int32, tag = "2")]
    pub pid: i32,
    /// As [`ServerInfo::server_id`].
    #[prost(string, tag = "3")]
    pub server_id: String,
    /// The task's id.
    #[prost(string, tag = "4")]
    pub task_id: String,
    /// The task's type.
    #[prost(string, tag = "5")]
    pub task_type: String,
    /// Left empty: it holds monitors' credentials, and would be written anew with every beat.
    #[prost(bytes = "vec", tag = "6")]
    pub task_payload: Vec<u8>,
    /// Its queue.
    #[prost(string, tag = "7")]
    pub queue: String,
    /// When the run began.
    #[prost(message, optional, tag = "8")]
    pub start_time: Option<Time>,
    /// When the run must have ended.
    #[prost(message, optional, tag = "9")]
    pub deadline: Option<Time>,
}

/// A decoded `headers` field of 0.26, for tests and tools; the queue itself only carries it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Headers {
    /// Name → value.
    #[prost(map = "string, string", tag = "15")]
    pub headers: HashMap<String, String>,
}
