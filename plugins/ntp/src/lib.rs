//! The kind `ntp`: asks a time server for the time and compares it with the worker's.
//!
//! [`config`] is what a user may ask for, [`packet`] and [`timestamp`] are the protocol, [`dialogue`] does the asking and
//! [`verdict`] judges what was seen (RFC 5905; as a client without clock discipline, SNTP).

mod config;
mod dialogue;
mod packet;
mod timestamp;
mod verdict;

use config::Config;
use lapwing_plugin_sdk::{Capability, Checker, Context, Failure, Outcome, export_checker};

/// The check of one time server.
struct Ntp;

impl Checker for Ntp {
    const KIND: &'static str = "ntp";
    const TITLE: &'static str = "Time server (NTP)";
    const SUMMARY: &'static str = "Stratum, offset and delay of a time server";
    const EXAMPLE: &'static str = r#"{"host":"ntp.example.com","max_offset_ms":100,"max_stratum":4}"#;
    const CAPABILITIES: &'static [Capability] = &[Capability {
        name: "net.udp",
        scope: &["{config.host}:{config.port}"],
        optional: false,
        reason: "asks the time server",
    }];
    const SCHEMA: Option<&'static str> = Some(include_str!("../schema.json"));
    type Config = Config;

    fn check(config: Config, context: &Context) -> Result<Outcome, Failure> {
        let seen = dialogue::ask(&config, context)?;
        verdict::judge(&config, seen)
    }
}

export_checker!(Ntp);
