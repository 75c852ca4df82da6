//! Plugins' state in Redis: between the plugin host's store of memos and the queue's.

use lapwing_checks::BoxFuture;
use lapwing_queue::Memos;
use lapwing_wasm::StateStore;
use std::time::Duration;

/// Keeps plugins' state where the tasks are, so that any worker may run a monitor next.
pub(crate) struct RedisState(pub(crate) Memos);

impl StateStore for RedisState {
    fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, String>> {
        Box::pin(async move { self.0.get(key).await.map_err(|error| error.to_string()) })
    }

    fn save<'a>(
        &'a self,
        key: &'a str,
        memo: Option<Vec<u8>>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let done = match memo {
                Some(memo) => self.0.set(key, &memo, ttl).await,
                None => self.0.remove(key).await,
            };
            done.map_err(|error| error.to_string())
        })
    }
}
