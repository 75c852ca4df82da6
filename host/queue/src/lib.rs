#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod asynq;
mod backoff;
pub mod lease;
mod link;
pub mod memory;
mod memos;
pub mod queue;
#[cfg(feature = "testing")]
pub mod testing;

pub use lease::{Lease, Settle};
pub use memos::Memos;
pub use queue::{Enqueued, Queue, QueueError, Sink, Source};
