//! Judges what the server showed. No I/O.

use crate::{
    config::{Config, Expectation, Search},
    dialogue::Seen,
    message::{LdapResult, shown},
};
use lapwing_plugin_sdk::Outcome;

/// `sizeLimitExceeded`: there is more than was asked for.
const MORE: u32 = 4;

/// The outcome for what was seen.
pub(crate) fn judge(config: &Config, seen: &Seen) -> Outcome {
    let mut outcome = match fault(config, seen) {
        Some((reason, message)) => Outcome::down(&reason, message),
        None => Outcome::up(summary(config, seen)),
    };
    let last = [&seen.search, &seen.bind, &seen.starttls_refused];
    if let Some(result) = last.into_iter().find_map(Option::as_ref) {
        outcome = outcome.with_attribute("ldap.result", result.to_string());
    }
    if seen.search.is_none() {
        return outcome;
    }
    if let Some(first) = seen.entries.first() {
        outcome = outcome.with_attribute("ldap.first_dn", first.dn.as_str());
    }
    if seen.references > 0 {
        outcome = outcome.with_attribute("ldap.references", seen.references);
    }
    let count = u32::try_from(seen.entries.len()).unwrap_or(u32::MAX);
    outcome
        .with_attribute("ldap.entries", count)
        .with_metric("ldap_entries", count.into(), None)
}

/// The first thing that is not as asked: a word for machines, a sentence for people.
fn fault(config: &Config, seen: &Seen) -> Option<(String, String)> {
    if let Some(result) = &seen.starttls_refused {
        return Some((
            "tls_failed".to_owned(),
            format!("LDAP StartTLS answered {result}"),
        ));
    }
    let bind = seen.bind.as_ref()?;
    if !bind.is_success() {
        return Some((refusal(bind), format!("LDAP bind answered {bind}")));
    }
    let (wanted, result) = (config.search.as_ref()?, seen.search.as_ref()?);
    if !result.is_success() && result.code != MORE {
        return Some((refusal(result), format!("LDAP search answered {result}")));
    }
    let unmet = |what: String| Some(("assertion_failed".to_owned(), format!("LDAP search found {what}")));
    let found = seen.entries.len();
    let more = if result.code == MORE { " or more" } else { "" };
    if found < wanted.min_entries as usize {
        return unmet(format!(
            "{} where {} were expected",
            count(found),
            wanted.min_entries
        ));
    }
    if let Some(most) = wanted.max_entries.filter(|&most| found > most as usize) {
        return unmet(format!(
            "{}{more} where at most {most} were expected",
            count(found)
        ));
    }
    // The server's own limit, below the one asked for: there may be too many, or the one that is looked for.
    let missing = missing(wanted, seen);
    if result.code == MORE && (wanted.max_entries.is_some() || missing.is_some()) {
        return Some((
            refusal(result),
            format!("LDAP search answered {result} after {}", count(found)),
        ));
    }
    let Expectation { attribute, value } = missing?;
    unmet(match value {
        Some(value) => format!("no `{attribute}` of value `{}` in {}", shown(value), count(found)),
        None => format!("no `{attribute}` in {}", count(found)),
    })
}

/// The first expectation that no entry meets.
fn missing<'a>(wanted: &'a Search, seen: &Seen) -> Option<&'a Expectation> {
    wanted.expect.iter().find(|Expectation { attribute, value }| {
        let mut values = seen.entries.iter().flat_map(|entry| entry.values(attribute));
        !values.any(|found| value.as_ref().is_none_or(|value| found == value.as_bytes()))
    })
}

/// The code's own name, but for what Lapwing has a word for.
fn refusal(result: &LdapResult) -> String {
    match (result.code, result.name()) {
        (48 | 49, _) => "auth_failed".to_owned(),
        (_, Some(name)) => format!("ldap_{name}"),
        (code, None) => format!("ldap_result_{code}"),
    }
}

fn count(entries: usize) -> String {
    match entries {
        0 => "no entries".to_owned(),
        1 => "1 entry".to_owned(),
        many => format!("{many} entries"),
    }
}

