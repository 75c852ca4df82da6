//! The kinds this binary provides, one file each.
//!
//! A new kind is its file, one `mod` line and one line in [`register`]; schema, documentation and admin listing follow.

mod ber;
pub mod dns;
pub mod docker;
pub mod grpc;
pub mod http;
mod load;
mod pattern;
mod payload;
pub mod ping;
pub mod push;
pub mod rabbitmq;
pub mod snmp;
pub mod tcp;
pub mod tls;
mod trust;
pub mod udp;
pub mod websocket;

use crate::{Check, Registry, executor::Native, registry::Clash};
use dns::Dns;
use docker::Docker;
use grpc::{Grpc, GrpcKeyword};
use http::{Http, HttpJsonQuery, HttpKeyword};
use ping::Ping;
use push::Push;
use rabbitmq::RabbitMq;
use snmp::Snmp;
use std::sync::Arc;
use tcp::Tcp;
use tls::Tls;
use udp::Udp;
use websocket::WebSocket;

/// Adds every native kind. An error means that a name is taken, by a plugin or by an earlier call.
pub fn register(registry: &mut Registry) -> Result<(), Clash> {
    let tokens = http::Tokens::default();
    add(registry, Http::new(tokens.clone()))?;
    add(registry, HttpKeyword::new(tokens.clone()))?;
    add(registry, HttpJsonQuery::new(tokens))?;
    add(registry, Tcp)?;
    add(registry, Udp)?;
    add(registry, Tls)?;
    add(registry, Dns)?;
    add(registry, Ping)?;
    add(registry, Snmp)?;
    add(registry, Push)?;
    add(registry, Docker)?;
    add(registry, RabbitMq)?;
    add(registry, Grpc)?;
    add(registry, GrpcKeyword)?;
    add(registry, WebSocket)
}

/// Adds the kinds of load tests: `noop`, `sleep` and `cpu`.
pub fn register_load(registry: &mut Registry) -> Result<(), Clash> {
    add(registry, load::Noop)?;
    add(registry, load::Sleep)?;
    add(registry, load::Cpu)
}

fn add<C: Check>(registry: &mut Registry, check: C) -> Result<(), Clash> {
    registry.register(Arc::new(Native::new(check)))
}
