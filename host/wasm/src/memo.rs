//! What a monitor's runs remember: a few small values, read at first use, written after a good run.
//!
//! Best effort, as the interface says: whoever keeps it may lose it, and no verdict rests on it. Kept apart by
//! (queue, plugin, kind, monitor), so that no plugin reads another's and no monitor another's, also where two producers
//! give theirs the same ids. Secrets are not kept: a later run
//! would not know them as such.

mod store;

pub use store::{MemoryState, StateStore};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest value, in bytes.
const VALUE: usize = 16 << 10;
/// Most bytes of all keys and values of one monitor.
const TOTAL: usize = 64 << 10;
/// Most keys of one monitor.
const KEYS: usize = 64;
/// Longest key, in bytes.
const KEY: usize = 256;

/// One monitor's memo, as one run sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memo {
    entries: BTreeMap<String, Entry>,
    changed: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    /// In base64.
    #[serde(rename = "v")]
    value: String,
    /// Unix seconds after which it is gone.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none", default)]
    until: Option<i64>,
    /// For this run alone.
    #[serde(skip)]
    fleeting: bool,
}

/// Why a value is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// The value, or its key, by itself.
    TooLarge,
    /// All together.
    Quota,
}

/// The store did not say what it keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Away;

/// The key of a monitor's memo in a store; unambiguous whatever the parts contain.
pub(crate) fn key(queue: &str, plugin: &str, kind: &str, monitor: &str) -> String {
    serde_json::Value::from_iter([queue, plugin, kind, monitor]).to_string()
}

impl Memo {
    /// Reads what a store kept, less what is past its time. What cannot be read is lost.
    pub(crate) fn read(kept: Option<&[u8]>, now: i64) -> Self {
        let mut entries: BTreeMap<String, Entry> = kept
            .and_then(|bytes| serde_json::from_slice(bytes).ok())
            .unwrap_or_default();
        entries.retain(|_, entry| entry.until.is_none_or(|until| until > now));
        Self {
            entries,
            changed: false,
        }
    }

    /// What to keep; `Some(None)` is nothing any more, `None` that nothing has changed.
    #[expect(
        clippy::option_option,
        reason = "as the store's `save` takes it, where there is something to save"
    )]
    pub(crate) fn changes(&self) -> Option<Option<Vec<u8>>> {
        let lasting = self.entries.iter().filter(|(_, entry)| !entry.fleeting);
        let kept: BTreeMap<&String, &Entry> = lasting.collect();
        let text = || serde_json::to_vec(&kept).unwrap_or_default();
        self.changed.then(|| (!kept.is_empty()).then(text))
    }

    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(&self.entries.get(key)?.value).ok()
    }

    pub(crate) fn set(&mut self, key: String, value: &[u8], until: Option<i64>) -> Result<(), Excess> {
        if value.len() > VALUE || key.len() > KEY {
            return Err(Excess::TooLarge);
        }
        let others = || self.entries.iter().filter(|(known, _)| **known != key);
        let size = |(key, entry): (&String, &Entry)| key.len() + entry.value.len() / 4 * 3;
        if others().count() >= KEYS || others().map(size).sum::<usize>() + key.len() + value.len() > TOTAL {
            return Err(Excess::Quota);
        }
        let value = BASE64_STANDARD.encode(value);
        let entry = Entry {
            value,
            until,
            fleeting: false,
        };
        self.entries.insert(key, entry);
        self.changed = true;
        Ok(())
    }

    /// Keeps what is under `key` for this run alone.
    pub(crate) fn make_fleeting(&mut self, key: &str) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.fleeting = true;
        }
    }

    pub(crate) fn delete(&mut self, key: &str) {
        self.changed |= self.entries.remove(key).is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_reads_back_until_its_time_is_over() {
        let mut memo = Memo::default();
        assert_eq!(memo.changes(), None);
        memo.set("a".into(), b"\0\xff", None).unwrap();
        memo.set("b".into(), b"x", Some(100)).unwrap();
        let kept = memo.changes().unwrap().unwrap();
        let early = Memo::read(Some(&kept), 99);
        assert_eq!(
            (early.get("a"), early.get("b")),
            (Some(b"\0\xff".to_vec()), Some(b"x".to_vec()))
        );
        let mut late = Memo::read(Some(&kept), 100);
        assert_eq!(late.get("b"), None);
        late.delete("a");
        assert_eq!(late.changes(), Some(None));
        assert_eq!(Memo::read(Some(b"broken"), 0).get("a"), None);
    }

    #[test]
    fn too_much_is_refused_and_the_rest_stays() {
        let mut memo = Memo::default();
        assert_eq!(
            memo.set("k".into(), &vec![0; VALUE + 1], None),
            Err(Excess::TooLarge)
        );
        assert_eq!(memo.set("k".repeat(257), b"", None), Err(Excess::TooLarge));
        let value = vec![0; VALUE];
        for n in 0..3 {
            memo.set(format!("k{n}"), &value, None).unwrap();
        }
        assert_eq!(memo.set("k3".into(), &value, None), Err(Excess::Quota));
        memo.set("k2".into(), &value, None).unwrap();
        let mut many = Memo::default();
        for n in 0..KEYS {
            many.set(format!("k{n}"), b"", None).unwrap();
        }
        assert_eq!(many.set("one more".into(), b"", None), Err(Excess::Quota));
        many.set("k0".into(), b"again", None).unwrap();
    }

    #[test]
    fn what_is_fleeting_is_there_and_not_kept() {
        let mut memo = Memo::default();
        memo.set("a".into(), b"old", None).unwrap();
        memo.set("b".into(), b"x", None).unwrap();
        memo.set("a".into(), b"token", None).unwrap();
        memo.make_fleeting("a");
        assert_eq!(memo.get("a"), Some(b"token".to_vec()));
        let kept = memo.changes().unwrap().unwrap();
        let later = Memo::read(Some(&kept), 0);
        assert_eq!((later.get("a"), later.get("b")), (None, Some(b"x".to_vec())));
        memo.delete("b");
        assert_eq!(memo.changes(), Some(None));
    }

    #[test]
    fn keys_of_different_monitors_never_meet() {
        assert_ne!(key("q", "a", "b\",\"c", "d"), key("q", "a", "b", "c\",\"d"));
        assert_eq!(
            key("checks", "smtp", "smtp", "7"),
            r#"["checks","smtp","smtp","7"]"#
        );
    }
}
