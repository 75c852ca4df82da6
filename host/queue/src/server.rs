//! Which Redis to speak to, and how.

use crate::{QueueError, link::queue_error};
use redis::Client;

/// One Redis, as the configuration names it. Clones mean the same server; nothing is connected yet.
#[derive(Debug, Clone)]
pub struct Server {
    client: Client,
}

impl Server {
    /// The server at `url`, such as `redis://user:password@host:6379/0`; `Err` when that is no address of one.
    pub fn open(url: &str) -> Result<Self, QueueError> {
        let client = Client::open(url).map_err(queue_error)?;
        Ok(Self { client })
    }

    /// What connects to it.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}
