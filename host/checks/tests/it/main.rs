//! Checks against real servers on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod contract;
mod deadline;
mod dns;
mod egress;
mod hostile;
mod http;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "mysql")]
mod mysql;
mod oauth;
#[cfg(feature = "postgres")]
mod postgres;
mod proxy;
mod redirect;
mod redis;
#[cfg(feature = "sqlserver")]
mod sqlserver;
mod support;
mod tcp;
mod tls;
