//! The queues of this process: connected as the configuration says, and found by name.

use crate::{
    config::{Config, QueueSettings, queues::Dialect as Words},
    kinds::Kinds,
    tally::{Counts, Tally},
    worker::Served,
};
use lapwing_model::{Clock, SystemClock};
use lapwing_queue::{
    Beacon, Dialect, Policy, Queue, QueueError, Server, Sink, WorkerPresence,
    arq::{self, Arq},
    asynq::{self, Asynq},
    memory::Memory,
    streams::{self, Streams},
};
use std::{fmt, sync::Arc};

/// All of them.
#[derive(Clone, Default)]
pub(crate) struct Queues {
    open: Vec<Arc<Open>>,
    /// `None` in memory.
    server: Option<Server>,
    /// How many checks run at once, over the queues of one source.
    concurrency: usize,
}

/// The health-check keys of all queues.
pub(crate) struct Beacons(Vec<(Beacon, Arc<Open>)>);

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|open| &open.settings.name))
            .finish()
    }
}

/// One queue.
pub(crate) struct Open {
    /// What is set for it.
    pub(crate) settings: QueueSettings,
    /// Serves it, perhaps among others.
    pub(crate) dialect: Arc<dyn Dialect>,
    /// Puts tasks on it.
    pub(crate) producer: Arc<dyn Queue>,
    /// What became of its tasks here.
    pub(crate) tally: Arc<Tally>,
}

/// Queues just connected, and the clock that their producers stamp tasks with.
pub(crate) struct Connected {
    pub(crate) queues: Queues,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Queues {
    /// Connects to what `queues` names; `kinds` tells which jobs are ours on a queue shared with other software.
    ///
    /// Fails when the server cannot be reached or denies access now.
    pub(crate) async fn connect(
        config: &Config,
        queues: &[QueueSettings],
        kinds: &Arc<Kinds>,
    ) -> Result<Connected, QueueError> {
        let server = &config.redis.server;
        let (mut open, mut clock) = (Vec::new(), None::<Arc<dyn Clock>>);
        let mut shared: Option<Arc<Asynq>> = None;
        for settings in queues {
            let (dialect, producer): (Arc<dyn Dialect>, Arc<dyn Queue>) = match settings.dialect {
                Words::Asynq => {
                    let asynq = match &shared {
                        Some(asynq) => Arc::clone(asynq),
                        None => Asynq::connect(server, asynq_options(config, queues)).await?,
                    };
                    clock.get_or_insert_with(|| Arc::new(asynq.clock()));
                    shared = Some(asynq.clone());
                    let producer = asynq.producer(&settings.name);
                    (asynq, Arc::new(producer))
                }
                Words::Streams | Words::UptimeStream => {
                    let streams = Streams::connect(server, streams_options(server, settings)).await?;
                    clock.get_or_insert_with(|| Arc::new(streams.clock()));
                    (streams.clone(), streams)
                }
                Words::Arq => {
                    let arq = Arq::connect(server, arq_options(server, settings, kinds)).await?;
                    clock.get_or_insert_with(|| Arc::new(arq.clock()));
                    (arq.clone(), arq)
                }
            };
            open.push(Arc::new(Open {
                settings: settings.clone(),
                dialect,
                producer,
                tally: Arc::default(),
            }));
        }
        Ok(Connected {
            queues: Self {
                open,
                server: Some(server.clone()),
                concurrency: config.concurrency,
            },
            clock: clock.unwrap_or_else(|| Arc::new(SystemClock)),
        })
    }

    /// The queue in this process's memory, for `lapwing run` alone.
    pub(crate) fn in_memory(capacity: usize, concurrency: usize) -> Self {
        let memory = Arc::new(Memory::new(capacity, Policy::default()));
        let open = Open {
            settings: QueueSettings::in_memory(concurrency),
            dialect: memory.clone(),
            producer: memory,
            tally: Arc::default(),
        };
        Self {
            open: vec![Arc::new(open)],
            server: None,
            concurrency,
        }
    }

    /// The queue called `name`, or the only one whose name ends in `:name`; the error lists those that there are.
    pub(crate) fn named(&self, name: &str) -> Result<&Arc<Open>, QueueError> {
        let exact = self.open.iter().find(|open| open.settings.name == name);
        let ends = |open: &&Arc<Open>| open.settings.name.rsplit(':').next() == Some(name);
        let mut ending = self.open.iter().filter(ends);
        let only = || ending.next().filter(|_| ending.next().is_none());
        exact.or_else(only).ok_or_else(|| {
            let names: Vec<_> = self.iter().map(|open| open.settings.name.as_str()).collect();
            QueueError::Unfit(format!("no queue `{name}`; there are {}", names.join(", ")))
        })
    }

    /// Each, in the order of the configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Open>> {
        self.open.iter()
    }

    /// Lights the health-check key of each queue, but of arq, whose dialect does as its stock worker.
    pub(crate) fn beacons(&self) -> Beacons {
        let light = |open: &Arc<Open>| {
            let (server, settings) = (self.server.as_ref()?, &open.settings);
            let (key, interval) = (&settings.health_check_key, settings.health_check_interval);
            let told = open.clone();
            let beacon = Beacon::light(server, key, interval, move || Box::pin(told.clone().health()));
            Some((beacon, open.clone()))
        };
        let theirs = |open: &&Arc<Open>| open.settings.dialect != Words::Arq;
        Beacons(self.open.iter().filter(theirs).filter_map(light).collect())
    }

