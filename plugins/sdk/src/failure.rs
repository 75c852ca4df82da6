//! How a run ends early: the error type of [`Checker::check`](crate::Checker::check), made for `?`.

use crate::{
    NetError, Outcome, bindings::lapwing::plugin::types::CheckError, net::Fault, secrets::SecretError,
    state::StateError,
};

/// A run that ended before its check was done: with a verdict on the target, or without one.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The target did not do as asked; this is a result like any other.
    Target(Box<Outcome>),
    /// The check could not be carried out. Says nothing of the target: the host reports `unknown`.
    Check(CheckError),
}

impl Failure {
    /// The target is down. `reason` is a stable word for machines (`snake_case`), `message` is for people.
    pub fn down(reason: &str, message: impl Into<String>) -> Self {
        Outcome::down(reason, message).into()
    }

    /// The configuration asks for what cannot be, beyond what the schema can say.
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::Check(CheckError::InvalidConfig(message.into()))
    }

    /// The plugin cannot do what is asked.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::Check(CheckError::Unsupported(message.into()))
    }

    /// Trouble on the probing side that may be over at once; the host tries once more if there is time.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::Check(CheckError::Retryable(message.into()))
    }

    /// The plugin's own fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Check(CheckError::Internal(message.into()))
    }
}

impl From<Outcome> for Failure {
    fn from(outcome: Outcome) -> Self {
        Self::Target(Box::new(outcome))
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        match (error.reason(), &error.fault) {
            (Some(reason), _) => Self::down(reason, error.to_string()),
            // One of the run's quotas is told by the host, whatever is said here; the rest is the plugin's own bound.
            (None, Fault::Limit(_)) => Self::internal(error.to_string()),
            (None, _) => Self::Check(CheckError::Denied(error.to_string())),
        }
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Self::Check(match error {
            SecretError::AccessDenied => CheckError::Denied("a secret that is not granted".to_owned()),
            SecretError::NotFound => CheckError::Denied("a secret that is not there".to_owned()),
            SecretError::Unavailable(why) => CheckError::Retryable(format!("secrets: {why}")),
        })
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::Check(match error {
            StateError::AccessDenied => CheckError::Denied("`state` is not granted".to_owned()),
            StateError::Unavailable(why) => CheckError::Retryable(format!("state: {why}")),
            StateError::TooLarge | StateError::QuotaExceeded => {
                CheckError::Internal("state: more than may be kept".to_owned())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_worker_refuses_or_cannot_give_is_not_the_plugins_fault() {
        let end = |failure: Failure| match failure {
            Failure::Check(error) => error,
            Failure::Target(outcome) => unreachable!("{outcome:?}"),
        };
        assert!(matches!(
            end(SecretError::AccessDenied.into()),
            CheckError::Denied(_)
        ));
        assert!(matches!(end(SecretError::NotFound.into()), CheckError::Denied(_)));
        assert!(matches!(
            end(StateError::AccessDenied.into()),
            CheckError::Denied(_)
        ));
        let away = StateError::Unavailable("redis is away".into());
        assert!(matches!(end(away.into()), CheckError::Retryable(text) if text == "state: redis is away"));
        assert!(matches!(
            end(StateError::TooLarge.into()),
            CheckError::Internal(_)
        ));
    }
}
