//! Where memos are kept between runs.

use lapwing_checks::BoxFuture;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Keeps one memo for each key, as bytes it need not understand. May lose them.
pub trait StateStore: Send + Sync + 'static {
    /// The memo of `key`; `Err` says why it cannot be told. Cancel safe.
    fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, String>>;

    /// Keeps `memo` (`None`: nothing any more) for at least `ttl`, if all is well.
    fn save<'a>(
        &'a self,
        key: &'a str,
        memo: Option<Vec<u8>>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// Most bytes of all memos in memory; the ones nearest their end make room.
const MEMORY: usize = 64 << 20;

/// Memos in memory: gone with the process.
#[derive(Debug, Default)]
pub struct MemoryState(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    memos: HashMap<String, (Instant, Vec<u8>)>,
    bytes: usize,
}

impl Shelf {
    fn remove(&mut self, key: &str) {
        if let Some((_, memo)) = self.memos.remove(key) {
            self.bytes -= key.len() + memo.len();
        }
    }

    fn insert(&mut self, key: &str, until: Instant, memo: Vec<u8>) {
        self.remove(key);
        self.bytes += key.len() + memo.len();
        self.memos.insert(key.to_owned(), (until, memo));
        while self.bytes > MEMORY {
            let next = self.memos.iter().min_by_key(|(_, (until, _))| *until);
            let Some(next) = next.map(|(key, _)| key.clone()) else {
                return;
            };
            self.remove(&next);
        }
    }
}

impl StateStore for MemoryState {
    fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, String>> {
        let shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let live = shelves
            .memos
            .get(key)
            .filter(|(until, _)| *until > Instant::now());
        let kept = live.map(|(_, kept)| kept.clone());
        Box::pin(std::future::ready(Ok(kept)))
    }

    fn save<'a>(
        &'a self,
        key: &'a str,
        memo: Option<Vec<u8>>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match memo {
            Some(kept) => shelves.insert(key, Instant::now() + ttl, kept),
            None => shelves.remove(key),
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn memos_end_with_their_time_and_make_room() {
        let store = MemoryState::default();
        let minute = Duration::from_secs(60);
        store.save("a", Some(vec![1]), minute).await.unwrap();
        assert_eq!(store.load("a").await, Ok(Some(vec![1])));
        tokio::time::advance(minute).await;
        assert_eq!(store.load("a").await, Ok(None));
        for n in 0..3_u32 {
            let memo = Some(vec![0; 30 << 20]);
            store.save(&n.to_string(), memo, minute * (n + 1)).await.unwrap();
        }
        assert_eq!(store.load("0").await, Ok(None), "the one nearest its end");
        assert!(store.load("2").await.unwrap().is_some());
        store.save("2", None, minute).await.unwrap();
        assert_eq!(store.load("2").await, Ok(None));
    }
}
