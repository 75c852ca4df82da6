//! The key that tells that a worker of a queue lives, as arq's workers write it: it lasts a second longer than its
//! interval, and goes when the worker says goodbye.

use crate::{QueueError, Server, inspect::milliseconds, keeper, link::Link};
use futures_util::future::BoxFuture;
use redis::cmd;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How long to wait for a connection, and again for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the key lasts beyond its interval, as arq's does.
const MARGIN: Duration = Duration::from_secs(1);

/// Keeps one key written until it is put out. When dropped, the key runs out.
#[derive(Debug)]
pub struct Beacon {
    server: Server,
    key: String,
    writer: AbortOnDropHandle<()>,
}

impl Beacon {
    /// Writes what `text` gives to `key`, at once and then twice an interval: one write that fails changes nothing.
    pub fn light<T>(server: &Server, key: &str, interval: Duration, text: T) -> Self
    where
        T: Fn() -> BoxFuture<'static, String> + Send + Sync + 'static,
    {
        let link = Link::new(server, PATIENCE);
        let (name, lasting) = (key.to_owned(), milliseconds(interval + MARGIN));
        let writer = async move {
            loop {
                let text = text().await;
                let written = cmd("SET").arg(&name).arg(text).arg("PX").arg(lasting).take();
                if let Err(error) = link.command::<()>(&written).await {
                    tracing::debug!("health-check key `{name}` not written: {error}");
                }
                tokio::time::sleep(interval / 2).await;
            }
        };
        Self {
            server: server.clone(),
            key: key.to_owned(),
            writer: keeper::spawn(writer),
        }
    }

    /// Deletes the key; if that cannot be done, it runs out. For the last worker of a queue: others share the key.
    pub async fn put_out(self) {
        self.writer.abort();
        // Nothing is written after this.
        let _ = self.writer.await;
        let link = Link::new(&self.server, PATIENCE);
        if let Err(error) = link.command::<()>(cmd("DEL").arg(&self.key)).await {
            tracing::debug!("health-check key `{}` not deleted: {error}", self.key);
        }
    }
}

/// Whether the beacon called `key` is lit.
pub async fn is_lit(server: &Server, key: &str) -> Result<bool, QueueError> {
    Link::new(server, PATIENCE).command(cmd("EXISTS").arg(key)).await
}
