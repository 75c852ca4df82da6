//! The kind `minecraft-server`.

use crate::{
    expect::{self, Expect, Seen},
    slp::{self, MAX_STATUS, Malformed},
};
use lapwing_plugin_sdk::{
    Capability, Checker, Context, Failure, NetError, Outcome, dns, log, net::Fault, tcp::Connection,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes to ask the host for at a time.
const CHUNK: u32 = 16 << 10;

/// Configuration of the kind `minecraft-server`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Game server: host name or IP address.
    #[schemars(length(min = 1, max = 253), extend("format" = "hostname", "x-lapwing-target" = "host"))]
    host: String,
    /// TCP port.
    #[schemars(range(min = 1), extend("x-lapwing-target" = "port"))]
    #[serde(default = "game_port")]
    port: u16,
    /// Look up `_minecraft._tcp.` before `host`, as the game does for its usual port, and go where that says. Another
    /// host than `host` must be granted to the plugin.
    #[serde(default)]
    srv: bool,
    /// How to ask: `modern`, 1.7 and later; `legacy`, 1.4 to 1.6.
    #[serde(default)]
    protocol: Protocol,
    /// What must be so.
    #[serde(default)]
    expect: Option<Expect>,
}

// Variants without doc comments become one `enum` in the schema, and a validator's message then lists the words.

/// How to ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Protocol {
    #[default]
    Modern,
    Legacy,
}

/// The check of one Minecraft server.
pub(crate) struct Minecraft;

impl Checker for Minecraft {
    const KIND: &'static str = "minecraft-server";
    const TITLE: &'static str = "Game server (Minecraft)";
    const SUMMARY: &'static str =
        "Players and version of a Minecraft (Java) server, as its list of servers shows them";
    const EXAMPLE: &'static str =
        r#"{"host":"mc.example.com","expect":{"max_players":90,"version":"*1.21*"}}"#;
    const CAPABILITIES: &'static [Capability] = &[
        Capability {
            name: "net.tcp",
            scope: &["{config.host}:{config.port}"],
            optional: false,
            reason: "asks the game server",
        },
        Capability {
            name: "net.dns",
            // Names below it belong to it.
            scope: &["{config.host}"],
            optional: true,
            reason: "with `srv`: looks up where the game server is",
        },
        Capability {
            name: "net.tcp",
            scope: &["*"],
            optional: true,
            reason: "with `srv`: asks the game server that was found there",
        },
    ];
    const SCHEMA: Option<&'static str> = Some(include_str!("../schema/minecraft-server.json"));
    type Config = Config;

    fn check(config: Config, _: &Context) -> Result<Outcome, Failure> {
        let (host, port) = if config.srv {
            whereabouts(&config)?
        } else {
            (config.host.clone(), config.port)
        };
        let mut connection = Connection::connect(&host, port)?;
        let seen = match config.protocol {
            Protocol::Modern => ask(&mut connection, &slp::question(&host, port), slp::status),
            Protocol::Legacy => ask(&mut connection, &slp::LEGACY_QUESTION, slp::legacy_status),
        };
        let seen = seen.map_err(|error| error.during("Server List Ping"))?;
        Ok(expect::judge(
            "minecraft",
            &config.expect.unwrap_or_default(),
            &seen,
        ))
    }
}

/// Where the SRV record of the lowest priority points to; `host` and `port` when there is none.
fn whereabouts(config: &Config) -> Result<(String, u16), NetError> {
    let name = format!("_minecraft._tcp.{}", config.host);
    let reply = dns::query(&name, "SRV").map_err(|error| error.during(name.as_str()))?;
    if !matches!(reply.rcode, 0 | 3) {
        return Err(NetError::from(Fault::ResolverFailed(format!("rcode {}", reply.rcode))).during(name));
    }
    let records = reply.answers.iter().filter(|answer| answer.rtype == "SRV");
    let best = records.filter_map(|answer| record(&answer.data)).min();
    log::debug!("{name}: {best:?}");
    Ok(best.map_or_else(
        || (config.host.clone(), config.port),
        |(_, host, port)| (host, port),
    ))
}

/// Priority, host and port of an SRV record in presentation form (RFC 2782); `None` also for "no such service" (`.`).
fn record(data: &str) -> Option<(u16, String, u16)> {
    let mut words = data.split_ascii_whitespace();
    let (priority, _weight) = (words.next()?.parse().ok()?, words.next()?);
    let port = words.next()?.parse().ok().filter(|&port| port > 0)?;
    let host = words.next()?.trim_end_matches('.');
    (!host.is_empty()).then(|| (priority, host.to_owned(), port))
}

/// Sends the question, and reads until `read` makes something of it.
fn ask(
    connection: &mut Connection,
    question: &[u8],
    read: impl Fn(&[u8]) -> Result<Option<Seen>, Malformed>,
) -> Result<Seen, NetError> {
    connection.write_all(question)?;
    let mut received = Vec::new();
    loop {
        let more = connection.read(CHUNK)?;
        if more.is_empty() {
            return Err(Fault::Closed.into());
        }
        received.extend(more);
        let seen = read(&received).map_err(|malformed| NetError::protocol(malformed.to_string()))?;
        if let Some(seen) = seen {
            return Ok(seen);
        }
        if received.len() > 2 * MAX_STATUS {
            return Err(NetError::protocol("an answer without end"));
        }
    }
}

fn game_port() -> u16 {
    25565
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_record_is_read() {
        assert_eq!(
            record("5 0 25570 mc1.example.com."),
            Some((5, "mc1.example.com".to_owned(), 25570))
        );
        for data in [
            "",
            "5 0 25570",
            "5 0 0 mc.",
            "x 0 1 mc.",
            "5 0 70000 mc.",
            "0 0 1 .",
        ] {
            assert_eq!(record(data), None, "{data}");
        }
    }
}
