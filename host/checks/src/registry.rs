//! Finds the executor of a kind by name.

use crate::{Executor, KindInfo, check::CheckError};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The kinds of one worker. Built once, then only read; a reload builds another.
#[derive(Clone, Default)]
pub struct Registry {
    names: BTreeMap<String, Arc<dyn Executor>>,
    left_out: BTreeMap<&'static str, &'static str>,
}

/// Two executors claim one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kind `{kind}` of {claimant} is already provided by {holder}")]
pub struct Clash {
    /// The disputed name.
    pub kind: String,
    /// Who has it.
    pub holder: String,
    /// Who wanted it.
    pub claimant: String,
}

impl Registry {
    /// Adds an executor under its kind and its aliases: all of them, or none when one is taken.
    pub fn register(&mut self, executor: Arc<dyn Executor>) -> Result<(), Clash> {
        let names: Vec<String> = std::iter::once(&executor.info().kind)
            .chain(&executor.info().aliases)
            .cloned()
            .collect();
        if let Some((kind, holder)) = names.iter().find_map(|name| Some((name, self.names.get(name)?))) {
            return Err(Clash {
                kind: kind.clone(),
                holder: holder.info().origin.to_string(),
                claimant: executor.info().origin.to_string(),
            });
        }
        self.names
            .extend(names.into_iter().zip(std::iter::repeat(executor)));
        Ok(())
    }

    /// Says why `kind` is not there, for whoever asks for it.
    pub fn leave_out(&mut self, kind: &'static str, why: &'static str) {
        self.left_out.insert(kind, why);
    }

    /// The executor of `kind`, by its name or an alias.
    pub fn get(&self, kind: &str) -> Option<&Arc<dyn Executor>> {
        self.names.get(kind)
    }

    /// As [`Self::get`]; the error lists the known kinds.
    pub fn executor(&self, kind: &str) -> Result<&Arc<dyn Executor>, CheckError> {
        self.get(kind).ok_or_else(|| CheckError::UnknownKind {
            kind: kind.to_owned(),
            away: self.left_out.get(kind).map(|why| (*why).to_owned()),
            known: self.kinds().map(|info| info.kind.clone()).collect(),
        })
    }

    /// Every kind once, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &KindInfo> {
        self.names
            .iter()
            .filter(|(name, executor)| **name == executor.info().kind)
            .map(|(_, executor)| executor.info())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_was_left_out_is_unknown_with_the_reason() {
        let mut registry = Registry::default();
        registry.leave_out("mongodb", "this build was made without the feature `mongodb`");
        let Err(error) = registry.executor("mongodb").map(|_| ()) else {
            panic!("found")
        };
        assert_eq!(
            error.to_string(),
            "unknown monitor type `mongodb`: this build was made without the feature `mongodb`; known: "
        );
    }
}
