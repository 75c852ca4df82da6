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
mod egress;
mod http;

mod oauth;
mod ping;
mod proxy;
mod push;
mod redirect;
mod snmp;
mod starttls;
mod support;
mod tcp;
mod tls;
mod tls_kind;
mod udp;
