//! `state`: a memo between runs of one monitor, read at first use; the executor has it kept after a good run.
//!
//! A refusal here does not count in the verdict: the interface promises nothing ("the host may lose it"), and what the
//! target did does not depend on it. A store that did not answer once is not asked again in the run: its waits would be
//! taken for the target's. A run that is no monitor's (somebody tries something out; the task named none) has a memo of its
//! own, which goes with it.

use crate::{
    abi::v1::wit::state::{Host, StateError},
    guest::{Errand, Guest, Network},
    memo::{self, Away, Excess, Memo},
};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::Result;

/// Longest wait for a store: no target's time may go into it.
const PATIENCE: Duration = Duration::from_millis(250);

type Answer<T> = Result<Result<T, StateError>>;

impl Host for Guest {
    async fn get(&mut self, key: String) -> Answer<Option<Vec<u8>>> {
        let begun = self.call_begins("state.get", || key.clone());
        let answer = self.with_memo(|memo, _| Ok(memo.get(&key))).await;
        self.call_ends(begun, &answer, |value| match value {
            Some(value) => format!("{} bytes", value.len()),
            None => "nothing".to_owned(),
        });
        Ok(answer)
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u32>) -> Answer<()> {
        let begun = self.call_begins("state.set", || format!("{key}, {} bytes", value.len()));
        let mask = self.ledger.entries().aside.mask.clone();
        let set = |memo: &mut Memo, now: i64| {
            let until = ttl.map(|ttl| now.saturating_add(ttl.into()));
            memo.set(key.clone(), &value, until)
                .map_err(|excess| match excess {
                    Excess::TooLarge => StateError::TooLarge,
                    Excess::Quota => StateError::QuotaExceeded,
                })?;
            let secret = mask.is_in(&value) || mask.is_in(key.as_bytes());
            if secret {
                memo.make_fleeting(&key);
            }
            Ok(secret)
        };
        let answer = self.with_memo(set).await;
        self.call_ends(begun, &answer, |secret| match secret {
            true => "for this run alone: it has a secret in it".to_owned(),
            false => "kept if the run ends well".to_owned(),
        });
        Ok(answer.map(drop))
    }

    async fn delete(&mut self, key: String) -> Answer<()> {
        let begun = self.call_begins("state.delete", || key.clone());
        let delete = |memo: &mut Memo, _| {
            memo.delete(&key);
            Ok(())
        };
        let answer = self.with_memo(delete).await;
        self.call_ends(begun, &answer, |()| "done".to_owned());
        Ok(answer)
    }
}

impl Guest {
    /// Lends the memo and the present time in Unix seconds to `work`; fetches it first where it is not there yet.
    async fn with_memo<T>(
        &mut self,
        work: impl FnOnce(&mut Memo, i64) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let network = self
            .errand
            .network
            .as_ref()
            .filter(|network| network.rights.state());
        let Some(Network {
            worker,
            rights,
            queue,
            ..
        }) = network
        else {
            return Err(StateError::AccessDenied);
        };
        let now = rights.clock.now().as_second();
        let known = self.ledger.entries().aside.memo.take();
        let memo = match (known, queue) {
            (Some(known), _) => known,
            (None, None) => Ok(Memo::default()),
            (None, Some(queue)) => {
                let Errand {
                    plugin,
                    kind,
                    monitor,
                    ..
                } = &self.errand;
                let key = memo::key(queue, plugin, kind, monitor);
                let store = rights.custody.state();
                let patience = PATIENCE.min(self.time_left() / 4);
                // Where its connections live.
                let load =
                    worker.spawn(async move { tokio::time::timeout(patience, store.load(&key)).await });
                let why = match AbortOnDropHandle::new(load).await {
                    Ok(Ok(Ok(kept))) => Ok(Memo::read(kept.as_deref(), now)),
                    Ok(Ok(Err(why))) => Err(why),
                    Ok(Err(_)) => Err("no answer in time".to_owned()),
                    Err(error) => Err(error.to_string()),
                };
                // The store's words are the operator's: addresses are in them.
                why.map_err(|why| {
                    tracing::warn!(
                        plugin = &**plugin,
                        monitor.id = monitor,
                        "a plugin's state cannot be told: {why}"
                    );
                    Away
                })
            }
        };
        let mut entries = self.ledger.entries();
        match entries.aside.memo.insert(memo) {
            Ok(memo) => work(memo, now),
            Err(Away) => Err(StateError::Unavailable("its store did not answer".to_owned())),
        }
    }
}
