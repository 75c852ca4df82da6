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
mod docker;
mod egress;
mod grpc;
mod hostile;
mod http;
mod login;
mod oauth;
mod proxy;
mod rabbitmq;
mod redirect;
mod support;
mod tcp;
mod tls;
mod websocket;
