//! Which Redis to speak to, and how: one server, the master that Sentinels name, or a cluster.

mod address;
mod check;
mod dial;
mod plan;
mod settings;
mod subscription;

use crate::QueueError;
use address::Place;
use plan::Plan;
use std::{
    fmt,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

pub use settings::{SentinelSettings, ServerFault, ServerFaults, ServerSettings, TlsSettings};
pub use subscription::Subscription;

/// One Redis, as the configuration names it. Clones mean the same server; nothing is connected yet.
#[derive(Debug, Clone)]
pub struct Server {
    plan: Arc<Plan>,
    /// Which Sentinel, or which node of a cluster, is asked first: the one that answered last.
    turn: Arc<AtomicUsize>,
}

/// Where it is, without credentials.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

impl Server {
    /// The server that the settings name; else everything that is wrong with them.
    pub fn new(settings: ServerSettings) -> Result<Self, ServerFaults> {
        let plan = Plan::new(settings)?;
        if plan.tls.is_some() {
            // The `redis` crate takes the process's provider. It stays the first one set: all are this one.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Ok(Self {
            plan: Arc::new(plan),
            turn: Arc::default(),
        })
    }

    /// The server at `url`, such as `redis://user:password@host:6379/0`, with the default settings; `Err` when that is
    /// no address of one.
    pub fn open(url: &str) -> Result<Self, QueueError> {
        Self::new(ServerSettings::at(url)).map_err(|faults| QueueError::Unfit(format!("Redis: {faults}")))
    }

    /// Longest wait for the answer to one command, as the settings say it.
    pub fn command_timeout(&self) -> Duration {
        self.plan.command_timeout
    }

    /// Whether it is a cluster: then all keys of one call must be of one slot.
    pub fn is_cluster(&self) -> bool {
        matches!(self.plan.place, Place::Cluster(_))
    }

    /// How many connections may share one caller's commands.
    pub(crate) fn connections(&self) -> usize {
        self.plan.connections
    }

    /// Listens to `channels`, on a connection of its own. It ends with that connection: the caller subscribes again,
    /// after a pause. Messages published in between are missed.
    pub async fn subscribe(&self, channels: &[&str]) -> Result<Subscription, QueueError> {
        let mut subscription = Subscription::open(self).await?;
        subscription
            .subscribe(channels)
            .await
            .map_err(crate::link::queue_error)?;
        Ok(subscription)
    }
}