fn summary(config: &Config, seen: &Seen) -> String {
    let who = config.bind_dn.as_ref().map_or("anonymous", |dn| dn.as_str());
    let tls = seen
        .tls
        .as_ref()
        .map(|tls| format!("; {tls}"))
        .unwrap_or_default();
    let found = match (&config.search, &seen.search) {
        (Some(search), Some(_)) if search.base.is_empty() => {
            format!("; {} in the root", count(seen.entries.len()))
        }
        (Some(search), Some(_)) => format!("; {} under `{}`", count(seen.entries.len()), shown(&search.base)),
        _ => String::new(),
    };
    format!("LDAP bind accepted ({}){found}{tls}", shown(who))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Entry;
    use lapwing_plugin_sdk::{Status, serde_json};

    fn result(code: u32) -> LdapResult {
        LdapResult {
            code,
            message: String::new(),
        }
    }

    fn found(entries: usize, code: u32) -> Seen {
        let entry = Entry {
            dn: "uid=a".into(),
            attributes: vec![("mail".into(), vec![b"a@b".to_vec(), b"c@d".to_vec()])],
        };
        Seen {
            bind: Some(result(0)),
            search: Some(result(code)),
            entries: vec![entry; entries],
            ..Seen::default()
        }
    }

    fn verdict(search: &str, seen: &Seen) -> (Status, Option<String>, String) {
        let config = serde_json::from_str(&format!(r#"{{"host":"m","search":{{"base":"dc=x",{search}}}}}"#));
        let outcome = judge(&config.unwrap(), seen);
        (outcome.status, outcome.reason, outcome.message)
    }

    #[test]
    fn what_is_as_asked_is_up() {
        let seen = Seen {
            tls: Some("TLSv1.3".into()),
            ..found(2, 0)
        };
        let (status, reason, message) = verdict(
            r#""max_entries":2,"expect":[{"attribute":"MAIL","value":"c@d"},{"attribute":"mail"}]"#,
            &seen,
        );
        assert_eq!((status, reason), (Status::Up, None));
        assert_eq!(
            message,
            "LDAP bind accepted (anonymous); 2 entries under `dc=x`; TLSv1.3"
        );
        let (status, ..) = verdict(r#""min_entries":0"#, &found(0, 0));
        assert_eq!(status, Status::Up);
        let (status, ..) = verdict(r#""min_entries":5"#, &found(1000, MORE));
        assert_eq!(status, Status::Up, "more than is read is enough");
    }

    #[test]
    fn every_expectation_can_fail() {
        for (search, seen, reason, message) in [
            (
                r#""scope":"sub""#,
                found(0, 0),
                "assertion_failed",
                "LDAP search found no entries where 1 were expected",
            ),
            (
                r#""max_entries":1"#,
                found(2, MORE),
                "assertion_failed",
                "LDAP search found 2 entries or more where at most 1 were expected",
            ),
            (
                r#""expect":[{"attribute":"mail","value":"A@b"}]"#,
                found(1, 0),
                "assertion_failed",
                "LDAP search found no `mail` of value `A@b` in 1 entry",
            ),
            (
                r#""expect":[{"attribute":"cn"}]"#,
                found(1, 0),
                "assertion_failed",
                "LDAP search found no `cn` in 1 entry",
            ),
            (
                r#""expect":[{"attribute":"cn"}]"#,
                found(500, MORE),
                "ldap_size_limit_exceeded",
                "LDAP search answered 4 size_limit_exceeded after 500 entries",
            ),
            (
                r#""max_entries":900"#,
                found(500, MORE),
                "ldap_size_limit_exceeded",
                "LDAP search answered 4 size_limit_exceeded after 500 entries",
            ),
            (
                r#""scope":"sub""#,
                found(0, 32),
                "ldap_no_such_object",
                "LDAP search answered 32 no_such_object",
            ),
        ] {
            assert_eq!(
                verdict(search, &seen),
                (Status::Down, Some(reason.to_owned()), message.to_owned())
            );
        }
    }

    #[test]
    fn refusals_are_named() {
        let refused = |code| {
            let seen = Seen {
                bind: Some(result(code)),
                ..Seen::default()
            };
            let (status, reason, _) = verdict(r#""scope":"sub""#, &seen);
            assert_eq!(status, Status::Down);
            reason.unwrap()
        };
        assert_eq!(refused(49), "auth_failed");
        assert_eq!(refused(51), "ldap_busy");
        assert_eq!(refused(4096), "ldap_result_4096");
        let seen = Seen {
            starttls_refused: Some(result(52)),
            ..Seen::default()
        };
        let (_, reason, message) = verdict(r#""scope":"sub""#, &seen);
        assert_eq!(reason.as_deref(), Some("tls_failed"));
        assert_eq!(message, "LDAP StartTLS answered 52 unavailable");
    }
}
