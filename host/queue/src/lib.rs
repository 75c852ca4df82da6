#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod asynq;
pub mod lease;
pub mod memory;
pub mod queue;

pub use lease::Lease;
pub use queue::{Enqueued, Queue, QueueError, Sink, Source};
