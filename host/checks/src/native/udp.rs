//! Kind `udp`: sends a datagram and judges the first one that comes back.
//!
//! UDP itself says nothing of a datagram that arrived: silence is down unless the configuration calls it fine. Where
//! nobody listens, most hosts say so (ICMP port unreachable), which is down in any case.

use super::payload::{Payload, Wanted, quote};
use crate::{
    Check, CheckError, Findings, ProbeContext,
    net::{Datagrams, Host, IpFamily, NetError},
};
use lapwing_model::{Observation, Reason};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

/// The most a datagram has room for over IPv4, in bytes.
const MAX_PAYLOAD: usize = 65_507;

/// Kind `udp`.
#[derive(Debug, Clone, Copy)]
pub struct Udp;

/// Configuration of kind `udp`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UdpConfig {
    /// Name or address; an IPv6 address may be in brackets.
    #[schemars(length(min = 1))]
    pub host: String,
    /// Port, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What to send, as one datagram, at most 65507 bytes. Default: an empty one.
    #[serde(default)]
    pub payload: Payload,
    /// What the answer must hold. Default: anything will do.
    #[serde(default)]
    pub expect: Option<Wanted>,
    /// No answer is fine, too: down is only a target that refuses, or answers something else than `expect`.
    #[serde(default)]
    pub answer_optional: bool,
    /// `answer_optional`: how long an answer or a refusal is waited for, in milliseconds, at most the check's own time.
    /// Default: 1000.
    #[serde(default = "second")]
    #[schemars(range(min = 1))]
    pub wait_ms: u64,
    /// How often to send while there is no answer, evenly over the time; datagrams get lost. 1 to 10. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10))]
    pub tries: u8,
    /// Address family to use. Default: `any`, the first address there is a route to.
    #[serde(default)]
    pub ip_family: IpFamily,
}

fn second() -> u64 {
    1000
}

fn one() -> u8 {
    1
}

impl Check for Udp {
    const KIND: &'static str = "udp";
    const SUMMARY: &'static str = "Sends a UDP datagram and judges the answer";
    const EXAMPLE: &'static str = r#"{"host": "game.example.com", "port": 27015, "payload": {"hex": "ffffffff54"}, "expect": {"hex": "ffffffff"}}"#;
    type Config = UdpConfig;

    fn review(config: UdpConfig, found: &mut Findings) {
        found.of("host", Host::parse(&config.host));
    }

    async fn probe(&self, config: UdpConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        if config.payload.as_bytes().len() > MAX_PAYLOAD {
            return Err(CheckError::InvalidConfig(format!(
                "`payload`: expected at most {MAX_PAYLOAD} bytes"
            )));
        }
        let opened = cx
            .net
            .datagrams(&config.host, config.port, config.ip_family, cx.deadline)
            .await;
        let socket = match opened {
            Ok(socket) => socket,
            Err(error) => return error.into_verdict(|error| format!("UDP exchange failed: {error}")),
        };
        let start = Instant::now();
        let heard = exchange(&socket, &config, cx).await;
        let latency = start.elapsed();
        let seen = match heard {
            Ok(answer) => config.judge(&answer)?,
            Err(NetError::ResponseTimeout(_)) if config.answer_optional => {
                Observation::up(format!("UDP port {} does not refuse; no answer", config.port))
            }
            Err(error) => error.into_verdict(|error| format!("UDP exchange failed: {error}"))?,
        };
        Ok(seen
            .with_latency(socket.resolve + latency)
            .with_attribute("peer", socket.peer.to_string()))
    }
}

/// Sends, again and again as configured, until something comes back.
async fn exchange(socket: &Datagrams, config: &UdpConfig, cx: &ProbeContext) -> Result<Vec<u8>, NetError> {
    let patience = if config.answer_optional {
        cx.remaining().min(Duration::from_millis(config.wait_ms))
    } else {
        cx.remaining()
    };
    let (start, tries) = (Instant::now(), u32::from(config.tries));
    let mut silence = NetError::ResponseTimeout(format!("{} does not answer", socket.peer));
    for turn in 1..=tries {
        let end = start + patience * turn / tries;
        let heard = match socket.send(config.payload.as_bytes(), end).await {
            Ok(()) => socket.receive(end).await,
            Err(error) => Err(error),
        };
        match heard {
            Err(timeout @ NetError::ResponseTimeout(_)) => silence = timeout,
            heard => return heard,
        }
    }
    Err(silence)
}

impl UdpConfig {
    fn judge(&self, answer: &[u8]) -> Result<Observation, CheckError> {
        let up = || {
            Observation::up(format!(
                "UDP port {} answered with {} bytes",
                self.port,
                answer.len()
            ))
        };
        let Some(wanted) = &self.expect else {
            return Ok(up());
        };
        let regex = wanted
            .regex()
            .map_err(|error| CheckError::InvalidConfig(format!("`expect`: {error}")))?;
        if regex.is_match(answer) {
            return Ok(up());
        }
        let text = format!(
            "UDP answer is not as expected: expected {wanted}, heard '{}'",
            quote(answer)
        );
        Ok(Observation::down(Reason::AssertionFailed, text))
    }
}
