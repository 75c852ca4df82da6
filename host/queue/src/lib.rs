#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod arq;
pub mod asynq;
mod backoff;
mod batch;
pub mod beacon;
pub mod clock;
#[cfg(feature = "fuzz")]
#[expect(clippy::expect_used, reason = "a fuzzer sees nothing but panics")]
#[doc(hidden)]
pub mod fuzz;
mod held;
pub mod inspect;
mod keeper;
pub mod lease;
mod link;
pub mod memory;
mod memos;
pub mod queue;
mod script;
pub mod server;
pub mod streams;
#[cfg(feature = "testing")]
pub mod testing;

pub use beacon::Beacon;
pub use clock::RedisClock;
pub use inspect::{
    Counts, DeadLetter, Inspect, KeptResult, QueueStats, TaskState, TaskStatus, WorkerPresence,
};
pub use lease::{Lease, Policy, Settle};
pub use memos::Memos;
pub use queue::{Dialect, Enqueued, Queue, QueueError, Sink, Source};
pub use server::{SentinelSettings, Server, ServerFault, ServerFaults, ServerSettings, TlsSettings};
