//! What failures mean to a caller of the queue.

use crate::QueueError;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind};
use std::time::Duration;

/// Refusals of a healthy connection that pass with time, however the server spells them (bare, or inside the text of
/// a script's error).
const PASSING: [&str; 11] = [
    "NOREPLICAS",
    "OOM ",
    "OOM:",
    "MISCONF",
    "READONLY",
    "LOADING",
    "BUSY:",
    "TRYAGAIN",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "max number of clients",
];
/// Refusals that the operator must mend; the last is how Redis 7.0 says `NOPERM` inside a script.
const DENIED: [&str; 5] = [
    "NOPERM",
    "WRONGPASS",
    "NOAUTH",
    "AuthenticationFailed",
    "The user executing the script can't",
];

/// No answer came in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer to {what} within {patience:?}")]
pub(super) struct Silence {
    pub(super) what: String,
    pub(super) patience: Duration,
}

/// Whether the server may have done what it was asked all the same.
pub(crate) fn is_unanswered(error: &QueueError) -> bool {
    let QueueError::Unavailable(cause) = error else {
        return false;
    };
    let broken = cause
        .downcast_ref::<RedisError>()
        .is_some_and(RedisError::is_io_error);
    broken || cause.is::<Silence>()
}

/// What a failure of the `redis` crate means to a caller of the queue.
pub(crate) fn queue_error(error: RedisError) -> QueueError {
    let text = describe(&error);
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
            QueueError::Denied(text)
        }
        _ if says(&DENIED) => QueueError::Denied(text),
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => QueueError::Unavailable(error.into()),
        _ if says(&PASSING) => QueueError::Unavailable(error.into()),
        _ => QueueError::Protocol(text),
    }
}

/// Whether the server knows nothing of a script.
pub(super) fn is_unknown_script<T>(answer: &RedisResult<T>) -> bool {
    let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
    answer.as_ref().is_err_and(|error| error.kind() == unknown)
}

/// The error's text, with the server's own word for it first.
pub(super) fn describe(error: &RedisError) -> String {
    error
        .code()
        .map_or_else(|| error.to_string(), |code| format!("{code}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(line: &str) -> QueueError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        queue_error(value.extract_error().unwrap_err())
    }

    #[test]
    fn refusals_that_pass_are_unavailable_in_every_spelling() {
        for line in [
            "NOREPLICAS Not enough good replicas to write.",
            "OOM command not allowed when used memory > 'maxmemory'. script: abc, on @user_script:5.",
            "MISCONF Redis is configured to save RDB snapshots",
            "READONLY You can't write against a read only replica.",
            "ERR READONLY You can't write against a read only replica.",
            "ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed",
            "LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            "ERR max number of clients reached",
        ] {
            assert!(matches!(server(line), QueueError::Unavailable(_)), "{line}");
        }
    }

    #[test]
    fn refusals_that_the_operator_must_mend_say_so() {
        for line in [
            "NOPERM no permissions",
            "WRONGPASS invalid username-password pair",
            "NOAUTH Authentication required.",
            "ERR The user executing the script can't run this command or subcommand",
        ] {
            let QueueError::Denied(text) = server(line) else {
                panic!("{line}")
            };
            assert!(text.contains(line.split_once(' ').unwrap().1), "{text}");
        }
        assert!(matches!(
            server("WRONGTYPE Operation against a key"),
            QueueError::Protocol(_)
        ));
    }
}
