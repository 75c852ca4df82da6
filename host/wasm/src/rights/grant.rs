//! What operators grant to plugins, by name: in the configuration file, and through the API.
//!
//! Read once per run without a lock; a new grant counts from the next run on.

use arc_swap::ArcSwap;
use lapwing_checks::net::scope::{Destination, NamePattern, Places};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a plugin may use beyond its monitors' own targets. It counts only where the plugin also asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Grant {
    /// Where it may connect to: `api.example.com:443`, `*.corp.example`, `10.0.0.0/8:25`. Default: nowhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Destination>,
    /// Which names it may ask DNS about: `*.zen.example.org`. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<NamePattern>,
    /// Secrets that the host fills in for it, by name; the plugin does not see them. Default: none.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// Secrets that it may read, by name. Prefer `secrets`. Default: none.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub reveal: BTreeSet<String>,
    /// Whether it may keep a memo between runs of the same monitor, at most 64 KiB. Default: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub state: bool,
    /// SHA-256 of the one file this is for, in hex. Default: whatever file has the plugin's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub digest: Option<String>,
}

impl Grant {
    /// This and `other` together; the digest is left out.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.digest = None;
        both.hosts.extend(
            other
                .hosts
                .iter()
                .filter(|host| !self.hosts.contains(host))
                .cloned(),
        );
        both.dns
            .extend(other.dns.iter().filter(|name| !self.dns.contains(name)).cloned());
        both.secrets.extend(other.secrets.iter().cloned());
        both.reveal.extend(other.reveal.iter().cloned());
        both.state |= other.state;
        both
    }

    fn is_for(&self, digest: &str) -> bool {
        self.digest
            .as_deref()
            .is_none_or(|bound| bound.eq_ignore_ascii_case(digest))
    }
}

/// A grant in force, in the form a run needs.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) grant: Grant,
    pub(crate) places: Arc<Places>,
}

impl From<Grant> for Held {
    fn from(grant: Grant) -> Self {
        let places = Places {
            hosts: grant.hosts.clone(),
            dns: grant.dns.clone(),
        };
        Self {
            grant,
            places: Arc::new(places),
        }
    }
}

/// The grants in force: those of the file, and those made through the API.
#[derive(Debug)]
pub struct Grants {
    file: BTreeMap<String, Grant>,
    book: ArcSwap<Book>,
}

#[derive(Debug, Default)]
struct Book {
    api: BTreeMap<String, Vec<Grant>>,
    entries: BTreeMap<String, Entry>,
    /// What all others hold: nothing.
    nothing: Arc<Held>,
}

/// One plugin's.
#[derive(Debug, Default)]
struct Entry {
    any: Arc<Held>,
    bound: BTreeMap<String, Arc<Held>>,
}

impl Grants {
    /// The plugins that the settings file grants something.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file.keys().map(String::as_str)
    }

    pub(crate) fn new(file: BTreeMap<String, Grant>) -> Self {
        let grants = Self {
            file,
            book: ArcSwap::default(),
        };
        grants.replace(BTreeMap::new());
        grants
    }

    /// Puts these in force beside those of the file, in place of all that were made through the API before. A plugin
    /// may have several, say one for any file of its name and one for a certain digest.
    pub fn replace(&self, api: BTreeMap<String, Vec<Grant>>) {
        let mut all: BTreeMap<&str, Vec<&Grant>> = BTreeMap::new();
        for (name, grant) in &self.file {
            all.entry(name).or_default().push(grant);
        }
        for (name, grants) in &api {
            all.entry(name).or_default().extend(grants);
        }
        let entries = all
            .into_iter()
            .map(|(name, grants)| (name.to_owned(), Entry::new(&grants)))
            .collect();
        let nothing = Arc::default();
        self.book.store(Arc::new(Book {
            api,
            entries,
            nothing,
        }));
    }

    /// Those made through the API, by plugin.
    pub fn made(&self) -> BTreeMap<String, Vec<Grant>> {
        self.book.load().api.clone()
    }

    /// Those of the configuration file, by plugin.
    pub fn of_file(&self) -> &BTreeMap<String, Grant> {
        &self.file
    }

    /// All that the plugin `name` is granted when its file has the SHA-256 `digest`.
    pub fn of(&self, name: &str, digest: &str) -> Grant {
        self.held(name, digest).grant.clone()
    }

    /// As [`Grants::of`]; another one after every change, whoever's it was.
    pub(crate) fn held(&self, name: &str, digest: &str) -> Arc<Held> {
        let book = self.book.load();
        let held = match book.entries.get(name) {
            Some(entry) => entry.bound.get(digest).unwrap_or(&entry.any),
            None => &book.nothing,
        };
        held.clone()
    }
}

impl Entry {
    fn new(grants: &[&Grant]) -> Self {
        let held = |digest: &str| {
            let fitting = grants.iter().filter(|grant| grant.is_for(digest));
            Arc::new(Held::from(
                fitting.fold(Grant::default(), |sum, grant| sum.and(grant)),
            ))
        };
        let digests = grants.iter().filter_map(|grant| grant.digest.as_ref());
        Self {
            any: held(""),
            bound: digests
                .map(|digest| (digest.to_ascii_lowercase(), held(digest)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(json: &str) -> Grant {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn file_and_api_add_up_and_the_api_can_take_back() {
        let file = BTreeMap::from([("smtp".to_owned(), grant(r#"{"hosts":["a.test"]}"#))]);
        let grants = Grants::new(file);
        let made = grant(r#"{"hosts":["b.test:25","a.test"],"state":true}"#);
        grants.replace(BTreeMap::from([("smtp".to_owned(), vec![made])]));
        assert_eq!(
            grants.of("smtp", "d"),
            grant(r#"{"hosts":["a.test","b.test:25"],"state":true}"#)
        );
        assert_eq!(grants.of("other", "d"), Grant::default());
        grants.replace(BTreeMap::new());
        assert_eq!(grants.of("smtp", "d"), grant(r#"{"hosts":["a.test"]}"#));
    }

    #[test]
    fn a_grant_for_one_file_is_for_no_other() {
        let digest = "ab".repeat(32);
        let bound = grant(&format!(r#"{{"secrets":["token"],"digest":"{digest}"}}"#));
        let grants = Grants::new(BTreeMap::from([("p".to_owned(), grant(r#"{"state":true}"#))]));
        grants.replace(BTreeMap::from([("p".to_owned(), vec![bound])]));
        assert!(grants.of("p", &digest).secrets.contains("token") && grants.of("p", &digest).state);
        let other = grants.of("p", &"cd".repeat(32));
        assert!(other.secrets.is_empty() && other.state);
    }

    #[test]
    fn a_grant_reads_back_as_it_is_written() {
        let text =
            r#"{"hosts":["*.a.test:443"],"dns":["*.b.test"],"secrets":["s"],"reveal":["r"],"state":true}"#;
        assert_eq!(serde_json::to_string(&grant(text)).unwrap(), text);
        assert_eq!(serde_json::to_string(&Grant::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<Grant>(r#"{"host":["a"]}"#).is_err());
    }
}
