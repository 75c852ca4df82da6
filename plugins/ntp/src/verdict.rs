//! Judges what the server showed. No I/O.

use crate::{
    config::Config,
    dialogue::{Sample, Seen},
    packet::Answer,
    timestamp::milliseconds,
};
use lapwing_plugin_sdk::{Failure, NetError, Outcome, net::Fault};

/// The outcome for what was seen. `Err` when the network failed.
pub(crate) fn judge(config: &Config, seen: Seen) -> Result<Outcome, Failure> {
    // The least delay has the least room for error (RFC 5905 §10).
    let best = seen.samples.iter().copied().min_by_key(|sample| sample.delay);
    let Some(best) = best else {
        return refused(seen);
    };
    let message = summary(&best);
    let outcome = match flaw(config, &best) {
        Some((reason, flaw)) => Outcome::degraded(reason, format!("{flaw}; {message}")),
        None => Outcome::up(message),
    };
    Ok(describe(outcome, &best, &seen))
}

/// There is no time to be had.
fn refused(seen: Seen) -> Result<Outcome, Failure> {
    if let Some(answer) = &seen.timeless {
        return Ok(timeless(answer));
    }
    match (&seen.error, &seen.last_stray) {
        (Some(error), Some(stray)) if matches!(error.fault, Fault::Timeout(_)) => Ok(Outcome::down(
            "protocol_error",
            format!(
                "NTP: no answer, but other datagrams ({}), the last {stray}",
                seen.strays
            ),
        )),
        _ => {
            let error = seen
                .error
                .unwrap_or_else(|| NetError::from(Fault::Timeout(String::new())));
            let asked = if seen.lost > 1 {
                format!("NTP, asked {} times", seen.lost)
            } else {
                "NTP".to_owned()
            };
            Err(error.during(asked).into())
        }
    }
}

/// The server is there, but tells no time.
fn timeless(answer: &Answer) -> Outcome {
    let outcome = match answer.kiss().as_deref() {
        // We asked too often: that says nothing about its time.
        Some("RATE") => Outcome::unknown(
            "ntp_rate_limited",
            "the server says that it is asked too often (kiss code RATE): a longer interval, or fewer samples",
        ),
        Some(code @ ("DENY" | "RSTR")) => Outcome::down(
            "ntp_denied",
            format!("the server refuses to serve (kiss code {code})"),
        ),
        Some(code) => Outcome::down(
            "ntp_unsynchronized",
            format!("the server has no time to tell (kiss code {code})"),
        ),
        None => Outcome::down(
            "ntp_unsynchronized",
            format!(
                "the server's clock is not set (stratum {}, leap {})",
                answer.stratum,
                answer.leap.as_str()
            ),
        ),
    };
    outcome
        .with_attribute("ntp.stratum", u32::from(answer.stratum))
        .with_attribute("ntp.leap", answer.leap.as_str())
        .with_attribute("ntp.refid", answer.reference.to_string())
}

/// The first thing that wants mending.
fn flaw(config: &Config, best: &Sample) -> Option<(&'static str, String)> {
    let (offset, delay) = (best.offset.milliseconds(), best.delay.milliseconds());
    if let Some(max) = config.max_offset_ms.filter(|&max| offset.abs() > max) {
        return Some(("ntp_offset", format!("clocks differ by more than {max} ms")));
    }
    if let Some(max) = config.max_stratum.filter(|&max| best.answer.stratum > max) {
        return Some(("ntp_stratum", format!("stratum is above {max}")));
    }
    let max = config.max_delay_ms.filter(|&max| delay > max)?;
    Some(("ntp_delay", format!("delay is above {max} ms")))
}

fn summary(best: &Sample) -> String {
    format!(
        "NTP stratum {} ({}); offset {:+.3} ms, delay {:.3} ms",
        best.answer.stratum,
        best.answer.reference,
        best.offset.milliseconds(),
        delay(best)
    )
}

/// Clocks of little precision make it negative.
fn delay(sample: &Sample) -> f64 {
    sample.delay.milliseconds().max(0.0)
}

fn describe(outcome: Outcome, best: &Sample, seen: &Seen) -> Outcome {
    let answer = &best.answer;
    let mut outcome = outcome
        .with_latency(best.elapsed)
        .with_attribute("ntp.stratum", u32::from(answer.stratum))
        .with_attribute("ntp.leap", answer.leap.as_str())
        .with_attribute("ntp.refid", answer.reference.to_string())
        .with_attribute("ntp.precision_log2_s", i32::from(answer.precision))
        .with_metric("offset", best.offset.milliseconds(), Some("ms"))
        .with_metric("delay", delay(best), Some("ms"))
        .with_metric("jitter", jitter(best, &seen.samples), Some("ms"))
        .with_metric(
            "root_delay",
            milliseconds(answer.root_delay.into(), 16),
            Some("ms"),
        )
        .with_metric(
            "root_dispersion",
            milliseconds(answer.root_dispersion.into(), 16),
            Some("ms"),
        )
        .with_metric(
            "reference_age",
            answer.sent.since(answer.reference_time).milliseconds() / 1e3,
            Some("s"),
        )
        .with_metric(
            "samples",
            f64::from(u32::try_from(seen.samples.len()).unwrap_or(u32::MAX)),
            None,
        )
        .with_metric("lost", f64::from(seen.lost), None);
    if let Some(kiss) = seen.timeless.as_ref().and_then(Answer::kiss) {
        outcome = outcome.with_attribute("ntp.kiss", kiss);
    }
    outcome
}

