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
mod http;
mod oauth;
mod proxy;
mod redirect;
mod support;
mod tcp;
mod tls;
