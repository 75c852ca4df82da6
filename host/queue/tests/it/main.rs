//! The queue dialects against real servers.
//!
//! Every dialect passes the suite in `contract`. The rest shows what is particular to Asynq's wire. Stock Asynq is not
//! run here: bytes made with its real client (0.25.1) and its state transitions, step by step, stand in for it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "the helpers of tests fail as tests do"
)]

mod contract;
mod fixture;

mod asynq_archive;
mod asynq_faults;
mod asynq_inspect;
mod asynq_message;
mod asynq_outage;
mod asynq_presence;
mod asynq_queues;
mod asynq_recovery;
mod asynq_refusal;
mod asynq_reserve;
mod asynq_schedule;
mod asynq_wire;
mod memory;
mod memos;