/// Root mean square of the other offsets' distance from the best (RFC 5905 §10).
fn jitter(best: &Sample, samples: &[Sample]) -> f64 {
    let others = u32::try_from(samples.len().saturating_sub(1))
        .unwrap_or(u32::MAX)
        .max(1);
    let squares = samples
        .iter()
        .map(|sample| sample.offset.minus(best.offset).milliseconds().powi(2));
    (squares.sum::<f64>() / f64::from(others)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{packet, timestamp::Timestamp};
    use lapwing_plugin_sdk::{Status, serde_json};
    use std::time::Duration;

    const SENT: Timestamp = Timestamp(1000 << 32);

    /// An answer of a server whose clock is `ahead` and which took no time, `delay` after the request.
    fn sample(ahead: Duration, delay: Duration) -> Sample {
        let mut packet = packet::request(1);
        packet[0] = 4 << 3 | 4;
        packet[1] = 2;
        packet[15] = 1;
        packet.copy_within(40..48, 24);
        let there = SENT.plus(ahead).plus(delay / 2).0.to_be_bytes();
        packet[16..24].copy_from_slice(&there);
        packet[32..40].copy_from_slice(&there);
        packet[40..48].copy_from_slice(&there);
        Sample::new(Answer::parse(&packet, 1).unwrap(), SENT, delay)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn verdict(rest: &str, samples: Vec<Sample>) -> Outcome {
        let config: Config = serde_json::from_str(&format!(r#"{{"host":"m"{rest}}}"#)).unwrap();
        let seen = Seen {
            samples,
            ..Seen::default()
        };
        judge(&config, seen).unwrap()
    }

    fn metric(outcome: &Outcome, name: &str) -> f64 {
        outcome
            .metrics
            .iter()
            .find(|metric| metric.name == name)
            .unwrap()
            .value
    }

    #[test]
    fn the_sample_with_the_least_delay_counts() {
        let samples = vec![
            sample(ms(13), ms(80)),
            sample(ms(10), ms(20)),
            sample(ms(14), ms(90)),
        ];
        let outcome = verdict("", samples);
        assert_eq!(outcome.status, Status::Up);
        assert_eq!(
            outcome.message,
            "NTP stratum 2 (0.0.0.1); offset +10.000 ms, delay 20.000 ms"
        );
        assert!((metric(&outcome, "jitter") - 12.5_f64.sqrt()).abs() < 1e-3);
        assert!((metric(&outcome, "offset") - 10.0).abs() < 1e-5);
        assert!((metric(&outcome, "samples") - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn past_a_threshold_is_degraded() {
        for (rest, reason, part) in [
            (
                r#","max_offset_ms":9"#,
                "ntp_offset",
                "differ by more than 9 ms; NTP stratum 2",
            ),
            (r#","max_stratum":1"#, "ntp_stratum", "above 1"),
            (r#","max_delay_ms":19.5"#, "ntp_delay", "above 19.5 ms"),
        ] {
            let outcome = verdict(rest, vec![sample(ms(10), ms(20))]);
            assert_eq!(
                (outcome.status, outcome.reason.as_deref()),
                (Status::Degraded, Some(reason))
            );
            assert!(outcome.message.contains(part), "{}", outcome.message);
        }
        let fine = r#","max_offset_ms":11,"max_stratum":2,"max_delay_ms":21"#;
        assert_eq!(verdict(fine, vec![sample(ms(10), ms(20))]).status, Status::Up);
    }

    #[test]
    fn a_clock_that_is_behind_is_as_bad_as_one_ahead() {
        let mut late = sample(ms(0), ms(20));
        late.offset = late.offset.minus(sample(ms(50), ms(0)).offset);
        let outcome = verdict(r#","max_offset_ms":49"#, vec![late]);
        assert_eq!(outcome.reason.as_deref(), Some("ntp_offset"));
        assert!(
            outcome.message.contains("offset -50.000 ms"),
            "{}",
            outcome.message
        );
    }

    #[test]
    fn a_server_without_time_is_told_by_its_kiss() {
        for (code, status, reason) in [
            (*b"RATE", Status::Unknown, "ntp_rate_limited"),
            (*b"DENY", Status::Down, "ntp_denied"),
            (*b"RSTR", Status::Down, "ntp_denied"),
            (*b"INIT", Status::Down, "ntp_unsynchronized"),
        ] {
            let answer = Answer::parse(&bytes(code), 1).unwrap();
            let outcome = timeless(&answer);
            assert_eq!(
                (outcome.status, outcome.reason.as_deref()),
                (status, Some(reason))
            );
        }
    }

    fn bytes(code: [u8; 4]) -> [u8; 48] {
        let mut packet = packet::request(1);
        packet[0] = 3 << 6 | 4 << 3 | 4;
        packet[12..16].copy_from_slice(&code);
        packet.copy_within(40..48, 24);
        packet
    }
}
