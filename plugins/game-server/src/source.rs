//! The kind `source-server`.

use crate::{
    a2s::{self, Answer, MAX_DATAGRAM, Reader},
    expect::{self, Expect, Seen},
};
use lapwing_plugin_sdk::{Capability, Checker, Context, Failure, NetError, Outcome, udp::Socket};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// Most numbers a server may want to see before it answers.
const MOST_CHALLENGES: usize = 3;

/// Configuration of the kind `source-server`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Game server: host name or IP address.
    #[schemars(length(min = 1, max = 253), extend("format" = "hostname", "x-lapwing-target" = "host"))]
    host: String,
    /// UDP port for queries; mostly the game's own.
    #[schemars(range(min = 1), extend("x-lapwing-target" = "port"))]
    #[serde(default = "game_port")]
    port: u16,
    /// What must be so.
    #[serde(default)]
    expect: Option<Expect>,
    /// Milliseconds to wait for an answer before asking again; the wait doubles each time, to at most 16 s.
    #[schemars(range(min = 50, max = 16000))]
    #[serde(default = "one_second")]
    retry_ms: u32,
}

/// The check of one server of a Source or GoldSource game.
pub(crate) struct Source;

impl Checker for Source {
    const KIND: &'static str = "source-server";
    const TITLE: &'static str = "Game server (Source)";
    const SUMMARY: &'static str = "Players, map and version of a Source or GoldSource game server (A2S_INFO)";
    const EXAMPLE: &'static str =
        r#"{"host":"game.example.com","port":27015,"expect":{"min_players":1,"map":"de_*"}}"#;
    const CAPABILITIES: &'static [Capability] = &[Capability {
        name: "net.udp",
        scope: &["{config.host}:{config.port}"],
        optional: false,
        reason: "asks the game server",
    }];
    const SCHEMA: Option<&'static str> = Some(include_str!("../schema/source-server.json"));
    type Config = Config;

    fn check(config: Config, _: &Context) -> Result<Outcome, Failure> {
        let socket = Socket::open(&config.host, config.port)?;
        let wait = Duration::from_millis(config.retry_ms.into());
        let seen = ask(&socket, wait).map_err(|error| error.during("A2S_INFO"))?;
        Ok(expect::judge("source", &config.expect.unwrap_or_default(), &seen))
    }
}

fn ask(socket: &Socket, wait: Duration) -> Result<Seen, NetError> {
    let mut challenge = None;
    for _ in 0..=MOST_CHALLENGES {
        let mut reader = Reader::default();
        let answer = socket.exchange(&a2s::question(challenge), MAX_DATAGRAM, wait, |datagram| {
            reader
                .push(datagram)
                .map_err(|malformed| NetError::protocol(malformed.to_string()))
        })?;
        match answer {
            Answer::Info(seen) => return Ok(seen),
            Answer::Challenge(number) => challenge = Some(number),
        }
    }
    Err(NetError::protocol("the server asks for ever new challenges"))
}

fn game_port() -> u16 {
    27015
}

fn one_second() -> u32 {
    1000
}
