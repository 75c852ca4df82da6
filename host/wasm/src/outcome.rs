//! From a guest's outcome to an observation: what it says is made fit, bounded, and told apart from what the host saw.
//!
//! Phases and the TLS session come from the host's own book. What only the guest claims is kept and named in the
//! attribute `plugin.claimed`; what had to be dropped is named in `plugin.dropped`.

use crate::{abi::v1::wit::types, ledger::Entries, text};
use jiff::Timestamp;
use lapwing_model::{Certificate, Metric, Observation, Phase, Reason, Status, TlsInfo};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Longest text, in characters.
pub(crate) const MESSAGE: usize = 1024;
/// Longest name.
pub(crate) const NAME: usize = 64;
/// Most items of a list.
pub(crate) const ITEMS: usize = 100;
/// Most labels of a metric.
pub(crate) const LABELS: usize = 10;
/// Most certificates of a chain.
pub(crate) const CHAIN: usize = 10;
/// Longest of the names in a certificate.
pub(crate) const DNS_NAME: usize = 255;
const DETAILS_BYTES: usize = 64 << 10;
/// How deep details may be nested: results carry them some levels further down, and readers of JSON stop at 128.
const DETAILS_DEPTH: usize = 64;
/// Attributes under this prefix are the host's.
const RESERVED: &str = "plugin.";
/// Attributes under these names are what native checks saw themselves; a guest's are named as claimed.
const NATIVE: [&str; 4] = ["http.", "tls.", "dns.", "peer"];
/// Phases the host measures itself, in the guest's words and in ours.
const MEASURED: [&str; 8] = [
    "dns",
    "resolve",
    "connect",
    "tls",
    "send",
    "first_byte",
    "receive",
    "total",
];

/// Joins the guest's `outcome` with the host's `entries` of a run that took `elapsed`.
pub(crate) fn observe(outcome: types::Outcome, entries: &mut Entries, elapsed: Duration) -> Observation {
    let mut notes = Notes::default();
    let status = status(outcome.status);
    let latency = notes.latency(outcome.latency, elapsed);
    let measured: Duration = entries.phases.iter().map(|phase| phase.elapsed).sum();
    let mut observation = Observation {
        status,
        reason: reason(status, outcome.reason.as_deref()),
        message: text::line(&outcome.message, MESSAGE),
        latency: latency.or_else(|| (!measured.is_zero()).then_some(measured)),
        phases: std::mem::take(&mut entries.phases),
        metrics: notes.metrics(outcome.metrics),
        attributes: notes.attributes(outcome.attributes),
        tls: entries.tls.take(),
        details: notes.details(outcome.details.as_deref()),
        untold: false,
    };
    notes.phases(outcome.phases, elapsed, &mut observation.phases);
    if let (None, Some(tls)) = (&observation.tls, outcome.tls) {
        notes.claimed.push("tls".to_owned());
        observation.tls = Some(notes.tls(tls));
    }
    if entries.dropped_lines > 0 {
        notes.drop(
            "log",
            &format!("{} lines over `limits.log_kib`", entries.dropped_lines),
        );
    }
    notes.write(&mut observation.attributes);
    observation
}

fn status(status: types::Status) -> Status {
    match status {
        types::Status::Up => Status::Up,
        types::Status::Degraded => Status::Degraded,
        types::Status::Down => Status::Down,
        types::Status::Unknown => Status::Unknown,
    }
}

/// A guest's word for a status; its own words must not pass for Lapwing's about itself.
fn reason(status: Status, word: Option<&str>) -> Option<Reason> {
    let reason = word.and_then(Reason::reported);
    match (status, reason) {
        (Status::Up, _) => None,
        (Status::Unknown, None) => Some(Reason::PluginError),
        (_, None) => Some(Reason::Reported("unspecified".into())),
        (Status::Unknown, reason) => reason,
        (_, Some(reason)) if is_our_own(&reason) => Reason::reported(&format!("reported_{reason}")),
        (_, reason) => reason,
    }
}

/// Whether a reason speaks of Lapwing and not of a target: [`Reason::ALL`] has those last.
fn is_our_own(reason: &Reason) -> bool {
    Reason::ALL
        .iter()
        .skip_while(|known| **known != Reason::NoPush)
        .skip(1)
        .any(|known| known == reason)
}

/// What was claimed and what was dropped.
#[derive(Debug, Default)]
struct Notes {
    claimed: Vec<String>,
    dropped: Vec<String>,
}

impl Notes {
    fn drop(&mut self, what: &str, why: &str) {
        if self.dropped.len() < 10 {
            self.dropped.push(format!("{what}: {why}"));
        }
    }

