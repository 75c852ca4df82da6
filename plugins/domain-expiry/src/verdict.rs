//! Judges a registration. No I/O.

use crate::{
    config::Config,
    rdap::{Registration, shown},
};
use lapwing_plugin_sdk::Outcome;

const DAY: i64 = 86_400;

/// The outcome for a registration, `now` in seconds since 1970.
pub(crate) fn judge(config: &Config, registration: &Registration, now: i64) -> Outcome {
    let mut outcome = decide(config, registration, now)
        .with_attribute("domain.status", shown(&registration.status.join(", ")));
    if let Some(registrar) = &registration.registrar {
        outcome = outcome.with_attribute("domain.registrar", shown(registrar));
    }
    if let (Some(text), Ok(Some(end))) = (&registration.expires, registration.end()) {
        // Days fit an `i32` by far.
        let days = i32::try_from((end - now).div_euclid(DAY)).unwrap_or(i32::MAX);
        outcome = outcome.with_attribute("domain.expires", shown(text)).with_metric(
            "domain_expires_days",
            days.into(),
            Some("d"),
        );
    }
    outcome
}

fn decide(config: &Config, registration: &Registration, now: i64) -> Outcome {
    if let Some(status) = config
        .forbidden_status
        .iter()
        .find(|status| registration.has(status))
    {
        return Outcome::down("domain_status", format!("the domain has the status `{status}`"));
    }
    if let Some(status) = config
        .required_status
        .iter()
        .find(|status| !registration.has(status))
    {
        return Outcome::down(
            "assertion_failed",
            format!("the domain has not the status `{status}`"),
        );
    }
    if let Some(wanted) = &config.registrar {
        let found = registration.registrar.as_deref().unwrap_or_default();
        if !found.to_lowercase().contains(&wanted.to_lowercase()) {
            let message = format!("the registrar is `{}`, expected `{wanted}`", shown(found));
            return Outcome::down("assertion_failed", message);
        }
    }
    let end = match registration.end() {
        Ok(Some(end)) => end,
        // Some registries never tell: that says nothing of the domain.
        Ok(None) => {
            return Outcome::unknown(
                "rdap_no_expiration",
                "the registry does not tell when the domain expires",
            );
        }
        Err(why) => return Outcome::unknown("rdap_malformed", why),
    };
    // Rounded towards the end.
    let days = (end - now).div_euclid(DAY);
    let when = shown(registration.expires.as_deref().unwrap_or_default());
    if end <= now {
        Outcome::down("domain_expired", format!("the domain expired at {when}"))
    } else if days < config.min_days.into() {
        Outcome::down(
            "domain_expires_soon",
            format!("the domain expires in {days} days, at {when}"),
        )
    } else if days < config.warn_days.into() {
        Outcome::degraded(
            "domain_expires_soon",
            format!("the domain expires in {days} days, at {when}"),
        )
    } else {
        Outcome::up(format!("the domain expires in {days} days, at {when}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Status, serde_json};

    /// 2027-08-13T04:00:00Z.
    const END: i64 = 1_818_129_600;

    fn registration() -> Registration {
        Registration {
            expires: Some("2027-08-13T04:00:00Z".into()),
            status: vec!["client transfer prohibited".into()],
            registrar: Some("Reserved Registrar".into()),
        }
    }

    fn verdict(more: &str, registration: &Registration, now: i64) -> (Status, Option<String>) {
        let config = serde_json::from_str(&format!(r#"{{"domain":"a.com"{more}}}"#)).unwrap();
        let outcome = judge(&config, registration, now);
        (outcome.status, outcome.reason)
    }

    #[test]
    fn the_days_left_decide() {
        let at = |days: i64, seconds: i64| {
            let (status, reason) = verdict("", &registration(), END - days * DAY - seconds);
            (status, reason.unwrap_or_default())
        };
        assert_eq!(at(30, 0), (Status::Up, String::new()));
        assert_eq!(at(29, DAY - 1), (Status::Degraded, "domain_expires_soon".into()));
        assert_eq!(at(7, 0), (Status::Degraded, "domain_expires_soon".into()));
        assert_eq!(at(7, -1), (Status::Down, "domain_expires_soon".into()));
        assert_eq!(at(0, 1), (Status::Down, "domain_expires_soon".into()));
        assert_eq!(at(0, 0), (Status::Down, "domain_expired".into()));
        assert_eq!(at(-1000, 0), (Status::Down, "domain_expired".into()));
    }

    #[test]
    fn a_registry_that_does_not_tell_says_nothing_of_the_domain() {
        let silent = Registration {
            expires: None,
            ..registration()
        };
        assert_eq!(
            verdict("", &silent, 0),
            (Status::Unknown, Some("rdap_no_expiration".into()))
        );
        let odd = Registration {
            expires: Some("soon".into()),
            ..registration()
        };
        assert_eq!(
            verdict("", &odd, 0),
            (Status::Unknown, Some("rdap_malformed".into()))
        );
    }

    #[test]
    fn status_and_registrar_can_fail() {
        let held = Registration {
            status: vec!["redemption period".into()],
            ..registration()
        };
        assert_eq!(
            verdict("", &held, 0),
            (Status::Down, Some("domain_status".into()))
        );
        assert_eq!(verdict(r#","forbidden_status":[]"#, &held, 0).0, Status::Up);
        let locked = r#","required_status":["clientTransferProhibited"],"registrar":"reserved""#;
        assert_eq!(verdict(locked, &registration(), 0).0, Status::Up);
        assert_eq!(verdict(locked, &held, 0).0, Status::Down);
        let other = r#","registrar":"other""#;
        assert_eq!(
            verdict(other, &registration(), 0),
            (Status::Down, Some("assertion_failed".into()))
        );
    }
}
