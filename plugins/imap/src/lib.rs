//! The kind `imap`: connects to a mailbox server, encrypts, logs in, counts a mailbox's messages, and logs out.
//!
//! All of it but the greeting is the user's choice; nothing on the server is changed. [`config`] is what a user may ask
//! for, [`argument`] and [`response`] are the protocol's lines, [`dialogue`] does the talking and [`verdict`] judges
//! what was seen (RFC 9051 and RFC 3501).

mod argument;
mod config;
mod dialogue;
mod response;
mod verdict;

use config::Config;
use dialogue::Dialogue;
use lapwing_plugin_sdk::{
    Capability, Checker, Context, Failure, Outcome, export_checker, log, tcp::Connection,
};

/// The check of one mailbox server.
struct Imap;

impl Checker for Imap {
    const KIND: &'static str = "imap";
    const TITLE: &'static str = "Mailbox server (IMAP)";
    const SUMMARY: &'static str = "Greeting, encryption, login and message counts of a mailbox server";
    const EXAMPLE: &'static str =
        r#"{"host":"mail.example.com","username":"probe","password":"…","mailbox":"INBOX","max_unseen":100}"#;
    const CAPABILITIES: &'static [Capability] = &[Capability {
        name: "net.tcp",
        scope: &["{config.host}:{config.port}"],
        optional: false,
        reason: "talks to the mailbox server",
    }];
    const SENSITIVE: &'static [&'static str] = &["/password"];
    const SCHEMA: Option<&'static str> = Some(include_str!("../schema.json"));
    type Config = Config;

    fn check(config: Config, context: &Context) -> Result<Outcome, Failure> {
        config.judge()?;
        let mut connection = Connection::connect_with(
            &config.host,
            config.port,
            config.ip_family.into(),
            config.step_timeout_ms.map(Into::into),
        )?;
        let mut dialogue = Dialogue::new(&mut connection);
        let seen = dialogue.hold(&config)?;
        let latency = dialogue.elapsed();
        if let Err(error) = dialogue.logout(context.remaining()) {
            log::debug!("no polite end: {error}");
        }
        Ok(verdict::judge(&config, &seen).with_latency(latency))
    }
}

export_checker!(Imap);
