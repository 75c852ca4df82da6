//! What the tests share: tasks and results, a Redis to look into, and the dialects under one face.

use lapwing_model::{CheckResult, Monitor, Observation, Task, WorkerIdentity};
use lapwing_queue::{
    Inspect, Lease, Policy, Queue, Server, Sink, Source,
    asynq::{Asynq, Options, QueueOptions, Timing, message::TaskMessage},
    memory::{Memory, Results},
    testing::RedisServer,
};
use prost::Message;
use redis::{AsyncCommands, aio::MultiplexedConnection};
use std::{collections::HashMap, num::NonZeroUsize, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

pub(crate) fn task(monitor: &str) -> Task {
    Task {
        monitor: Monitor {
            id: monitor.to_owned(),
            name: format!("monitor {monitor}"),
            kind: "tcp".to_owned(),
            interval: Duration::from_secs(20),
            timeout: Duration::from_secs(16),
            max_retries: 2,
            retry_interval: Duration::from_secs(20),
            resend_interval: 3,
            config: r#"{"host":"127.0.0.1","port":6379}"#.to_owned(),
        },
        scheduled_at: Some("2026-04-11T08:15:20.123Z".parse().unwrap()),
        attempt: 1,
        under_maintenance: false,
        check_cert_expiry: true,
        proxy: None,
        last_heartbeat: None,
        nameless: false,
    }
}

pub(crate) fn result(task: &Task) -> CheckResult {
    let worker = WorkerIdentity {
        name: "here:1".to_owned(),
        region: None,
    };
    let at = |text: &str| text.parse().unwrap();
    let observation = Observation::up("TCP port 6379 is open").with_latency(Duration::from_millis(3));
    CheckResult::new(
        task,
        &worker,
        at("2026-04-11T08:15:20.2Z"),
        at("2026-04-11T08:15:20.203Z"),
        observation,
    )
}

pub(crate) fn room(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// Waits for a condition, with a bound.
pub(crate) async fn eventually(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + limit;
    while !holds().await {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Reserves until `count` tasks are there.
pub(crate) async fn take(source: &dyn Source, count: usize) -> Vec<Lease> {
    let end = Instant::now() + Duration::from_secs(30);
    let mut taken = Vec::new();
    while taken.len() < count {
        assert!(Instant::now() < end, "only {} of {count} tasks came", taken.len());
        taken.extend(
            source
                .reserve(room(count - taken.len()))
                .await
                .unwrap_or_default(),
        );
    }
    taken
}

pub(crate) fn monitors(leases: &[Lease]) -> Vec<&str> {
    leases
        .iter()
        .map(|lease| lease.task().monitor.id.as_str())
        .collect()
}

/// Asynq's intervals, five times as fast.
pub(crate) fn quick() -> Options {
    let ms = Duration::from_millis;
    let timing = Timing {
        lease: ms(6000),
        beat: ms(1000),
        presence: ms(2000),
        silence: ms(1600),
        confirm: ms(800),
        grace: ms(6000),
        idle: ms(100),
        wait: ms(300),
        // 0.3 to 0.9 s before the second try.
        retry: 0.02,
    };
    Options {
        patience: ms(1000),
        timing,
        host: "testhost".to_owned(),
        pid: 4711,
        concurrency: 8,
        ..Options::default()
    }
}

/// A Redis server, and a connection to look into it.
pub(crate) struct Redis {
    pub(crate) server: RedisServer,
    pub(crate) connection: MultiplexedConnection,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let server = RedisServer::start();
        let connection = connect(&server.url()).await;
        Self { server, connection }
    }

    /// After a restart the old connection is gone.
    pub(crate) async fn reconnect(&mut self) {
        self.connection = connect(&self.server.url()).await;
    }

    pub(crate) fn server(&self) -> Server {
        Server::open(&self.server.url()).unwrap()
    }

    pub(crate) async fn asynq(&self, options: Options) -> Arc<Asynq> {
        Asynq::connect(&self.server(), options).await.unwrap()
    }

    /// Runs a command, its words parted by spaces.
    pub(crate) async fn run<T: redis::FromRedisValue>(&mut self, words: &str) -> T {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        command.query_async(&mut self.connection).await.unwrap()
    }

    pub(crate) async fn list(&mut self, queue: &str, name: &str) -> Vec<String> {
        self.connection
            .lrange(format!("asynq:{{{queue}}}:{name}"), 0, -1)
            .await
            .unwrap()
    }

    pub(crate) async fn zset(&mut self, queue: &str, name: &str) -> Vec<(String, f64)> {
        self.connection
            .zrange_withscores(format!("asynq:{{{queue}}}:{name}"), 0, -1)
            .await
            .unwrap()
    }

    pub(crate) async fn hash(&mut self, queue: &str, id: &str) -> HashMap<String, Vec<u8>> {
        self.connection
            .hgetall(format!("asynq:{{{queue}}}:t:{id}"))
            .await
            .unwrap()
    }

    pub(crate) async fn state(&mut self, queue: &str, id: &str) -> Option<String> {
        self.connection
            .hget(format!("asynq:{{{queue}}}:t:{id}"), "state")
            .await
            .unwrap()
    }

    pub(crate) async fn message(&mut self, queue: &str, id: &str) -> TaskMessage {
        TaskMessage::decode(&*self.hash(queue, id).await["msg"]).unwrap()
    }

    /// Whole seconds of the server's clock.
    pub(crate) async fn now(&mut self) -> i64 {
        self.run::<(i64, i64)>("TIME").await.0
    }

    /// Enqueues as a stock client does, without a lock.
    pub(crate) async fn push(&mut self, message: &TaskMessage, more: &[u8]) {
        let bytes = [message.encode_to_vec().as_slice(), more].concat();
        let key = format!("asynq:{{{}}}:t:{}", message.queue, message.id);
        let fields = [
            ("msg", bytes.as_slice()),
            ("state", b"pending"),
            ("pending_since", b"1"),
        ];
        let () = self.connection.hset_multiple(key, &fields).await.unwrap();
        let pending = format!("asynq:{{{}}}:pending", message.queue);
        let () = self.connection.lpush(pending, &message.id).await.unwrap();
    }

    /// Takes the next task as a stock worker does, for a lease of `seconds`; none when 0.
    pub(crate) async fn stock_dequeue(&mut self, queue: &str, seconds: i64) -> String {
        let id: String = self
            .run(&format!(
                "RPOPLPUSH asynq:{{{queue}}}:pending asynq:{{{queue}}}:active"
            ))
            .await;
        let task = format!("asynq:{{{queue}}}:t:{id}");
        let () = self.connection.hset(&task, "state", "active").await.unwrap();
        let () = self.connection.hdel(&task, "pending_since").await.unwrap();
        let end = self.now().await + seconds;
        let () = self
            .connection
            .zadd(format!("asynq:{{{queue}}}:lease"), &id, end)
            .await
            .unwrap();
        id
    }
}

async fn connect(url: &str) -> MultiplexedConnection {
    // The machine may be busy with other tests: the client's own half second is for servers that are idle.
    let patient = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(20)))
        .set_response_timeout(Some(Duration::from_secs(20)));
    redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .unwrap()
}

/// A check as a stock producer writes it.
pub(crate) fn check(queue: &str, monitor: &str) -> TaskMessage {
    TaskMessage {
        kind: "monitor:healthcheck".to_owned(),
        payload: lapwing_model::peekaping::encode_task(&task(monitor)),
        id: format!("healthcheck:{monitor}"),
        queue: queue.to_owned(),
        timeout: 16,
        ..TaskMessage::default()
    }
}

/// A dialect as the contract suite sees it.
pub(crate) trait Dialect {
    /// The first queue it serves: where tasks are put.
    const NAME: &str;
    async fn start() -> Self;
    fn dialect(&self) -> Arc<dyn lapwing_queue::Dialect>;
    fn source(&self) -> Arc<dyn Source> {
        self.dialect()
    }
    fn queue(&self) -> Arc<dyn Queue> {
        self.dialect()
    }
    fn sink(&self) -> Arc<dyn Sink> {
        self.dialect()
    }
    /// Tasks pending and in work.
    async fn depth(&mut self) -> (usize, usize);
    /// Reasons of the dead letters.
    async fn dead(&mut self) -> Vec<String>;
    /// Monitors of the results published, one for each result.
    async fn published(&mut self) -> Vec<String>;
}

pub(crate) struct OnRedis {
    pub(crate) redis: Redis,
    asynq: Arc<Asynq>,
}

impl Dialect for OnRedis {
    const NAME: &str = "healthcheck";

    async fn start() -> Self {
        let redis = Redis::start().await;
        let healthcheck = QueueOptions {
            keep_result: Duration::from_secs(60),
            ..QueueOptions::new(Self::NAME, 5)
        };
        let options = Options {
            queues: vec![healthcheck, QueueOptions::new("low", 1)],
            ..quick()
        };
        let asynq = redis.asynq(options).await;
        Self { redis, asynq }
    }

    fn dialect(&self) -> Arc<dyn lapwing_queue::Dialect> {
        self.asynq.clone()
    }

    async fn depth(&mut self) -> (usize, usize) {
        // In one step: a task may be put back between two looks.
        let key = |name: &str| format!("asynq:{{healthcheck}}:{name}");
        let mut pipe = redis::pipe();
        pipe.atomic()
            .llen(key("pending"))
            .llen(key("active"))
            .zcard(key("lease"));
        let counts = pipe.query_async(&mut self.redis.connection).await;
        let (pending, active, leases): (usize, usize, usize) = counts.unwrap();
        assert_eq!(active, leases, "each task in work has a lease");
        (pending, active)
    }

    async fn dead(&mut self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (id, _) in self.redis.zset("healthcheck", "archived").await {
            reasons.push(self.redis.message("healthcheck", &id).await.error_msg);
        }
        reasons
    }

    async fn published(&mut self) -> Vec<String> {
        let mut monitors = Vec::new();
        for id in self.redis.list("ingester", "pending").await {
            let payload = self.redis.message("ingester", &id).await.payload;
            let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            monitors.push(value["monitor_id"].as_str().unwrap().to_owned());
        }
        monitors
    }
}

pub(crate) struct InMemory {
    memory: Memory,
    results: Arc<Results>,
    receiver: mpsc::Receiver<CheckResult>,
}

impl Dialect for InMemory {
    const NAME: &str = "memory";

    async fn start() -> Self {
        let (sender, receiver) = mpsc::channel(5000);
        Self {
            memory: Memory::new(5000, Policy::default()),
            results: Arc::new(Results::new(sender)),
            receiver,
        }
    }

    fn dialect(&self) -> Arc<dyn lapwing_queue::Dialect> {
        Arc::new(self.memory.clone())
    }

    fn sink(&self) -> Arc<dyn Sink> {
        self.results.clone()
    }

    async fn depth(&mut self) -> (usize, usize) {
        let stats = self.memory.stats("memory").await.unwrap();
        [stats.pending, stats.active]
            .map(|count| usize::try_from(count).unwrap())
            .into()
    }

    async fn dead(&mut self) -> Vec<String> {
        let dead = self.memory.dead("memory", 0, 5000).await.unwrap();
        dead.into_iter().map(|letter| letter.why).collect()
    }

    async fn published(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.receiver.try_recv().ok())
            .map(|result| result.monitor_id)
            .collect()
    }
}
