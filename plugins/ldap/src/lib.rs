#![doc = include_str!("../README.md")]

mod ber;
mod config;
mod dialogue;
mod filter;
mod message;
mod verdict;

use config::Config;
use dialogue::Plan;
use lapwing_plugin_sdk::{Capability, Checker, Context, Failure, Outcome, export_checker, tcp::Connection};

/// The check of one directory server.
struct Ldap;

impl Checker for Ldap {
    const KIND: &'static str = "ldap";
    const TITLE: &'static str = "Directory server (LDAP)";
    const SUMMARY: &'static str = "Bind, StartTLS and search of a directory server; changes nothing";
    const EXAMPLE: &'static str = r#"{"host":"ldap.example.com","tls":"starttls","bind_dn":"cn=monitor,dc=example,dc=com","password":"secret","search":{"base":"ou=people,dc=example,dc=com","scope":"sub","filter":"(uid=monitor)","expect":[{"attribute":"mail"}]}}"#;
    const CAPABILITIES: &'static [Capability] = &[Capability {
        name: "net.tcp",
        scope: &["{config.host}:{config.port}"],
        optional: false,
        reason: "talks to the directory server",
    }];
    const SENSITIVE: &'static [&'static str] = &["/password"];
    const SCHEMA: Option<&'static str> = Some(include_str!("../schema.json"));
    type Config = Config;

    fn check(config: Config, _: &Context) -> Result<Outcome, Failure> {
        let plan = Plan::new(&config)?;
        let connection = Connection::connect_with(
            &config.host,
            config.port,
            config.ip_family.into(),
            config.step_timeout_ms.map(Into::into),
        )?;
        let seen = plan.carry_out(connection)?;
        Ok(verdict::judge(&config, &seen))
    }
}

export_checker!(Ldap);
