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
mod http;

mod login;
mod oauth;
mod ping;
mod proxy;
mod push;
mod rabbitmq;
mod redirect;
mod snmp;
mod starttls;
mod support;
mod tcp;
mod tls;
mod tls_kind;
mod udp;
mod websocket;
