//! Judges what the server showed. No I/O.

use crate::{
    config::{Config, Tls},
    dialogue::Seen,
    reply::Reply,
};
use lapwing_plugin_sdk::Outcome;

/// The outcome for what was seen.
pub(crate) fn judge(config: &Config, seen: &Seen) -> Outcome {
    let outcome = match fault(config, seen) {
        Some((reason, message)) => Outcome::down(reason, message),
        None => Outcome::up(summary(seen)),
    };
    let mut outcome = outcome
        .with_attribute("smtp.banner", seen.banner.to_string())
        .with_attribute("smtp.code", seen.banner.code)
        .with_attribute("smtp.starttls", seen.starttls);
    if seen.hello.is_some() {
        outcome = outcome.with_attribute("smtp.extensions", seen.extensions().join(", "));
    }
    outcome
}

/// The first thing that is not as asked: a word for machines, a sentence for people.
fn fault(config: &Config, seen: &Seen) -> Option<(&'static str, String)> {
    let banner = &seen.banner;
    if banner.code != config.banner_code {
        return Some((
            refusal(banner),
            format!("SMTP greeting {banner}, expected {}", config.banner_code),
        ));
    }
    if let Some(part) = config
        .banner_contains
        .as_ref()
        .filter(|part| !banner.contains(part))
    {
        return Some((
            "assertion_failed",
            format!("SMTP greeting {banner} does not contain `{part}`"),
        ));
    }
    // A greeting that is expected to refuse is all there is to see.
    let hello = seen.hello.as_ref()?;
    if !hello.is_positive() {
        return Some((refusal(hello), format!("SMTP EHLO answered {hello}")));
    }
    if matches!(config.tls, Tls::Starttls | Tls::StarttlsAdvertised) && !seen.starttls {
        return Some((
            "starttls_missing",
            "SMTP server does not announce STARTTLS".to_owned(),
        ));
    }
    if let Some(reply) = &seen.starttls_refused {
        return Some(("tls_failed", format!("SMTP STARTTLS answered {reply}")));
    }
    let missing: Vec<&str> = config
        .extensions
        .iter()
        .map(String::as_str)
        .filter(|&wanted| !seen.announces(wanted))
        .collect();
    if !missing.is_empty() {
        return Some((
            "assertion_failed",
            format!("SMTP server does not announce {}", missing.join(", ")),
        ));
    }
    None
}

/// 4xx: it will not serve us now (421 overload or greylisting); else it will not serve us at all (RFC 5321 §4.2.1).
fn refusal(reply: &Reply) -> &'static str {
    match reply.code {
        400..500 => "smtp_unavailable",
        500..600 => "smtp_refused",
        _ => "assertion_failed",
    }
}

fn summary(seen: &Seen) -> String {
    let extensions = match (&seen.hello, seen.extensions().len()) {
        (None, _) => String::new(),
        (_, 1) => "; 1 extension".to_owned(),
        (_, count) => format!("; {count} extensions"),
    };
    let tls = match &seen.tls {
        Some(protocol) => format!("; {protocol}"),
        None if seen.starttls => "; STARTTLS advertised".to_owned(),
        None => String::new(),
    };
    format!("SMTP {}{extensions}{tls}", seen.banner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Status, serde_json};

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply {
            code,
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        }
    }

    fn seen() -> Seen {
        Seen {
            banner: reply(220, &["mail.example.com ESMTP"]),
            hello: Some(reply(
                250,
                &["mail.example.com", "SIZE 1000", "AUTH PLAIN LOGIN", "STARTTLS"],
            )),
            starttls: true,
            starttls_refused: None,
            tls: None,
        }
    }

    fn config(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    fn verdict(json: &str, seen: &Seen) -> (Status, Option<String>, String) {
        let outcome = judge(&config(json), seen);
        (outcome.status, outcome.reason, outcome.message)
    }

    #[test]
    fn a_server_that_answers_as_asked_is_up() {
        let (status, reason, message) =
            verdict(r#"{"host":"m","extensions":["AUTH LOGIN","size"]}"#, &seen());
        assert_eq!((status, reason), (Status::Up, None));
        assert_eq!(
            message,
            "SMTP 220 mail.example.com ESMTP; 3 extensions; STARTTLS advertised"
        );
        let encrypted = Seen {
            tls: Some("TLSv1.3".into()),
            ..seen()
        };
        let (_, _, message) = verdict(r#"{"host":"m","tls":"starttls"}"#, &encrypted);
        assert_eq!(message, "SMTP 220 mail.example.com ESMTP; 3 extensions; TLSv1.3");
    }

    #[test]
    fn a_refusing_greeting_is_down_with_its_own_reason() {
        let greeted = |code, text| Seen {
            banner: reply(code, &[text]),
            hello: None,
            starttls: false,
            ..seen()
        };
        let (status, reason, message) = verdict(r#"{"host":"m"}"#, &greeted(421, "try again later"));
        assert_eq!(
            (status, reason.as_deref()),
            (Status::Down, Some("smtp_unavailable"))
        );
        assert_eq!(message, "SMTP greeting 421 try again later, expected 220");
        let (_, reason, _) = verdict(r#"{"host":"m"}"#, &greeted(554, "no service"));
        assert_eq!(reason.as_deref(), Some("smtp_refused"));
        let (status, _, message) = verdict(r#"{"host":"m","banner_code":554}"#, &greeted(554, "no service"));
        assert_eq!((status, message.as_str()), (Status::Up, "SMTP 554 no service"));
    }

    #[test]
    fn every_expectation_can_fail() {
        let plain = Seen {
            hello: Some(reply(250, &["m", "SIZE 1"])),
            starttls: false,
            ..seen()
        };
        let refused = Seen {
            starttls_refused: Some(reply(454, &["no TLS now"])),
            ..seen()
        };
        let unwelcome = Seen {
            hello: Some(reply(550, &["who are you"])),
            starttls: false,
            ..seen()
        };
        for (json, seen, reason, message) in [
            (
                r#"{"host":"m","banner_contains":"Exim"}"#,
                &seen(),
                "assertion_failed",
                "SMTP greeting 220 mail.example.com ESMTP does not contain `Exim`",
            ),
            (
                r#"{"host":"m","extensions":["AUTH CRAM-MD5","SIZE","CHUNKING"]}"#,
                &seen(),
                "assertion_failed",
                "SMTP server does not announce AUTH CRAM-MD5, CHUNKING",
            ),
            (
                r#"{"host":"m","tls":"starttls_advertised"}"#,
                &plain,
                "starttls_missing",
                "SMTP server does not announce STARTTLS",
            ),
            (
                r#"{"host":"m","tls":"starttls"}"#,
                &refused,
                "tls_failed",
                "SMTP STARTTLS answered 454 no TLS now",
            ),
            (
                r#"{"host":"m"}"#,
                &unwelcome,
                "smtp_refused",
                "SMTP EHLO answered 550 who are you",
            ),
        ] {
            assert_eq!(
                verdict(json, seen),
                (Status::Down, Some(reason.to_owned()), message.to_owned())
            );
        }
    }
}
