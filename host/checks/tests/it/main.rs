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
mod dns_kind;
mod docker;
mod egress;
mod grpc;
mod hostile;
mod hostile_http2;
mod hostile_sessions;
mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod login;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "mysql")]
mod mysql;
mod oauth;
mod observed;
mod ping;
#[cfg(feature = "postgres")]
mod postgres;
mod proxy;
mod push;
mod rabbitmq;
mod redirect;
mod redis;
mod review;
mod snmp;
#[cfg(feature = "sqlserver")]
mod sqlserver;
mod starttls;
mod support;
mod tcp;
mod tls;
mod tls_kind;
mod udp;
mod websocket;
