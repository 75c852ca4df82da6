//! An arq queue in a Redis of the test's own.

use crate::fixture::{Dialect, Redis};
use lapwing_queue::{
    Inspect, Policy,
    arq::{Arq, Options, Timing},
};
use redis::AsyncCommands;
use std::{sync::Arc, time::Duration};

pub(crate) const QUEUE: &str = "arq:queue:system";

/// Kinds that the tests' workers run.
pub(crate) const KINDS: [&str; 3] = ["tcp", "http", "shared"];

/// The intervals, several times as fast.
pub(crate) fn options() -> Options {
    let ms = Duration::from_millis;
    Options {
        queue: QUEUE.to_owned(),
        known: Arc::new(|kind| KINDS.contains(&kind)),
        policy: Policy {
            max_tries: 5,
            job_timeout: None,
        },
        patience: ms(1000),
        host: "testhost".to_owned(),
        pid: 4711,
        concurrency: 8,
        timing: Timing {
            claim: ms(5000),
            beat: ms(1000),
            abort: ms(100),
            stale_abort: ms(2000),
            idle: ms(100),
            wait: ms(300),
            sweep: ms(100),
        },
        ..Options::default()
    }
}

pub(crate) struct OnArq {
    pub(crate) redis: Redis,
    pub(crate) arq: Arc<Arq>,
}

impl OnArq {
    pub(crate) async fn with(options: Options) -> Self {
        let redis = Redis::start().await;
        let arq = Arq::connect(&redis.server(), options).await.unwrap();
        Self { redis, arq }
    }

    pub(crate) async fn keys(&mut self, pattern: &str) -> Vec<String> {
        self.redis.connection.keys(pattern).await.unwrap()
    }
}

impl Dialect for OnArq {
    const NAME: &str = QUEUE;

    async fn start() -> Self {
        Self::with(options()).await
    }

    fn dialect(&self) -> Arc<dyn lapwing_queue::Dialect> {
        self.arq.clone()
    }

    async fn depth(&mut self) -> (usize, usize) {
        let now = self.redis.run::<(u64, u64)>("TIME").await;
        let now = now.0 * 1000 + now.1 / 1000;
        let due: usize = self.redis.run(&format!("ZCOUNT {QUEUE} -inf {now}")).await;
        let active = self.keys("arq:in-progress:*").await.len();
        (due - active, active)
    }

    async fn dead(&mut self) -> Vec<String> {
        let dead = self.arq.dead(QUEUE, 0, 5000).await.unwrap();
        dead.into_iter().map(|letter| letter.why).collect()
    }

    async fn published(&mut self) -> Vec<String> {
        let mut monitors = Vec::new();
        for key in self.keys("arq:result:*").await {
            let id = key.strip_prefix("arq:result:").unwrap();
            let kept = self.arq.result(QUEUE, id).await.unwrap().unwrap();
            monitors.push(kept.value["monitor_id"].as_str().unwrap().to_owned());
        }
        monitors
    }
}