    /// A claimed latency longer than the whole run is no latency.
    fn latency(&mut self, nanos: Option<u64>, elapsed: Duration) -> Option<Duration> {
        let latency = Duration::from_nanos(nanos?);
        if latency > elapsed {
            self.drop("latency", "longer than the run");
            return None;
        }
        self.claimed.push("latency".to_owned());
        Some(latency)
    }

    /// The guest's own phases, behind the host's.
    fn phases(&mut self, claimed: Vec<types::Phase>, elapsed: Duration, phases: &mut Vec<Phase>) {
        for phase in claimed.into_iter().take(ITEMS) {
            let (name, spent) = (name(&phase.name), Duration::from_nanos(phase.elapsed));
            if MEASURED.contains(&name.replace('-', "_").as_str())
                || phases.iter().any(|known| known.name == name)
            {
                continue; // the host knows better
            }
            if name.is_empty() || spent > elapsed {
                self.drop(&format!("phase {name}"), "longer than the run, or nameless");
                continue;
            }
            self.claimed.push(format!("phases.{name}"));
            phases.push(Phase { name, elapsed: spent });
        }
    }

    fn metrics(&mut self, metrics: Vec<types::Metric>) -> Vec<Metric> {
        self.note_excess("metrics", metrics.len());
        let fit = metrics.into_iter().take(ITEMS).filter_map(|metric| {
            let name = name(&metric.name);
            if name.is_empty() || !metric.value.is_finite() {
                self.drop(&format!("metric {name}"), "not a finite number, or nameless");
                return None;
            }
            let labels = metric.labels.into_iter().take(LABELS);
            Some(Metric {
                name,
                value: metric.value,
                unit: metric.unit.map(|unit| text::line(&unit, NAME)),
                labels: labels
                    .map(|(label, value)| (self::name(&label), text::line(&value, NAME)))
                    .collect(),
            })
        });
        fit.collect()
    }

    fn attributes(&mut self, attributes: Vec<types::Attribute>) -> BTreeMap<String, Value> {
        self.note_excess("attributes", attributes.len());
        let fit = attributes.into_iter().take(ITEMS).filter_map(|attribute| {
            let name = name(&attribute.key);
            let value = match attribute.value {
                types::Value::Text(text) => Value::from(text::line(&text, MESSAGE)),
                types::Value::Int(number) => Value::from(number),
                types::Value::Float(number) if number.is_finite() => Value::from(number),
                types::Value::Float(_) => Value::Null,
                types::Value::Boolean(truth) => Value::from(truth),
            };
            let plain = name.to_ascii_lowercase();
            if name.is_empty() || value.is_null() || plain.starts_with(RESERVED) {
                self.drop(
                    &format!("attribute {name}"),
                    "reserved, nameless, or not a finite number",
                );
                return None;
            }
            if NATIVE.iter().any(|native| plain.starts_with(native)) {
                self.claimed.push(format!("attributes.{name}"));
            }
            Some((name, value))
        });
        fit.collect()
    }

    fn details(&mut self, details: Option<&str>) -> Option<Value> {
        let details = details?;
        if details.len() > DETAILS_BYTES {
            self.drop("details", "more than 64 KiB");
            return None;
        }
        let read = serde_json::from_str(details).map_err(|error| error.to_string());
        let fit = read.and_then(|value| {
            if is_within(&value, DETAILS_DEPTH) {
                Ok(value)
            } else {
                Err(format!("nested deeper than {DETAILS_DEPTH}"))
            }
        });
        fit.inspect_err(|why| self.drop("details", why)).ok()
    }

    /// A session the guest made itself. The interface carries less of a certificate than the host sees.
    fn tls(&mut self, tls: types::TlsInfo) -> TlsInfo {
        let line = |line: String| text::line(&line, MESSAGE);
        let chain = tls.chain.into_iter().take(CHAIN).map(|mut certificate| {
            if !is_sha256(&certificate.sha256) {
                certificate.sha256.clear();
                self.drop("tls.chain.sha256", "not 64 hexadecimal digits");
            }
            certificate
        });
        TlsInfo {
            chain: chain.filter_map(certificate).collect(),
            protocol: line(tls.protocol),
            cipher: line(tls.cipher),
            alpn: tls.alpn.map(line),
            server_name: tls.server_name.map(line),
            verified: tls.verified,
            verify_error: tls.verify_error.map(line),
        }
    }

    fn note_excess(&mut self, what: &str, count: usize) {
        if count > ITEMS {
            self.drop(what, &format!("{} more than {ITEMS}", count - ITEMS));
        }
    }

    fn write(self, attributes: &mut BTreeMap<String, Value>) {
        for (name, notes) in [("plugin.claimed", self.claimed), ("plugin.dropped", self.dropped)] {
            if !notes.is_empty() {
                attributes.insert(name.to_owned(), json!(notes));
            }
        }
    }
}

