//! The kinds this binary provides, one file each.
//!
//! A new kind is its file, one `mod` line and one line in [`register`]; schema, documentation and admin listing follow.

mod ber;
mod condition;
#[cfg_attr(
    not(all(
        feature = "kafka",
        feature = "mongodb",
        feature = "mqtt",
        feature = "mysql",
        feature = "postgres",
        feature = "sqlserver"
    )),
    allow(dead_code, reason = "kinds that this build leaves out use the rest")
)]
mod connection;
pub mod dns;
pub mod docker;
pub mod grpc;
pub mod http;
mod judging;
#[cfg(feature = "kafka")]
pub mod kafka;
mod load;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "mysql")]
pub mod mysql;
mod pattern;
mod payload;
pub mod ping;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod push;
pub mod rabbitmq;
pub mod redis;
#[cfg(any(feature = "kafka", feature = "mongodb", feature = "postgres"))]
mod scram;
#[cfg_attr(
    not(all(
        feature = "kafka",
        feature = "mongodb",
        feature = "mqtt",
        feature = "mysql",
        feature = "postgres",
        feature = "sqlserver"
    )),
    allow(dead_code, reason = "kinds that this build leaves out use the rest")
)]
mod session;
pub mod snmp;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlserver"))]
mod sql;
#[cfg(feature = "sqlserver")]
pub mod sqlserver;
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
use redis::Redis;
use snmp::Snmp;
use std::sync::Arc;
use tcp::Tcp;
use tls::Tls;
use udp::Udp;
use websocket::WebSocket;

/// Adds the kinds of a heavy client, or, in a build without it, says why they are not there.
macro_rules! optional {
    ($registry:expr, $( $feature:literal => $check:expr, [$($kind:literal),+]; )*) => {$(
        #[cfg(feature = $feature)]
        add($registry, $check)?;
        #[cfg(not(feature = $feature))]
        for kind in [$($kind),+] {
            $registry.leave_out(kind, concat!("this build was made without the feature `", $feature, "`"));
        }
    )*};
}

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
    add(registry, WebSocket)?;
    add(registry, Redis)?;
    optional! { registry,
        "postgres" => postgres::Postgres, ["postgres", "postgresql"];
        "mysql" => mysql::MySql, ["mysql", "mariadb"];
        "sqlserver" => sqlserver::SqlServer, ["sqlserver", "mssql"];
        "mongodb" => mongodb::MongoDb, ["mongodb"];
        "mqtt" => mqtt::Mqtt, ["mqtt"];
        "kafka" => kafka::KafkaProducer, ["kafka-producer", "kafka"];
    }
    Ok(())
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
