//! Judges the server's answer. No I/O.

use crate::{
    config::{Config, Expect, Request},
    exchange::Seen,
    packet::{ACCESS_ACCEPT, ACCESS_CHALLENGE, ACCESS_REJECT, ACCOUNTING_RESPONSE, Answer, Unfit},
};
use lapwing_plugin_sdk::Outcome;

/// The outcome for what came.
pub(crate) fn judge(config: &Config, seen: &Seen) -> Outcome {
    let answer = match seen {
        Seen::Answer(answer) => answer,
        Seen::Unfit(why) => return unfit(*why),
    };
    let words = match shown(&answer.message) {
        words if words.is_empty() => String::new(),
        words => format!(" (`{words}`)"),
    };
    let said = format!("RADIUS answered {}{words}", name(answer.code));
    let outcome =
        if config.request != Request::Status && config.require_message_authenticator && !answer.sealed {
            Outcome::down(
                "radius_unauthenticated",
                format!("{said} without Message-Authenticator: it can be forged (CVE-2024-3596)"),
            )
        } else {
            expected(config, answer, said)
        };
    outcome
        .with_attribute("radius.code", u32::from(answer.code))
        .with_attribute("radius.message_authenticator", answer.sealed)
}

fn expected(config: &Config, answer: &Answer, said: String) -> Outcome {
    let wanted = match (config.request, config.expect) {
        // On the authentication port, and on the accounting port (RFC 5997 §2.1).
        (Request::Status, _) => &[ACCESS_ACCEPT, ACCOUNTING_RESPONSE][..],
        (_, Expect::Accept) => &[ACCESS_ACCEPT],
        (_, Expect::Reject) => &[ACCESS_REJECT],
        (_, Expect::Challenge) => &[ACCESS_CHALLENGE],
        (_, Expect::Any) => &[ACCESS_ACCEPT, ACCESS_REJECT, ACCESS_CHALLENGE],
    };
    if wanted.contains(&answer.code) {
        return Outcome::up(said);
    }
    let reason = match answer.code {
        ACCESS_REJECT => "auth_failed",
        ACCESS_ACCEPT | ACCESS_CHALLENGE => "assertion_failed",
        _ => "protocol_error",
    };
    let wanted: Vec<String> = wanted.iter().map(|&code| name(code)).collect();
    Outcome::down(reason, format!("{said}, expected {}", wanted.join(" or ")))
}

fn unfit(why: Unfit) -> Outcome {
    match why {
        Unfit::NoRadius => Outcome::down("protocol_error", "RADIUS: what came back is no RADIUS packet"),
        Unfit::ResponseAuthenticator => Outcome::down(
            "radius_bad_authenticator",
            "RADIUS: an answer came that was made with another secret (is `secret` the server's?)",
        ),
        Unfit::MessageAuthenticator => Outcome::down(
            "radius_bad_authenticator",
            "RADIUS: an answer came whose Message-Authenticator is wrong",
        ),
    }
}

fn name(code: u8) -> String {
    match code {
        ACCESS_ACCEPT => "Access-Accept".to_owned(),
        ACCESS_REJECT => "Access-Reject".to_owned(),
        ACCOUNTING_RESPONSE => "Accounting-Response".to_owned(),
        ACCESS_CHALLENGE => "Access-Challenge".to_owned(),
        other => format!("code {other}"),
    }
}

/// A server's words, cut to what fits a line.
fn shown(words: &str) -> String {
    words.trim().chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Status, serde_json};

    fn verdict(more: &str, code: u8, sealed: bool) -> (Status, Option<String>, String) {
        let config = serde_json::from_str(&format!(r#"{{"host":"m","secret":"s"{more}}}"#)).unwrap();
        let answer = Answer {
            code,
            sealed,
            message: "hello".into(),
        };
        let outcome = judge(&config, &Seen::Answer(answer));
        (outcome.status, outcome.reason, outcome.message)
    }

    #[test]
    fn a_server_that_is_alive_is_up() {
        for code in [ACCESS_ACCEPT, ACCOUNTING_RESPONSE] {
            assert_eq!(verdict("", code, false).0, Status::Up, "{code}");
        }
        let (status, reason, _) = verdict("", 13, true);
        assert_eq!(
            (status, reason.as_deref()),
            (Status::Down, Some("protocol_error"))
        );
    }

    #[test]
    fn each_answer_can_be_the_expected_one() {
        let answers = [
            ("accept", ACCESS_ACCEPT),
            ("reject", ACCESS_REJECT),
            ("challenge", ACCESS_CHALLENGE),
        ];
        for (expect, right) in answers {
            for (_, code) in answers {
                let (status, _, message) =
                    verdict(&format!(r#","request":"pap","expect":"{expect}""#), code, true);
                assert_eq!(status == Status::Up, code == right, "{expect} {code} {message}");
            }
        }
        assert_eq!(
            verdict(r#","request":"chap""#, ACCESS_REJECT, true),
            (
                Status::Down,
                Some("auth_failed".to_owned()),
                "RADIUS answered Access-Reject (`hello`), expected Access-Accept".to_owned()
            )
        );
        let (status, ..) = verdict(r#","request":"pap","expect":"any""#, ACCESS_REJECT, true);
        assert_eq!(status, Status::Up);
    }

    #[test]
    fn an_answer_that_can_be_forged_is_down_unless_that_is_wanted() {
        let (status, reason, _) = verdict(r#","request":"pap""#, ACCESS_ACCEPT, false);
        assert_eq!(
            (status, reason.as_deref()),
            (Status::Down, Some("radius_unauthenticated"))
        );
        let (status, ..) = verdict(
            r#","request":"pap","require_message_authenticator":false"#,
            ACCESS_ACCEPT,
            false,
        );
        assert_eq!(status, Status::Up);
    }
}
