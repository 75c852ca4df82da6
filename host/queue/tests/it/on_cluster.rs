//! The dialects on a Redis Cluster, where each queue has a slot of its own, and when the master that Sentinels name dies
//! under a worker.

use crate::{
    arq_fixture,
    fixture::{Dialect, eventually, monitors, quick, result, room, take, task},
    streams_fixture::brisk,
};
use lapwing_queue::{
    Inspect, Queue, QueueError, Server, Source,
    arq::Arq,
    asynq::{Asynq, Options, QueueOptions, message::TaskMessage},
    streams::{self, Streams},
    testing::{Probe, RedisCluster, Watched},
};
use prost::Message;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

const LIMIT: Duration = Duration::from_secs(30);
/// Queues on the first, the second and the third node.
const QUEUES: [(&str, u16); 3] = [("b", 3300), ("c", 7365), ("a", 15495)];

struct Cluster {
    nodes: RedisCluster,
    server: Server,
    probe: Probe,
}

impl Cluster {
    fn start() -> Self {
        let nodes = RedisCluster::start();
        let server = Server::open(&nodes.url()).unwrap();
        let probe = Probe::new(&server, Duration::from_secs(1));
        Self { nodes, server, probe }
    }

    /// A worker of one queue on each node.
    async fn worker(&self) -> Arc<Asynq> {
        let options = Options {
            queues: QUEUES.map(|(name, _)| QueueOptions::new(name, 1)).to_vec(),
            ..quick()
        };
        Asynq::connect(&self.server, options).await.unwrap()
    }

    async fn list(&self, key: &str) -> Vec<String> {
        self.probe.run(&format!("LRANGE {key} 0 -1")).await.unwrap()
    }
}

/// Asynq on a cluster.
pub(crate) struct OnAsynq {
    cluster: Cluster,
    asynq: Arc<Asynq>,
}

impl OnAsynq {
    async fn message(&self, queue: &str, id: &str) -> TaskMessage {
        let key = format!("asynq:{{{queue}}}:t:{id}");
        let bytes: Vec<u8> = self.cluster.probe.run(&format!("HGET {key} msg")).await.unwrap();
        TaskMessage::decode(&*bytes).unwrap()
    }
}

impl Dialect for OnAsynq {
    const NAME: &str = "healthcheck";

    async fn start() -> Self {
        let cluster = Cluster::start();
        let healthcheck = QueueOptions {
            keep_result: Duration::from_secs(60),
            ..QueueOptions::new(Self::NAME, 5)
        };
        let options = Options {
            queues: vec![healthcheck, QueueOptions::new("low", 1)],
            ..quick()
        };
        let asynq = Asynq::connect(&cluster.server, options).await.unwrap();
        Self { cluster, asynq }
    }

    fn dialect(&self) -> Arc<dyn lapwing_queue::Dialect> {
        self.asynq.clone()
    }

    async fn depth(&mut self) -> (usize, usize) {
        let size = async |name| {
            self.cluster
                .list(&format!("asynq:{{healthcheck}}:{name}"))
                .await
                .len()
        };
        (size("pending").await, size("active").await)
    }

    async fn dead(&mut self) -> Vec<String> {
        let dead = self.asynq.dead(Self::NAME, 0, 1000).await.unwrap();
        dead.into_iter().map(|letter| letter.why).collect()
    }

    async fn published(&mut self) -> Vec<String> {
        let mut monitors = Vec::new();
        for id in self.cluster.list("asynq:{ingester}:pending").await {
            let payload = self.message("ingester", &id).await.payload;
            let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            monitors.push(value["monitor_id"].as_str().unwrap().to_owned());
        }
        monitors
    }
}

/// Lapwing's streams on a cluster.
pub(crate) struct OnStreams {
    cluster: Cluster,
    streams: Arc<Streams>,
}

impl OnStreams {
    /// A field of each entry.
    async fn column(&self, stream: &str, field: &str) -> Vec<String> {
        let words = format!("XRANGE {stream} - +");
        let range: redis::streams::StreamRangeReply = self.cluster.probe.run(&words).await.unwrap();
        let entries = range.ids.into_iter();
        entries
            .map(|entry| entry.get(field).unwrap_or_default())
            .collect()
    }
}

impl Dialect for OnStreams {
    const NAME: &str = "{lapwing}:tasks";

    async fn start() -> Self {
        let cluster = Cluster::start();
        let options = streams::Options {
            stream: Self::NAME.to_owned(),
            ..streams::Options::lapwing()
        };
        let streams = Streams::connect(&cluster.server, brisk(options)).await.unwrap();
        Self { cluster, streams }
    }

    fn dialect(&self) -> Arc<dyn lapwing_queue::Dialect> {
        self.streams.clone()
    }

