//! Judges what the server showed. No I/O.

use crate::{
    config::Config,
    dialogue::{Proof, Seen},
    offer::Offer,
};
use lapwing_plugin_sdk::{Failure, Outcome};

/// The outcome for what was seen. `Err` when the question is one this check cannot answer.
pub(crate) fn judge(config: &Config, seen: &Seen) -> Result<Outcome, Failure> {
    if let (Some(nothing), false) = (&seen.disagreement, config.host_key_sha256.is_empty()) {
        return Err(Failure::unsupported(format!(
            "the host key cannot be seen: no {nothing} in common with this check"
        )));
    }
    let outcome = match (fault(config, seen), flaw(config, seen)) {
        (Some((reason, message)), _) => Outcome::down(reason, message),
        (None, Some((reason, message))) => Outcome::degraded(reason, message),
        (None, None) => Outcome::up(summary(seen)),
    };
    Ok(describe(outcome, seen))
}

/// The first thing that is not as asked: a word for machines, a sentence for people.
fn fault(config: &Config, seen: &Seen) -> Option<(&'static str, String)> {
    let version = &seen.version;
    if !version.is_two() {
        return Some((
            "version_mismatch",
            format!("SSH {}, expected 2.0 (`{}`)", version.protocol(), version.line),
        ));
    }
    if let Some(part) = config
        .version_contains
        .as_ref()
        .filter(|&part| !version.line.contains(part))
    {
        return Some((
            "assertion_failed",
            format!("SSH version `{}` does not contain `{part}`", version.line),
        ));
    }
    let Proof { key, proven, .. } = seen.proof.as_ref()?;
    if !proven {
        return Some((
            "ssh_host_key_unproven",
            format!(
                "the server's signature is not of the host key it showed ({} {})",
                key.name, key.fingerprint
            ),
        ));
    }
    (!config.accepts(&key.fingerprint)).then(|| {
        (
            "ssh_host_key_mismatch",
            format!(
                "host key {} {}, expected {}",
                key.name,
                key.fingerprint,
                config.host_key_sha256.join(" or ")
            ),
        )
    })
}

/// The first thing that wants mending.
fn flaw(config: &Config, seen: &Seen) -> Option<(&'static str, String)> {
    let software = seen.version.software();
    if let Some(wanted) = &config.min_version {
        match seen.version.at_least(wanted) {
            Some(true) => {}
            Some(false) => {
                return Some(("ssh_outdated", format!("{software} is older than {wanted}")));
            }
            None => {
                return Some((
                    "ssh_outdated",
                    format!("{software} tells no version, expected {wanted} or newer"),
                ));
            }
        }
    }
    let unwanted: Vec<&str> = config
        .unwanted_algorithms
        .iter()
        .map(String::as_str)
        .filter(|&name| {
            seen.offer
                .iter()
                .flat_map(Offer::all)
                .any(|offered| offered == name)
        })
        .collect();
    (!unwanted.is_empty()).then(|| {
        (
            "ssh_weak_algorithms",
            format!("the server offers {}", unwanted.join(", ")),
        )
    })
}

fn summary(seen: &Seen) -> String {
    let software = seen.version.software();
    match (&seen.proof, &seen.disagreement) {
        (Some(Proof { key, .. }), _) => format!("SSH {software}; {} {}", key.name, key.fingerprint),
        (None, Some(nothing)) => {
            format!("SSH {software}; host key not seen: no {nothing} in common with this check")
        }
        (None, None) => format!("SSH {software}"),
    }
}

