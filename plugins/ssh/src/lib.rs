//! The kind `ssh`: reads a server's version line, then exchanges keys until the server has proven its host key.
//!
//! It never logs in. [`config`] is what a user may ask for; [`version`], [`offer`], [`exchange`] and [`host_key`] are the
//! parts of the protocol on top of [`wire`]; [`dialogue`] does the talking and [`verdict`] judges what was seen
//! (RFC 4253, RFC 8731, RFC 5656, RFC 8332, RFC 8709).

mod config;
mod dialogue;
mod exchange;
mod host_key;
mod offer;
mod verdict;
mod version;
mod wire;

use config::Config;
use lapwing_plugin_sdk::{Capability, Checker, Context, Failure, Outcome, export_checker, tcp::Connection};

/// The check of one SSH server.
struct Ssh;

impl Checker for Ssh {
    const KIND: &'static str = "ssh";
    const TITLE: &'static str = "SSH server";
    const SUMMARY: &'static str = "Version, algorithms and proven host key of an SSH server; never logs in";
    const EXAMPLE: &'static str =
        r#"{"host":"ssh.example.com","min_version":"9.2","unwanted_algorithms":["ssh-rsa"]}"#;
    const CAPABILITIES: &'static [Capability] = &[Capability {
        name: "net.tcp",
        scope: &["{config.host}:{config.port}"],
        optional: false,
        reason: "talks to the SSH server",
    }];
    const SCHEMA: Option<&'static str> = Some(include_str!("../schema.json"));
    type Config = Config;

    fn check(config: Config, _: &Context) -> Result<Outcome, Failure> {
        config.judge()?;
        let mut connection = Connection::connect_with(
            &config.host,
            config.port,
            config.ip_family.into(),
            config.step_timeout_ms.map(Into::into),
        )?;
        let seen = dialogue::hold(&mut connection, &config)?;
        let latency = connection.timing().total;
        Ok(verdict::judge(&config, &seen)?.with_latency(latency))
    }
}

export_checker!(Ssh);
