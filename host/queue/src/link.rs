//! Multiplexed connections to Redis that mend themselves.
//!
//! The dialects send everything but subscriptions through here. The `redis` crate's own connection manager is not
//! used because it keeps a failure that is no I/O error (a wrong password, "max number of clients reached") for good,
//! and because it stays on a server that has become read-only after a failover. Nor is its Sentinel client, which does
//! not hear of a wrong password, and does not turn to another Sentinel while one is silent.

mod connection;
mod error;
mod lane;

use crate::{QueueError, Server, script};
use lane::{Call, Lane};
use redis::{Cmd, FromRedisValue, Pipeline};
use std::time::Duration;

pub(crate) use connection::Connection;
pub(crate) use error::{is_unanswered, queue_error};

/// The connections of one caller, who may be many: commands of several tasks travel together.
pub(crate) struct Link {
    server: Server,
    patience: Duration,
    lanes: Vec<Lane>,
}

impl Link {
    /// Does not connect yet. `patience` bounds the wait for a connection, and again the wait for an answer.
    pub(crate) fn new(server: &Server, patience: Duration) -> Self {
        Self {
            server: server.clone(),
            patience,
            lanes: (0..server.connections()).map(|_| Lane::new(patience)).collect(),
        }
    }

    /// Runs one command.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QueueError> {
        let mut call = self.begin().await?;
        let answer = command.query_async(call.connection()).await;
        call.end(answer, || shown(command))
    }

    /// Runs several commands in one round trip; on a cluster, all their keys are of one slot.
    pub(crate) async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, QueueError> {
        let mut call = self.begin().await?;
        let answer = pipeline.query_async(call.connection()).await;
        call.end(answer, || {
            pipeline.cmd_iter().map(shown).collect::<Vec<_>>().join(", ")
        })
    }

    /// Runs a script, with its code when the server (of a cluster, the node that has its keys) does not know it.
    pub(crate) async fn script<T: FromRedisValue>(&self, script: &script::Call) -> Result<T, QueueError> {
        let mut call = self.begin().await?;
        let mut answer = script.by_hash().query_async(call.connection()).await;
        if error::is_unknown_script(&answer) {
            answer = script.with_code().query_async(call.connection()).await;
        }
        call.end(answer, || "a script".to_owned())
    }

    /// Begins a call on the connection with the fewest under way, the first of these: so a second one is opened only
    /// when the first is busy, and a call that takes long is gone around.
    async fn begin(&self) -> Result<Call<'_>, QueueError> {
        let lane = self.lanes.iter().min_by_key(|lane| lane.busy());
        let lane = lane.ok_or_else(|| QueueError::Unfit("no connections allowed".to_owned()))?;
        lane.begin(&self.server, self.patience).await
    }
}

/// A command's name, without its arguments: they may be secret.
fn shown(command: &Cmd) -> String {
    format!("`{}`", String::from_utf8_lossy(connection::name(command)))
}
