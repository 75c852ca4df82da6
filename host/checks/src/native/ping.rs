//! Kind `ping`: ICMP echo requests, and how many come back.

use crate::{
    Check, CheckError, Findings, ProbeContext,
    net::{
        Host, IpFamily, NetError,
        icmp::{EchoError, Echoes, MAX_PAYLOAD},
    },
};
use lapwing_model::{Metric, Observation, Phase, Reason, observation::milliseconds};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{self, Instant};

/// Payload bytes where a configuration names none: Peekaping's.
const DEFAULT_SIZE: usize = 32;

/// Kind `ping`.
#[derive(Debug, Clone, Copy)]
pub struct Ping;

/// Configuration of kind `ping`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PingConfig {
    /// Name or address; an IPv6 address may be in brackets.
    #[schemars(length(min = 1))]
    pub host: String,
    /// Payload of a packet, in bytes after the ICMP header, at most 65507. Default: 0, which stands for 32.
    #[serde(default)]
    #[schemars(range(max = MAX_PAYLOAD))]
    pub packet_size: usize,
    /// How many packets to send, 1 to 100. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub count: u16,
    /// Pause between two packets, in milliseconds; shorter where the check's time asks for it. Default: 200.
    #[serde(default = "fifth")]
    #[schemars(range(max = 60_000))]
    pub interval_ms: u64,
    /// From this share of lost packets on the target is degraded, in percent, 1 to 100. Default: 100, never.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 100))]
    pub degraded_loss_percent: u8,
    /// From this share of lost packets on the target is down, in percent, 1 to 100. Default: 100, when all are lost.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 100))]
    pub down_loss_percent: u8,
    /// Address family to use. Default: `any`, the first address there is a route to.
    #[serde(default)]
    pub ip_family: IpFamily,
}

fn one() -> u16 {
    1
}

fn fifth() -> u64 {
    200
}

fn hundred() -> u8 {
    100
}

impl Check for Ping {
    const KIND: &'static str = "ping";
    const ALIASES: &'static [&'static str] = &["icmp"];
    const SUMMARY: &'static str = "Sends ICMP echo requests and counts the replies";
    const EXAMPLE: &'static str = r#"{"host": "192.0.2.1", "count": 3, "degraded_loss_percent": 30}"#;
    type Config = PingConfig;

    fn review(config: PingConfig, found: &mut Findings) {
        found.of("host", Host::parse(&config.host));
    }

    async fn probe(&self, config: PingConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let size = match config.packet_size {
            0 => DEFAULT_SIZE,
            size => size,
        };
        let opened = cx
            .net
            .echoes(&config.host, size, config.ip_family, cx.deadline)
            .await;
        let mut echoes = match opened {
            Ok(echoes) => echoes,
            Err(EchoError::NotPermitted(why)) => return Err(CheckError::PermissionDenied(why)),
            Err(EchoError::Net(error)) => return error.into_verdict(|error| format!("Ping failed: {error}")),
        };
        let tally = Tally::take(&mut echoes, &config, cx).await;
        let mut seen = tally.verdict(&config)?;
        seen.phases = vec![Phase {
            name: "resolve".to_owned(),
            elapsed: echoes.resolve,
        }];
        seen.phases.retain(|phase| !phase.elapsed.is_zero());
        seen.metrics = tally.metrics();
        Ok(seen
            .with_attribute("peer", echoes.peer.to_string())
            .with_attribute("icmp.socket", echoes.socket()))
    }
}

/// What became of each packet, by its number.
#[derive(Debug, Default)]
struct Tally {
    packets: Vec<Packet>,
    /// What the way to the target said instead of a reply.
    error: Option<NetError>,
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    sent: Instant,
    took: Option<Duration>,
}

impl Tally {
    /// Sends all packets and waits until each is answered or refused, or the time is over.
    async fn take(echoes: &mut Echoes, config: &PingConfig, cx: &ProbeContext) -> Self {
        let mut tally = Self::default();
        let pause =
            Duration::from_millis(config.interval_ms).min(cx.remaining() / u32::from(config.count + 1));
        let mut ticks = time::interval(pause.max(Duration::from_millis(1)));
        let mut refused = 0;
        while tally.received() + refused < usize::from(config.count) {
            let sent = tally.packets.len();
            tokio::select! {
                biased;
                () = time::sleep_until(cx.deadline) => break,
                reply = echoes.receive() => match reply {
                    Ok(sequence) => tally.answered(sequence),
                    Err(error) => {
                        refused += 1;
                        tally.refused(error);
                    }
                },
                _ = ticks.tick(), if sent < usize::from(config.count) => {
                    let sequence = u16::try_from(sent).unwrap_or_default();
                    tally.packets.push(Packet { sent: Instant::now(), took: None });
                    if let Err(error) = echoes.send(sequence, cx.deadline).await {
                        refused += 1;
                        tally.refused(error);
                    }
                }
            }
        }
        tally
    }

