//! What an operator entrusts to the plugin host: grants, secrets, memos; and the records kept of each plugin.
//!
//! One per host, shared by all plugins, outliving their reloads. Everything here can be exchanged while checks run.

mod record;

pub use record::{LogLine, Record, Tally};

use crate::{
    memo::{MemoryState, StateStore},
    rights::{Grant, Grants, Secrets},
};
use arc_swap::{ArcSwap, Guard};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// What an operator entrusts to the plugin host.
pub struct Custody {
    grants: Grants,
    secrets: ArcSwap<Secrets>,
    state: ArcSwap<Box<dyn StateStore>>,
    records: Mutex<HashMap<String, Arc<Record>>>,
}

impl Custody {
    pub(crate) fn new(grants: BTreeMap<String, Grant>) -> Self {
        Self {
            grants: Grants::new(grants),
            secrets: ArcSwap::default(),
            state: ArcSwap::from_pointee(Box::new(MemoryState::default()) as Box<dyn StateStore>),
            records: Mutex::default(),
        }
    }

    /// What plugins are granted.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The secrets in force.
    pub(crate) fn secrets(&self) -> Guard<Arc<Secrets>> {
        self.secrets.load()
    }

    /// As [`Custody::secrets`], to keep across a wait.
    pub(crate) fn secrets_held(&self) -> Arc<Secrets> {
        self.secrets.load_full()
    }

    /// Puts these secrets in force, in place of all before. None at the start.
    pub fn set_secrets(&self, secrets: impl Into<Arc<Secrets>>) {
        self.secrets.store(secrets.into());
    }

    /// Where memos are kept.
    pub(crate) fn state(&self) -> Arc<Box<dyn StateStore>> {
        self.state.load_full()
    }

    /// Keeps memos in `store` from now on; in memory at the start.
    pub fn set_state(&self, store: impl StateStore) {
        self.state.store(Arc::new(Box::new(store)));
    }

    /// The record of the plugin `name`, begun if there is none.
    pub fn record(&self, name: &str) -> Arc<Record> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.entry(name.to_owned()).or_default().clone()
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody")
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}
