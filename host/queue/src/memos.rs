//! Small values that monitors remember between runs, one Redis key each; best effort.
//!
//! The key is `lapwing:state:` and what the caller calls it. Nothing here waits for Redis for long: while it is away
//! the answer is an error, and the caller does without.

use crate::{QueueError, Server, link::Link};
use redis::cmd;
use std::time::Duration;

/// How long to wait for a connection, and again for an answer.
const PATIENCE: Duration = Duration::from_millis(250);

/// Most bytes that are read of a memo: others can write to the same Redis.
const MOST: usize = 1 << 20;

/// The memos in one Redis. Connects when it is first used, and again when it has to.
pub struct Memos(Link);

impl Memos {
    /// Does not connect yet.
    pub fn new(server: &Server) -> Self {
        Self(Link::new(server, PATIENCE))
    }

    /// The memo called `key`, of one that is larger the first 1 MiB. Cancel safe.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, QueueError> {
        let mut command = cmd("GETRANGE");
        let memo: Vec<u8> = self
            .0
            .command(command.arg(name(key)).arg(0).arg(MOST - 1))
            .await?;
        Ok(Some(memo).filter(|memo| !memo.is_empty()))
    }

    /// Keeps `memo` for `ttl` (whole seconds, at least one) from now on.
    pub async fn set(&self, key: &str, memo: &[u8], ttl: Duration) -> Result<(), QueueError> {
        let seconds = ttl.as_secs().max(1);
        let mut command = cmd("SET");
        self.0
            .command(command.arg(name(key)).arg(memo).arg("EX").arg(seconds))
            .await
    }

    /// Forgets it.
    pub async fn remove(&self, key: &str) -> Result<(), QueueError> {
        self.0.command(cmd("DEL").arg(name(key))).await
    }
}

fn name(key: &str) -> String {
    format!("lapwing:state:{key}")
}
