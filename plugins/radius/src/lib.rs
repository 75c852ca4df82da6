#![doc = include_str!("../README.md")]

mod config;
mod exchange;
mod packet;
mod verdict;

use config::Config;
use lapwing_plugin_sdk::{Capability, Checker, Context, Failure, Outcome, export_checker, udp::Socket};

/// The check of one RADIUS server.
struct Radius;

impl Checker for Radius {
    const KIND: &'static str = "radius";
    const TITLE: &'static str = "RADIUS server";
    const SUMMARY: &'static str = "Whether a RADIUS server is alive, and what it says to a user";
    const EXAMPLE: &'static str = r#"{"host":"radius.example.com","secret":"s3cret","request":"pap","username":"monitor","password":"hello"}"#;
    const CAPABILITIES: &'static [Capability] = &[Capability {
        name: "net.udp",
        scope: &["{config.host}:{config.port}"],
        optional: false,
        reason: "asks the RADIUS server",
    }];
    const SENSITIVE: &'static [&'static str] = &["/secret", "/password"];
    const SCHEMA: Option<&'static str> = Some(include_str!("../schema.json"));
    type Config = Config;

    fn check(config: Config, _: &Context) -> Result<Outcome, Failure> {
        let request = exchange::request(&config, config.credentials()?)?;
        let socket = Socket::open(&config.host, config.port)?;
        let seen = exchange::hold(&socket, &request, &config)?;
        Ok(verdict::judge(&config, &seen))
    }
}

export_checker!(Radius);