    async fn depth(&mut self) -> (usize, usize) {
        let counted = self.streams.stats(Self::NAME).await.unwrap();
        [counted.pending, counted.active]
            .map(|count| usize::try_from(count).unwrap())
            .into()
    }

    async fn dead(&mut self) -> Vec<String> {
        self.column("{lapwing}:tasks:dead", "reason").await
    }

    async fn published(&mut self) -> Vec<String> {
        self.column("lapwing:results", "monitor_id").await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arq_is_refused_and_so_is_a_stream_whose_keys_share_no_slot() {
    let cluster = Cluster::start();
    let error = Arq::connect(&cluster.server, arq_fixture::options())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, QueueError::Unfit(why) if why.contains("share no slot")),
        "{error}"
    );
    let error = Streams::connect(&cluster.server, streams::Options::lapwing())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, QueueError::Unfit(why) if why.contains("{lapwing:tasks}")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_workers_tasks_come_back_from_every_node() {
    let cluster = Cluster::start();
    let (dead, heir) = (cluster.worker().await, cluster.worker().await);
    for (queue, _) in QUEUES {
        dead.producer(queue).enqueue(&task(queue)).await.unwrap();
    }
    let leases = take(&*dead, 3).await;
    eventually(LIMIT, "it is present", async || {
        !heir.workers().await.unwrap().is_empty()
    })
    .await;
    let start = Instant::now();
    drop(dead);
    // Its background ends with the last lease.
    drop(leases);
    let mut again = take(&*heir, 3).await;
    assert!(
        start.elapsed() > Duration::from_secs(1),
        "not before it is known to be gone"
    );
    again.sort_by_key(|lease| lease.task().monitor.id.clone());
    assert_eq!(monitors(&again), ["a", "b", "c"]);
    for lease in again {
        lease.ack().await.unwrap();
    }
    heir.close().await;
    assert!(heir.workers().await.unwrap().is_empty(), "it said goodbye");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_away_takes_only_its_own_queue_with_it() {
    let mut cluster = Cluster::start();
    let asynq = cluster.worker().await;
    for (queue, _) in QUEUES {
        let producer = asynq.producer(queue);
        for number in 0..2 {
            producer
                .enqueue(&task(&format!("{queue}{number}")))
                .await
                .unwrap();
        }
    }
    let (gone, slot) = QUEUES[1];
    cluster.nodes.with_slot(slot).stop();
    let others = take(&*asynq, 4).await;
    let names = monitors(&others);
    assert!(names.iter().all(|name| !name.starts_with(gone)), "{names:?}");
    // Longer than leases last that nobody extends.
    sleep(Duration::from_secs(7)).await;
    cluster.nodes.with_slot(slot).restart();
    for lease in others {
        lease.ack().await.unwrap();
    }
    let mut late = take(&*asynq, 2).await;
    late.sort_by_key(|lease| lease.task().monitor.id.clone());
    assert_eq!(monitors(&late), ["c0", "c1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_master_dies_amid_the_work_nothing_is_lost_and_nothing_settled_twice() {
    const TASKS: usize = 300;
    let mut watched = Watched::start();
    let server = Server::open(&watched.url()).unwrap();
    let probe = Probe::new(&server, Duration::from_secs(1));
    let asynq = Asynq::connect(&server, quick()).await.unwrap();
    for number in 0..TASKS {
        asynq.enqueue(&task(&number.to_string())).await.unwrap();
    }
    assert_eq!(probe.run::<u32>("WAIT 1 5000").await.unwrap(), 1);
    let worker = tokio::spawn({
        let asynq = asynq.clone();
        async move {
            loop {
                for lease in asynq.reserve(room(8)).await.unwrap_or_default() {
                    let asynq = asynq.clone();
                    tokio::spawn(async move {
                        sleep(Duration::from_millis(20)).await;
                        let result = result(lease.task());
                        // The new master may not have heard that the task was taken: then it comes again.
                        let _ = lease.publish_and_ack(&*asynq, &result).await;
                    });
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let processed = async || {
        let count = probe
            .run::<Option<usize>>("GET asynq:{healthcheck}:processed")
            .await;
        count.ok().flatten().unwrap_or_default()
    };
    eventually(LIMIT, "a part is done", async || processed().await > TASKS / 4).await;
    assert!(processed().await < TASKS, "there is more to do");
    watched.servers[0].stop();
    eventually(LIMIT, "all is done", async || processed().await >= TASKS).await;
    // Time for what might come a second time.
    sleep(Duration::from_secs(3)).await;
    worker.abort();
    assert_eq!(processed().await, TASKS);
    let counted = asynq.stats("healthcheck").await.unwrap();
    assert_eq!((counted.pending, counted.active, counted.failed), (0, 0, Some(0)));
    let told: Vec<String> = probe.run("LRANGE asynq:{ingester}:pending 0 -1").await.unwrap();
    assert_eq!(told.len(), TASKS);
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>().len(), TASKS);
}
