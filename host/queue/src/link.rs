//! One multiplexed connection to Redis that mends itself.
//!
//! The dialects send everything but subscriptions through here. The `redis` crate's own connection manager is not
//! used because it keeps a failure that is no I/O error (a wrong password, "max number of clients reached") for good,
//! and because it stays on a server that has become read-only after a failover.

use crate::{QueueError, Server, backoff::Backoff};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult,
    ScriptInvocation, ServerErrorKind, aio::MultiplexedConnection,
};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// Pauses between tries to connect: short enough to be back well within two seconds of the server's return.
const LEAST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

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
/// Refusals that the operator must mend.
const DENIED: [&str; 3] = ["NOPERM", "WRONGPASS", "NOAUTH"];

/// The connection. Shared by all callers; commands of several callers travel together.
pub(crate) struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    patience: Duration,
    live: Mutex<Option<Live>>,
    /// Held by whoever connects; the others wait for the outcome.
    dialing: tokio::sync::Mutex<Dialing>,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    serial: u64,
}

struct Dialing {
    backoff: Backoff,
    failed: bool,
    serial: u64,
}

impl Link {
    /// Does not connect yet. `patience` bounds the wait for a connection, and again the wait for an answer.
    pub(crate) fn new(server: &Server, patience: Duration) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(DIAL_TIMEOUT.min(patience)))
            .set_response_timeout(Some(patience));
        // A caller gives up after `patience`: with a longer pause before it, no try would ever be made.
        let dialing = Dialing {
            backoff: Backoff::new(LEAST_PAUSE, LONGEST_PAUSE.min(patience / 4)),
            failed: false,
            serial: 0,
        };
        Self {
            client: server.client().clone(),
            config,
            patience,
            live: Mutex::default(),
            dialing: tokio::sync::Mutex::new(dialing),
        }
    }

    /// Runs one command.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QueueError> {
        let mut live = self.live().await?;
        let answer = command.query_async(&mut live.connection).await;
        self.judge(answer, live.serial)
    }

    /// Runs several commands in one round trip.
    pub(crate) async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, QueueError> {
        let mut live = self.live().await?;
        let answer = pipeline.query_async(&mut live.connection).await;
        self.judge(answer, live.serial)
    }

    /// Runs a script, uploading it when the server does not know it.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, QueueError> {
        let mut live = self.live().await?;
        let answer = call.invoke_async(&mut live.connection).await;
        self.judge(answer, live.serial)
    }

    /// The connection; while there is none, waits for one as long as its patience lasts.
    async fn live(&self) -> Result<Live, QueueError> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let mut failure = QueueError::Unavailable("no connection to Redis in time".into());
        let connected = async {
            loop {
                match self.dial().await {
                    Err(error @ QueueError::Unavailable(_)) => failure = error,
                    outcome => return outcome,
                }
            }
        };
        match timeout(self.patience, connected).await {
            Ok(outcome) => outcome,
            Err(_) => Err(failure),
        }
    }

    /// One try to connect, by one caller at a time; after a failure, not before a pause.
    async fn dial(&self) -> Result<Live, QueueError> {
        let mut dialing = self.dialing.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        if dialing.failed {
            let pause = dialing.backoff.pause();
            sleep(pause).await;
        }
        // Stays so when this future is dropped halfway.
        dialing.failed = true;
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config)
            .await
            .map_err(queue_error)?;
        dialing.failed = false;
        dialing.backoff.reset();
        dialing.serial += 1;
        let live = Live {
            connection,
            serial: dialing.serial,
        };
        *self.slot() = Some(live.clone());
        Ok(live)
    }

    fn current(&self) -> Option<Live> {
        self.slot().clone()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Translates a failure, and gives up the connection it came through when another one may do better: it broke,
    /// it went silent, or its server became a replica.
    fn judge<T>(&self, answer: RedisResult<T>, serial: u64) -> Result<T, QueueError> {
        answer.map_err(|error| {
            let unfit = error.is_io_error()
                || error.is_unrecoverable_error()
                || describe(&error).contains("READONLY");
            let mut slot = self.slot();
            if unfit && slot.as_ref().is_some_and(|live| live.serial == serial) {
                *slot = None;
            }
            queue_error(error)
        })
    }
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
        ErrorKind::Io => QueueError::Unavailable(error.into()),
        _ if says(&PASSING) => QueueError::Unavailable(error.into()),
        _ => QueueError::Protocol(text),
    }
}

/// The error's text, with the server's own word for it first.
fn describe(error: &RedisError) -> String {
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