/// Whether `value` is nested no deeper than `depth`.
fn is_within(value: &Value, depth: usize) -> bool {
    let Some(below) = depth.checked_sub(1) else {
        return !value.is_array() && !value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().all(|item| is_within(item, below)),
        Value::Object(fields) => fields.values().all(|field| is_within(field, below)),
        _ => true,
    }
}

/// Without what is not seen: no name may look like another.
fn name(name: &str) -> String {
    let mut name = text::line(name, NAME);
    name.retain(|c| !is_unseen(c));
    name.trim().to_owned()
}

/// Unicode's characters that show nothing: soft hyphen, zero-width spaces and joiners, annotations, tags.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn certificate(certificate: types::Certificate) -> Option<Certificate> {
    let line = |line: String| text::line(&line, MESSAGE);
    let names = certificate.dns_names.into_iter().take(ITEMS);
    Some(Certificate {
        subject: line(certificate.subject),
        issuer: line(certificate.issuer),
        serial: line(certificate.serial),
        sha1: String::new(),
        sha256: certificate.sha256.to_ascii_lowercase(),
        not_before: Timestamp::from_second(certificate.not_before_unix).ok()?,
        not_after: Timestamp::from_second(certificate.not_after_unix).ok()?,
        dns_names: names.map(|name| text::line(&name, DNS_NAME)).collect(),
        ip_addresses: Vec::new(),
        signature_algorithm: String::new(),
        public_key_algorithm: String::new(),
        rsa_bits: None,
        version: 3,
    })
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Duration = Duration::from_millis(100);

    fn outcome(status: types::Status) -> types::Outcome {
        types::Outcome {
            status,
            reason: None,
            message: "fine".into(),
            latency: None,
            phases: Vec::new(),
            metrics: Vec::new(),
            attributes: Vec::new(),
            tls: None,
            details: None,
        }
    }

    fn seen(outcome: types::Outcome) -> Observation {
        observe(outcome, &mut Entries::default(), RUN)
    }

    #[test]
    fn absurd_numbers_are_dropped_and_named() {
        let metric = |name: &str, value| types::Metric {
            name: name.into(),
            value,
            unit: None,
            labels: Vec::new(),
        };
        let observation = seen(types::Outcome {
            latency: Some(u64::MAX),
            metrics: vec![
                metric("nan", f64::NAN),
                metric("inf", f64::INFINITY),
                metric("ok", 1.5),
            ],
            attributes: vec![types::Attribute {
                key: "f".into(),
                value: types::Value::Float(f64::NAN),
            }],
            phases: vec![types::Phase {
                name: "ehlo".into(),
                elapsed: u64::MAX,
            }],
            ..outcome(types::Status::Up)
        });
        assert_eq!(observation.latency, None);
        assert_eq!(observation.metrics.len(), 1);
        assert_eq!(observation.phases, []);
        assert_eq!(
            observation.attributes["plugin.dropped"].as_array().unwrap().len(),
            5
        );
    }

    #[test]
    fn a_name_that_looks_like_the_hosts_is_told_apart() {
        let attribute = |key: &str| types::Attribute {
            key: key.into(),
            value: types::Value::Int(1),
        };
        let names = [
            "\u{202e} plugin.claimed",
            "Plugin.dropped",
            "\u{200b}http.status",
            "TLS.version",
            "own",
        ];
        let observation = seen(types::Outcome {
            attributes: names.map(attribute).into(),
            ..outcome(types::Status::Up)
        });
        let kept: Vec<_> = observation.attributes.keys().map(String::as_str).collect();
        assert_eq!(
            kept,
            [
                "TLS.version",
                "http.status",
                "own",
                "plugin.claimed",
                "plugin.dropped"
            ]
        );
        assert_eq!(
            observation.attributes["plugin.claimed"],
            json!(["attributes.http.status", "attributes.TLS.version"])
        );
        assert_eq!(
            observation.attributes["plugin.dropped"].as_array().unwrap().len(),
            2
        );
    }

    #[test]
    fn details_are_no_deeper_than_results_can_carry() {
        for (depth, kept) in [(64, true), (65, false), (127, false), (128, false)] {
            let details = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let observation = seen(types::Outcome {
                details: Some(details),
                ..outcome(types::Status::Up)
            });
            assert_eq!(observation.details.is_some(), kept, "{depth}");
            assert_eq!(observation.attributes.contains_key("plugin.dropped"), !kept);
        }
    }

    #[test]
    fn floods_are_cut() {
        let attribute = |n| types::Attribute {
            key: format!("k{n}"),
            value: types::Value::Int(1),
        };
        let observation = seen(types::Outcome {
            message: "x".repeat(100_000),
            attributes: (0..10_000).map(attribute).collect(),
            details: Some(format!("\"{}\"", "x".repeat(70_000))),
            ..outcome(types::Status::Up)
        });
        assert_eq!(observation.message.chars().count(), MESSAGE + 1);
        assert_eq!(observation.attributes.len(), ITEMS + 1);
        assert_eq!(observation.details, None);
    }

    #[test]
    fn deep_or_broken_details_are_dropped() {
        for details in [
            "[".repeat(10_000) + &"]".repeat(10_000),
            "{".into(),
            String::new(),
        ] {
            let observation = seen(types::Outcome {
                details: Some(details),
                ..outcome(types::Status::Up)
            });
            assert_eq!(observation.details, None);
            assert!(observation.attributes.contains_key("plugin.dropped"));
        }
    }

    #[test]
    fn measured_phases_win_over_claimed_ones() {
        let mut entries = Entries::default();
        entries.phases.push(Phase {
            name: "connect".into(),
            elapsed: Duration::from_millis(3),
        });
        let claim = |name: &str| types::Phase {
            name: name.into(),
            elapsed: 1_000_000,
        };
        let claims = vec![claim("connect"), claim("first-byte"), claim("ehlo")];
        let observation = observe(
            types::Outcome {
                phases: claims,
                ..outcome(types::Status::Up)
            },
            &mut entries,
            RUN,
        );
        let names: Vec<_> = observation
            .phases
            .iter()
            .map(|phase| phase.name.as_str())
            .collect();
        assert_eq!(names, ["connect", "ehlo"]);
        assert_eq!(observation.phases[0].elapsed, Duration::from_millis(3));
        assert_eq!(observation.attributes["plugin.claimed"], json!(["phases.ehlo"]));
        assert_eq!(
            observation.latency,
            Some(Duration::from_millis(3)),
            "the host's own, for want of a claim"
        );
    }

    #[test]
    fn a_guest_cannot_speak_with_our_words() {
        let worded = |status, word: &str| {
            seen(types::Outcome {
                reason: Some(word.into()),
                ..outcome(status)
            })
        };
        let reason = |status, word| worded(status, word).reason.map(|reason| reason.to_string());
        assert_eq!(
            reason(types::Status::Down, "connection-refused").unwrap(),
            "connection_refused"
        );
        assert_eq!(
            reason(types::Status::Down, "plugin-trap").unwrap(),
            "reported_plugin_trap"
        );
        assert_eq!(
            reason(types::Status::Down, "maintenance").unwrap(),
            "reported_maintenance"
        );
        assert_eq!(reason(types::Status::Up, "whatever"), None);
        assert_eq!(
            seen(outcome(types::Status::Down)).reason.unwrap().as_str(),
            "unspecified"
        );
        assert_eq!(
            seen(outcome(types::Status::Unknown)).reason.unwrap(),
            Reason::PluginError
        );
    }

    #[test]
    fn an_attribute_named_as_a_native_checks_is_told_apart() {
        let attribute = |key: &str| types::Attribute {
            key: key.into(),
            value: types::Value::Int(1),
        };
        let observation = seen(types::Outcome {
            attributes: ["http.status", "smtp.code", "peer"].map(attribute).to_vec(),
            ..outcome(types::Status::Up)
        });
        assert_eq!(
            observation.attributes["plugin.claimed"],
            json!(["attributes.http.status", "attributes.peer"])
        );
    }

    #[test]
    fn a_certificates_fingerprint_is_hexadecimal_or_nothing() {
        let certificate = |sha256: &str| types::Certificate {
            subject: "s".into(),
            issuer: "i".into(),
            serial: "1".into(),
            sha256: sha256.into(),
            not_before_unix: 0,
            not_after_unix: 1,
            dns_names: Vec::new(),
        };
        let fingerprint = "0123456789abcdef".repeat(4);
        let session = types::TlsInfo {
            protocol: "TLSv1_3".into(),
            cipher: "c".into(),
            alpn: None,
            server_name: None,
            verified: true,
            verify_error: None,
            chain: vec![
                certificate(&fingerprint.to_uppercase()),
                certificate("whatever it likes"),
            ],
        };
        let observation = seen(types::Outcome {
            tls: Some(session),
            ..outcome(types::Status::Up)
        });
        let chain = observation.tls.unwrap().chain;
        assert_eq!((&chain[0].sha256, &*chain[1].sha256), (&fingerprint, ""));
        assert_eq!(
            observation.attributes["plugin.dropped"],
            json!(["tls.chain.sha256: not 64 hexadecimal digits"])
        );
    }

    #[test]
    fn the_hosts_attributes_cannot_be_forged() {
        let forged = types::Attribute {
            key: "plugin.claimed".into(),
            value: types::Value::Boolean(true),
        };
        let observation = seen(types::Outcome {
            attributes: vec![forged],
            ..outcome(types::Status::Up)
        });
        assert!(!observation.attributes.contains_key("plugin.claimed"));
    }
}
