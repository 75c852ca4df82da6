//! The queue dialects against real servers.
//!
//! Every dialect passes the suite in `contract`. The rest shows what is particular to each wire. Stock arq runs beside
//! it (`tests/stock`). Stock Asynq does not: bytes made with its real client (0.25.1) and its state transitions, step by
//! step, stand in for it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "the helpers of tests fail as tests do"
)]

mod contract;
mod fixture;

mod arq_backlog;
mod arq_clients;
mod arq_fixture;
mod arq_outage;
mod arq_presence;
mod arq_shared;
mod arq_stock;
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
mod asynq_settle;
mod asynq_wire;
mod link_cluster;
mod link_node;
mod link_sentinel;
mod link_settings;
mod link_subscription;
mod link_tls;
mod loading;
mod memory;
mod memos;
mod on_cluster;
mod streams_fixture;
mod streams_outage;
mod streams_proxy;
mod streams_recovery;
mod streams_uptime;
mod streams_wire;