fn describe(outcome: Outcome, seen: &Seen) -> Outcome {
    let version = &seen.version;
    let mut outcome = outcome
        .with_attribute("ssh.protocol", version.protocol())
        .with_attribute("ssh.software", version.software());
    if !version.comments().is_empty() {
        outcome = outcome.with_attribute("ssh.comments", version.comments());
    }
    if let Some(preface) = &seen.preface {
        outcome = outcome.with_attribute("ssh.preface", preface.as_str());
    }
    if let Some(Proof { agreed, key, .. }) = &seen.proof {
        outcome = outcome
            .with_attribute("ssh.host_key_sha256", key.fingerprint.as_str())
            .with_attribute("ssh.host_key_type", key.name)
            .with_attribute("ssh.host_key_bits", i64::try_from(key.bits).unwrap_or(i64::MAX))
            .with_attribute("ssh.kex", agreed.name.as_str());
    }
    if let Some(offer) = &seen.offer {
        for (key, names) in [
            ("ssh.kex_algorithms", &offer.exchanges),
            ("ssh.host_key_algorithms", &offer.host_keys),
            ("ssh.ciphers", &offer.ciphers),
            ("ssh.macs", &offer.macs),
            ("ssh.compression", &offer.compression),
        ] {
            outcome = outcome.with_attribute(key, names.join(", "));
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host_key::HostKey,
        offer::{Agreed, Exchange},
        version::Version,
        wire::put_string,
    };
    use lapwing_plugin_sdk::{Status, serde_json};

    const KEY: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

    fn seen(line: &str) -> Seen {
        let mut blob = Vec::new();
        put_string(&mut blob, b"ssh-ed25519");
        put_string(
            &mut blob,
            ed25519_dalek::SigningKey::from_bytes(&[7; 32])
                .verifying_key()
                .as_bytes(),
        );
        let mut key = HostKey::parse(&blob).unwrap();
        key.fingerprint = KEY.into();
        let agreed = Agreed {
            name: "curve25519-sha256".into(),
            exchange: Exchange::Curve25519,
            host_key: "ssh-ed25519".into(),
        };
        Seen {
            version: Version::parse(line.as_bytes()).unwrap().unwrap(),
            preface: None,
            offer: Some(Offer {
                ciphers: vec!["aes128-ctr".into(), "3des-cbc".into()],
                ..Offer::default()
            }),
            proof: Some(Proof {
                agreed,
                key,
                proven: true,
            }),
            disagreement: None,
        }
    }

    fn verdict(rest: &str, seen: &Seen) -> (Status, String, String) {
        let config: Config = serde_json::from_str(&format!(r#"{{"host":"m"{rest}}}"#)).unwrap();
        let outcome = judge(&config, seen).unwrap();
        (
            outcome.status,
            outcome.reason.unwrap_or_default(),
            outcome.message,
        )
    }

    #[test]
    fn a_server_that_answers_as_asked_is_up() {
        let (status, _, message) = verdict(
            &format!(r#","host_key_sha256":["{KEY}"],"min_version":"9.2","version_contains":"Debian""#),
            &seen("SSH-2.0-OpenSSH_9.2p1 Debian-2"),
        );
        assert_eq!(
            (status, message),
            (Status::Up, format!("SSH OpenSSH_9.2p1; ssh-ed25519 {KEY}"))
        );
    }

    #[test]
    fn every_expectation_can_fail() {
        let server = seen("SSH-2.0-OpenSSH_9.2p1");
        let other = KEY.replace("47", "00");
        let mut forged = server.clone();
        forged.proof.as_mut().unwrap().proven = false;
        for (rest, seen, status, reason, part) in [
            (
                "",
                &seen("SSH-1.5-old"),
                Status::Down,
                "version_mismatch",
                "SSH 1.5",
            ),
            (
                r#","version_contains":"Debian""#,
                &server,
                Status::Down,
                "assertion_failed",
                "`Debian`",
            ),
            (
                &*format!(r#","host_key_sha256":["{other}"]"#),
                &server,
                Status::Down,
                "ssh_host_key_mismatch",
                &*other,
            ),
            ("", &forged, Status::Down, "ssh_host_key_unproven", KEY),
            (
                r#","min_version":"9.6""#,
                &server,
                Status::Degraded,
                "ssh_outdated",
                "older than 9.6",
            ),
            (
                r#","min_version":"1""#,
                &self::seen("SSH-2.0-ROSSSH"),
                Status::Degraded,
                "ssh_outdated",
                "tells no version",
            ),
            (
                r#","unwanted_algorithms":["ssh-rsa","3des-cbc"]"#,
                &server,
                Status::Degraded,
                "ssh_weak_algorithms",
                "offers 3des-cbc",
            ),
        ] {
            let verdict = verdict(rest, seen);
            assert_eq!((verdict.0, verdict.1.as_str()), (status, reason), "{rest}");
            assert!(verdict.2.contains(part), "{}", verdict.2);
        }
    }

    #[test]
    fn a_key_that_cannot_be_seen_is_not_the_servers_fault() {
        let server = Seen {
            proof: None,
            disagreement: Some("key exchange (offered: mlkem)".into()),
            ..seen("SSH-2.0-x_1")
        };
        let (status, _, message) = verdict("", &server);
        assert_eq!(status, Status::Up);
        assert!(
            message.contains("no key exchange (offered: mlkem) in common"),
            "{message}"
        );
        let config = format!(r#"{{"host":"m","host_key_sha256":["{KEY}"]}}"#);
        let failure = judge(&serde_json::from_str(&config).unwrap(), &server).unwrap_err();
        assert!(matches!(failure, Failure::Check(_)), "unknown, not down");
    }
}