    /// Each dialect once.
    pub(crate) fn dialects(&self) -> Vec<Arc<dyn Dialect>> {
        let mut dialects: Vec<Arc<dyn Dialect>> = Vec::new();
        for open in &self.open {
            if !dialects.iter().any(|known| Arc::ptr_eq(known, &open.dialect)) {
                dialects.push(open.dialect.clone());
            }
        }
        dialects
    }

    /// What a worker serves: queues of one source together. Results go to `sink`, or where the dialect puts them.
    pub(crate) fn served(&self, sink: Option<&Arc<dyn Sink>>) -> Vec<Served> {
        let of = |dialect: Arc<dyn Dialect>| {
            let same = |open: &&Arc<Open>| Arc::ptr_eq(&open.dialect, &dialect);
            let open: Vec<_> = self.open.iter().filter(same).collect();
            let names: Vec<_> = open.iter().map(|open| open.settings.name.as_str()).collect();
            let jobs = open.iter().map(|open| open.settings.max_jobs).sum();
            // A queue alone has what it says; several of one source share.
            let concurrency = if open.len() > 1 {
                self.concurrency.min(jobs)
            } else {
                jobs
            };
            Served {
                name: names.join(", "),
                sink: sink.cloned().unwrap_or_else(|| dialect.clone()),
                inspect: dialect.clone(),
                concurrency,
                queues: open.into_iter().cloned().collect(),
                source: dialect,
            }
        };
        self.dialects().into_iter().map(of).collect()
    }
}

impl Open {
    /// What the health-check key says, in arq's words.
    async fn health(self: Arc<Self>) -> String {
        let stats = self.dialect.stats(&self.settings.name).await.unwrap_or_default();
        let Counts {
            complete,
            failed,
            retried,
            ongoing,
        } = self.tally.counts();
        let queued = stats.pending + stats.scheduled + stats.retry + stats.active;
        let now = jiff::Zoned::now().strftime("%b-%d %H:%M:%S");
        format!(
            "{now} j_complete={complete} j_failed={failed} j_retried={retried} j_ongoing={ongoing} queued={queued}"
        )
    }
}

impl Beacons {
    /// Deletes the keys of queues that no other worker serves; this one has said goodbye by then.
    pub(crate) async fn put_out(self) {
        let put_out = self.0.into_iter().map(async |(beacon, open)| {
            let others = open.dialect.workers().await.unwrap_or_default();
            let serves = |worker: &WorkerPresence| worker.queues.contains(&open.settings.name);
            if !others.iter().any(serves) {
                beacon.put_out().await;
            }
        });
        futures_util::future::join_all(put_out).await;
    }
}

/// How this process speaks Asynq: all its Asynq queues together, as Asynq's own worker does.
fn asynq_options(config: &Config, queues: &[QueueSettings]) -> asynq::Options {
    let served = |queue: &QueueSettings| asynq::QueueOptions {
        max_jobs: Some(queue.max_jobs),
        policy: policy(queue),
        keep_result: queue.keep_result,
        ..asynq::QueueOptions::new(&queue.name, queue.weight)
    };
    let ours = queues.iter().filter(|queue| queue.dialect == Words::Asynq);
    asynq::Options {
        queues: ours.map(served).collect(),
        priority: if config.strict_priority {
            asynq::Priority::Strict
        } else {
            asynq::Priority::Weighted
        },
        concurrency: config.concurrency,
        patience: config.redis.server.command_timeout(),
        ..asynq::Options::default()
    }
}

fn streams_options(server: &Server, queue: &QueueSettings) -> streams::Options {
    let stock = match queue.dialect {
        Words::UptimeStream => streams::Options::uptime(),
        _ => streams::Options::lapwing(),
    };
    streams::Options {
        stream: queue.name.clone(),
        group: queue.group.clone().unwrap_or(stock.group),
        results: queue.results.clone().unwrap_or(stock.results),
        batch: queue.batch.unwrap_or(stock.batch),
        block: queue.block.unwrap_or(stock.block),
        max_length: queue.max_length.unwrap_or(stock.max_length),
        policy: policy(queue),
        keep_result: queue.keep_result,
        patience: server.command_timeout(),
        ..stock
    }
}

fn arq_options(server: &Server, queue: &QueueSettings, kinds: &Arc<Kinds>) -> arq::Options {
    let (kinds, load_test, stock) = (kinds.clone(), queue.load_test, arq::Options::default());
    arq::Options {
        queue: queue.name.clone(),
        known: Arc::new(move |function| kinds.executor_as(function, load_test).is_ok()),
        policy: policy(queue),
        keep_result: Some(queue.keep_result),
        batch: queue.batch.unwrap_or(stock.batch),
        concurrency: queue.max_jobs,
        health_check_key: Some(queue.health_check_key.clone()),
        health_check_interval: queue.health_check_interval,
        patience: server.command_timeout(),
        ..stock
    }
}

fn policy(queue: &QueueSettings) -> Policy {
    Policy {
        max_tries: queue.max_tries,
        job_timeout: queue.job_timeout,
    }
}
