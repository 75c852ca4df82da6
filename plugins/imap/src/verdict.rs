//! Judges what the server showed. No I/O.

use crate::{
    config::Config,
    dialogue::{End, Seen},
    response::{Status, Word, shown},
};
use lapwing_plugin_sdk::Outcome;

/// The outcome for what was seen.
pub(crate) fn judge(config: &Config, seen: &Seen) -> Outcome {
    let outcome = match (fault(config, seen), flaw(config, seen)) {
        (Some((reason, message)), _) => Outcome::down(reason, message),
        (None, Some((reason, message))) => Outcome::degraded(reason, message),
        (None, None) => Outcome::up(summary(config, seen)),
    };
    let mut outcome = outcome
        .with_attribute("imap.greeting", seen.greeting.shown())
        .with_attribute("imap.capabilities", seen.capabilities.join(" "))
        .with_attribute("imap.logged_in", seen.logged_in);
    if let Some(counts) = seen.counts {
        outcome = outcome
            .with_metric("messages", counts.messages.into(), None)
            .with_metric("unseen", counts.unseen.into(), None);
    }
    outcome
}

/// The first thing that is not as asked: a word for machines, a sentence for people.
fn fault(config: &Config, seen: &Seen) -> Option<(&'static str, String)> {
    let missing: Vec<&str> = config
        .capabilities
        .iter()
        .map(String::as_str)
        .filter(|&wanted| !seen.has(wanted))
        .collect();
    match &seen.end {
        Some(End::Bye) => Some((
            "imap_unavailable",
            format!("IMAP greeting {}, expected OK", seen.greeting.shown()),
        )),
        Some(End::NoStarttls(why)) => Some(("starttls_missing", format!("IMAP server {why}"))),
        Some(End::StarttlsRefused(status)) => {
            Some(("tls_failed", format!("IMAP STARTTLS answered {}", status.shown())))
        }
        // Before the login, which may fail for want of one of them.
        _ if !missing.is_empty() => Some((
            "assertion_failed",
            format!("IMAP server does not announce {}", missing.join(", ")),
        )),
        Some(End::NoLogin) => Some((
            "imap_login_disabled",
            format!(
                "IMAP server announces no login of the kind asked for ({})",
                shown(&seen.capabilities.join(" "))
            ),
        )),
        Some(End::LoginRefused(status)) => Some((
            refusal(status, "auth_failed"),
            format!("IMAP login answered {}", status.shown()),
        )),
        Some(End::MailboxRefused(status)) => {
            let mailbox = config.mailbox.as_deref().unwrap_or_default();
            Some((
                refusal(status, "imap_mailbox_refused"),
                format!("IMAP mailbox `{mailbox}`: {}", status.shown()),
            ))
        }
        None => None,
    }
}

/// NO for lack of something on the server's side has codes of its own (RFC 5530 §3); BAD means that it did not
/// understand.
fn refusal(status: &Status, otherwise: &'static str) -> &'static str {
    match status.word {
        Word::Bad => "protocol_error",
        _ if ["UNAVAILABLE", "INUSE", "SERVERBUG", "LIMIT"]
            .iter()
            .any(|code| status.has_code(code)) =>
        {
            "imap_unavailable"
        }
        _ => otherwise,
    }
}

/// The first thing that wants mending.
fn flaw(config: &Config, seen: &Seen) -> Option<(&'static str, String)> {
    let (counts, mailbox) = (seen.counts?, config.mailbox.as_deref()?);
    if let Some(max) = config.max_messages.filter(|&max| counts.messages > max) {
        let message = format!(
            "{} messages in `{mailbox}`, at most {max} expected",
            counts.messages
        );
        return Some(("imap_messages", message));
    }
    let max = config.max_unseen.filter(|&max| counts.unseen > max)?;
    let message = format!(
        "{} unseen messages in `{mailbox}`, at most {max} expected",
        counts.unseen
    );
    Some(("imap_unseen", message))
}

fn summary(config: &Config, seen: &Seen) -> String {
    let mut parts = vec![format!("IMAP {}", seen.greeting.shown())];
    parts.extend(seen.tls.clone());
    if seen.logged_in {
        parts.push("logged in".to_owned());
    }
    if let (Some(counts), Some(mailbox)) = (seen.counts, &config.mailbox) {
        parts.push(format!(
            "{mailbox}: {} messages, {} unseen",
            counts.messages, counts.unseen
        ));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{Counts, Response};
    use lapwing_plugin_sdk::serde_json;

    fn status(line: &str) -> Status {
        match Response::parse(line) {
            Some(Response::Status(status) | Response::Done(_, status)) => status,
            other => panic!("{other:?}"),
        }
    }

    fn seen(end: Option<End>) -> Seen {
        Seen {
            greeting: status("* OK ready"),
            capabilities: vec!["IMAP4rev1".into(), "IDLE".into()],
            tls: Some("TLSv1.3".into()),
            logged_in: true,
            counts: Some(Counts {
                messages: 5,
                unseen: 2,
            }),
            end,
        }
    }

    fn verdict(rest: &str, seen: &Seen) -> (lapwing_plugin_sdk::Status, String, String) {
        let json = format!(r#"{{"host":"m","username":"u","password":"p","mailbox":"INBOX"{rest}}}"#);
        let config: Config = serde_json::from_str(&json).unwrap();
        let outcome = judge(&config, seen);
        (
            outcome.status,
            outcome.reason.unwrap_or_default(),
            outcome.message,
        )
    }

    #[test]
    fn a_server_that_answers_as_asked_is_up() {
        let rest = r#","capabilities":["idle"],"max_messages":5,"max_unseen":2"#;
        let (status, _, message) = verdict(rest, &seen(None));
        assert_eq!(status, lapwing_plugin_sdk::Status::Up);
        assert_eq!(
            message,
            "IMAP OK ready; TLSv1.3; logged in; INBOX: 5 messages, 2 unseen"
        );
    }

    #[test]
    fn too_many_messages_are_degraded() {
        for (rest, reason) in [
            (r#","max_messages":4"#, "imap_messages"),
            (r#","max_unseen":1"#, "imap_unseen"),
        ] {
            let verdict = verdict(rest, &seen(None));
            assert_eq!(
                (verdict.0, verdict.1.as_str()),
                (lapwing_plugin_sdk::Status::Degraded, reason)
            );
        }
    }

    #[test]
    fn every_early_end_has_its_reason() {
        for (end, reason) in [
            (End::Bye, "imap_unavailable"),
            (End::NoStarttls("does not announce STARTTLS"), "starttls_missing"),
            (End::StarttlsRefused(status("L1 NO x")), "tls_failed"),
            (End::NoLogin, "imap_login_disabled"),
            (
                End::LoginRefused(status("L1 NO [AUTHENTICATIONFAILED] x")),
                "auth_failed",
            ),
            (
                End::LoginRefused(status("L1 NO [UNAVAILABLE] x")),
                "imap_unavailable",
            ),
            (End::LoginRefused(status("L1 BAD x")), "protocol_error"),
            (
                End::MailboxRefused(status("L1 NO [NONEXISTENT] x")),
                "imap_mailbox_refused",
            ),
        ] {
            let verdict = verdict("", &seen(Some(end.clone())));
            assert_eq!(
                (verdict.0, verdict.1.as_str()),
                (lapwing_plugin_sdk::Status::Down, reason),
                "{end:?}"
            );
        }
        let verdict = verdict(r#","capabilities":["MOVE","IDLE"]"#, &seen(None));
        assert_eq!(verdict.1, "assertion_failed");
        assert_eq!(verdict.2, "IMAP server does not announce MOVE");
    }
}
