//! Calls without a dialect.

use crate::{
    QueueError, RedisClock, Server,
    link::Link,
    script::{Call, Script},
};
use jiff::Timestamp;
use lapwing_model::Clock;
use redis::{Cmd, FromRedisValue, Pipeline};
use std::time::Duration;

/// What every dialect sends its commands through, as it is.
pub struct Probe(Link);

impl Probe {
    /// Does not connect yet. `patience` bounds the wait for a connection, and again the wait for an answer.
    pub fn new(server: &Server, patience: Duration) -> Self {
        Self(Link::new(server, patience))
    }

    /// Runs one command.
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QueueError> {
        self.0.command(command).await
    }

    /// Runs one command, its words parted by spaces.
    pub async fn run<T: FromRedisValue>(&self, words: &str) -> Result<T, QueueError> {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        self.0.command(command.arg(words.collect::<Vec<_>>())).await
    }

    /// Runs several commands in one round trip.
    pub async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, QueueError> {
        self.0.pipeline(pipeline).await
    }

    /// Runs a script.
    pub async fn script<T: FromRedisValue>(
        &self,
        code: &'static str,
        keys: &[&str],
        arguments: &[&str],
    ) -> Result<T, QueueError> {
        let mut call = Call::new(&Script::new(code), keys);
        self.0.script(call.arg(arguments)).await
    }

    /// Redis's time of day.
    pub async fn time(&self) -> Result<Timestamp, QueueError> {
        Ok(RedisClock::start(&self.0).await?.now())
    }
}
