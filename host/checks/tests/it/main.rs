//! Checks against real servers on loopback.

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
