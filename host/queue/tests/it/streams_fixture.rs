//! The streams dialect as the contract suite sees it, and what its own tests share.

use crate::fixture::{Dialect, Redis};
use lapwing_queue::streams::{Options, Streams, Timing};
use redis::{FromRedisValue, streams::StreamRangeReply};
use std::{sync::Arc, time::Duration};

/// The intervals, about seven times as fast.
pub(crate) fn brisk(options: Options) -> Options {
    let ms = Duration::from_millis;
    Options {
        block: ms(400),
        patience: ms(1000),
        host: "testhost".to_owned(),
        pid: 4711,
        timing: Timing {
            idle: ms(2000),
            beat: ms(400),
            wait: ms(300),
            ..options.timing
        },
        ..options
    }
}

pub(crate) async fn lapwing(redis: &Redis) -> Arc<Streams> {
    open(redis, Options::lapwing()).await
}

pub(crate) async fn open(redis: &Redis, options: Options) -> Arc<Streams> {
    Streams::connect(&redis.server(), brisk(options)).await.unwrap()
}

/// Entries of a stream, oldest first.
pub(crate) async fn entries(redis: &mut Redis, stream: &str) -> Vec<redis::streams::StreamId> {
    redis
        .run::<StreamRangeReply>(&format!("XRANGE {stream} - +"))
        .await
        .ids
}

/// A field of each entry, oldest first; empty where there is none.
pub(crate) async fn column(redis: &mut Redis, stream: &str, field: &str) -> Vec<String> {
    let text = |id: redis::streams::StreamId| id.get(field).unwrap_or_default();
    entries(redis, stream).await.into_iter().map(text).collect()
}

/// Adds an entry as a stock producer does.
pub(crate) async fn add(redis: &mut Redis, stream: &str, fields: &[(&str, &[u8])]) -> String {
    let mut command = redis::cmd("XADD");
    command.arg(stream).arg("*");
    for (field, value) in fields {
        command.arg(field).arg(value);
    }
    String::from_redis_value(command.query_async(&mut redis.connection).await.unwrap()).unwrap()
}

/// Entries on the stream that nobody works at, and those in work.
pub(crate) async fn depth(redis: &mut Redis, stream: &str, group: &str) -> (usize, usize) {
    let length: usize = redis.run(&format!("XLEN {stream}")).await;
    let mut pending = redis::cmd("XPENDING");
    pending.arg(stream).arg(group).arg("-").arg("+").arg(100_000);
    let pending: Vec<(String, String, u64, u64)> = pending
        .query_async(&mut redis.connection)
        .await
        .unwrap_or_default();
    let active = pending
        .iter()
        .filter(|(_, owner, ..)| owner != "lapwing:parked")
        .count();
    (length - active, active)
}

pub(crate) struct OnStreams {
    pub(crate) redis: Redis,
    streams: Arc<Streams>,
}

impl Dialect for OnStreams {
    const NAME: &str = "lapwing:tasks";

    async fn start() -> Self {
        let redis = Redis::start().await;
        let streams = lapwing(&redis).await;
        Self { redis, streams }
    }

    fn dialect(&self) -> Arc<dyn lapwing_queue::Dialect> {
        self.streams.clone()
    }

    async fn depth(&mut self) -> (usize, usize) {
        depth(&mut self.redis, Self::NAME, "lapwing").await
    }

    async fn dead(&mut self) -> Vec<String> {
        column(&mut self.redis, "lapwing:tasks:dead", "reason").await
    }

    async fn published(&mut self) -> Vec<String> {
        column(&mut self.redis, "lapwing:results", "monitor_id").await
    }
}