    /// What our own machine failed in outweighs what the way said.
    fn refused(&mut self, error: NetError) {
        if self.error.as_ref().is_none_or(NetError::blames_target) {
            self.error = Some(error);
        }
    }

    /// A second reply to one packet (a duplicate) says nothing.
    fn answered(&mut self, sequence: u16) {
        if let Some(packet) = self.packets.get_mut(usize::from(sequence)) {
            packet.took.get_or_insert_with(|| packet.sent.elapsed());
        }
    }

    fn times(&self) -> impl Iterator<Item = Duration> {
        self.packets.iter().filter_map(|packet| packet.took)
    }

    fn received(&self) -> usize {
        self.times().count()
    }

    fn mean(&self) -> Option<Duration> {
        let received = u32::try_from(self.received()).unwrap_or(u32::MAX);
        self.times().sum::<Duration>().checked_div(received)
    }

    fn verdict(&self, config: &PingConfig) -> Result<Observation, CheckError> {
        // A packet that never left is not lost.
        if let Some(error) = self.error.as_ref().filter(|error| !error.blames_target()) {
            return error.clone().into_verdict(ToString::to_string);
        }
        let Some(mean) = self.mean() else {
            return match &self.error {
                Some(error) => error
                    .clone()
                    .into_verdict(|error| format!("Ping failed: {error}")),
                None => Ok(Observation::down(
                    Reason::ResponseTimeout,
                    "Ping failed: no response received",
                )),
            };
        };
        let (count, received) = (usize::from(config.count), self.received());
        let lost = count.saturating_sub(received);
        // Rounded down, as a share that is not reached is not reached.
        let percent = lost * 100 / count.max(1);
        let text = format!("Ping successful, RTT: {}", go_duration(mean));
        let lossy = format!("{lost} of {count} packets lost");
        let seen = if percent >= usize::from(config.down_loss_percent) {
            Observation::down(Reason::AssertionFailed, format!("Ping failed: {lossy}"))
        } else if percent >= usize::from(config.degraded_loss_percent) {
            Observation::degraded(Reason::AssertionFailed, format!("{text}; {lossy}"))
        } else if lost > 0 {
            Observation::up(format!("{text}; {lossy}"))
        } else {
            Observation::up(text)
        };
        Ok(seen.with_latency(mean))
    }

    fn metrics(&self) -> Vec<Metric> {
        let metric = |name: &str, value: f64, unit: Option<&str>| Metric {
            name: name.to_owned(),
            value,
            unit: unit.map(str::to_owned),
            labels: BTreeMap::new(),
        };
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let rtt = |name: &str, took: Option<Duration>| Some(metric(name, milliseconds(took?), Some("ms")));
        let mut metrics = vec![
            metric("packets_sent", number(self.packets.len()), None),
            metric("packets_received", number(self.received()), None),
        ];
        metrics.extend(
            [
                rtt("rtt_min", self.times().min()),
                rtt("rtt_mean", self.mean()),
                rtt("rtt_max", self.times().max()),
            ]
            .into_iter()
            .flatten(),
        );
        metrics
    }
}

/// As Go prints a duration of less than an hour: `812.4µs`, `3.419854ms`, `1.02s`, `1m0.5s`.
fn go_duration(took: Duration) -> String {
    const SECOND: u128 = 1_000_000_000;
    match took.as_nanos() {
        nanos @ 0..1_000 => format!("{nanos}ns"),
        nanos @ 1_000..1_000_000 => format!("{}µs", decimal(nanos, 3)),
        nanos @ 1_000_000..SECOND => format!("{}ms", decimal(nanos, 6)),
        nanos if nanos < 60 * SECOND => format!("{}s", decimal(nanos, 9)),
        nanos => format!("{}m{}s", nanos / (60 * SECOND), decimal(nanos % (60 * SECOND), 9)),
    }
}

/// The number with its last `digits` behind a point, if they are not all zero.
fn decimal(number: u128, digits: u32) -> String {
    let unit = 10_u128.pow(digits);
    let width = digits as usize;
    let text = format!("{}.{:0width$}", number / unit, number % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_packet_that_our_own_machine_kept_is_not_lost() {
        let config: PingConfig = serde_json::from_str(r#"{"host": "h", "count": 2}"#).unwrap();
        let mut tally = Tally::default();
        let took = Some(Duration::from_millis(1));
        tally.packets = vec![
            Packet {
                sent: Instant::now(),
                took
            };
            2
        ];
        tally.refused(NetError::Unreachable("way".into()));
        assert!(tally.verdict(&config).is_ok());
        tally.refused(NetError::Local("no buffers".into()));
        tally.refused(NetError::Unreachable("way".into()));
        let error = tally.verdict(&config).unwrap_err();
        assert!(matches!(&error, CheckError::Internal(_)), "{error}");
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (812_400, "812.4µs"),
            (3_419_854, "3.419854ms"),
            (1_020_000_000, "1.02s"),
            (2_000_000_000, "2s"),
            (60_500_000_000, "1m0.5s"),
            (10_000_000, "10ms"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }
}
