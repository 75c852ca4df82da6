//! What an author should know of a verdict that is no fault, and yet of little use to who reads it.

use lapwing_checks::text::nearest;
use lapwing_model::{Observation, Reason, Status};

/// One line for each thing to mend in what `kind` said.
pub(super) fn advice(kind: &str, seen: &Observation) -> Vec<String> {
    let judged = matches!(seen.status, Status::Degraded | Status::Down);
    let silent = judged && seen.message.is_empty();
    let silent = silent.then(|| {
        format!(
            "this {} has no message: say in one line what was seen and what was expected",
            seen.status
        )
    });
    let reason = match &seen.reason {
        Some(Reason::Reported(word)) if judged => of_reason(kind, word),
        _ => None,
    };
    silent.into_iter().chain(reason).collect()
}

/// Of a word that is none of Lapwing's own; it should begin as the kind does.
fn of_reason(kind: &str, word: &str) -> Option<String> {
    if word == "unspecified" {
        return Some(
            "it has no reason: give a stable `snake_case` word, such as `assertion_failed`".to_owned(),
        );
    }
    let first = kind.split('-').next().unwrap_or(kind);
    if word.strip_prefix(first).is_some_and(|rest| rest.starts_with('_')) {
        return None;
    }
    let meant = match nearest(word, Reason::ALL.iter().map(Reason::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("put the kind in front of a word of your own, as in `{first}_{word}`"),
    };
    Some(format!("the reason `{word}` is none of Lapwing's; {meant}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: Status, word: &str, message: &str) -> Vec<String> {
        let seen = Observation {
            reason: Reason::reported(word),
            status,
            ..Observation::up(message)
        };
        advice("door-bell", &seen)
    }

    #[test]
    fn a_verdict_that_tells_nothing_is_advised_on() {
        for (word, part) in [
            ("conection_refused", "did you mean `connection_refused`?"),
            ("silent", "as in `door_silent`"),
            ("unspecified", "it has no reason"),
        ] {
            let said = of(Status::Down, word, "no bell");
            assert!(said.len() == 1 && said[0].contains(part), "{word}: {said:?}");
        }
        assert!(of(Status::Degraded, "door_silent", "")[0].contains("this degraded has no message"));
    }

    #[test]
    fn a_good_one_and_what_is_no_verdict_are_left_alone() {
        for word in ["door_silent", "assertion_failed"] {
            assert_eq!(of(Status::Down, word, "no bell"), [""; 0], "{word}");
        }
        for status in [Status::Up, Status::Unknown] {
            assert_eq!(of(status, "odd", ""), [""; 0]);
        }
    }
}
