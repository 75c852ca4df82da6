//! The kind `smtp`: connects to a mail server, reads its greeting, says EHLO, and ends with QUIT.
//!
//! It sends no mail and no credentials. [`config`] is what a user may ask for, [`reply`] reads the server's lines,
//! [`dialogue`] does the talking and [`verdict`] judges what was seen (RFC 5321, RFC 3207).

mod config;
mod dialogue;
mod reply;
mod verdict;

use config::Config;
use lapwing_plugin_sdk::{
    Capability, Checker, Context, Failure, Outcome, export_checker, log, tcp::Connection,
};

/// The check of one mail server.
struct Smtp;

impl Checker for Smtp {
    const KIND: &'static str = "smtp";
    const TITLE: &'static str = "Mail server (SMTP)";
    const SUMMARY: &'static str = "Greeting, extensions and STARTTLS of a mail server; sends no mail";
    const EXAMPLE: &'static str =
        r#"{"host":"mail.example.com","port":587,"tls":"starttls","extensions":["AUTH"]}"#;
    const CAPABILITIES: &'static [Capability] = &[Capability {
        name: "net.tcp",
        scope: &["{config.host}:{config.port}"],
        optional: false,
        reason: "talks to the mail server",
    }];
    const SCHEMA: Option<&'static str> = Some(include_str!("../schema.json"));
    type Config = Config;

    fn check(config: Config, context: &Context) -> Result<Outcome, Failure> {
        let mut connection = Connection::connect_with(
            &config.host,
            config.port,
            config.ip_family.into(),
            config.step_timeout_ms.map(Into::into),
        )?;
        let seen = dialogue::hold(&mut connection, &config)?;
        let latency = connection.timing().total;
        if let Err(error) = dialogue::quit(&mut connection, context.remaining()) {
            log::debug!("no polite end: {error}");
        }
        Ok(verdict::judge(&config, &seen).with_latency(latency))
    }
}

export_checker!(Smtp);
