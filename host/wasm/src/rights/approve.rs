//! Joins what operators decided, kept in [`Data`], with what is in force: grants take effect, and a plugin that asks
//! for more than it was granted waits until somebody approves its very file.

use super::{Approval, Grant, assess, diff};
use crate::{
    custody::Custody,
    data::{Data, Decisions},
    folder::{Approver, Candidate},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The approver of a folder whose decisions are in `data`: puts the grants among them in force as soon as it sees them,
/// and asks for what [`assess`] finds missing, with the [`diff`] to the version before, unless the file's digest is
/// among the approvals.
pub fn approver(custody: Arc<Custody>, data: Arc<Data>) -> Approver {
    let seen: Mutex<Option<Arc<Decisions>>> = Mutex::default();
    Arc::new(move |candidate: &Candidate<'_>| {
        let decisions = data.decisions();
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &decisions)) {
                custody.grants().replace(grants(&decisions));
                *seen = Some(decisions.clone());
            }
        }
        if decisions.approvals.contains_key(candidate.digest) {
            return Vec::new();
        }
        let grant = custody.grants().of(candidate.name, candidate.digest);
        let Approval::Pending { mut missing } = assess(candidate.name, candidate.capabilities, &grant) else {
            return Vec::new();
        };
        if let Some(previous) = candidate.previous {
            missing.extend(diff(previous, candidate.capabilities));
        }
        missing
    })
}

/// The grants among decisions: one grant, or several, for each plugin. One that is not understood grants nothing.
fn grants(decisions: &Decisions) -> BTreeMap<String, Vec<Grant>> {
    let read = |(name, value): (&String, &Value)| {
        let grants = match value {
            Value::Array(grants) => grants.clone(),
            grant => vec![grant.clone()],
        };
        let read = |grant| {
            serde_json::from_value(grant)
                .inspect_err(|error| {
                    tracing::warn!(
                        plugin = name,
                        "a grant in `plugins.data` is not understood: {error}"
                    )
                })
                .ok()
        };
        (name.clone(), grants.into_iter().filter_map(read).collect())
    };
    decisions.grants.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Capability;
    use serde_json::json;

    #[test]
    fn a_plugin_waits_until_it_is_granted_what_it_asks_for_or_its_file_is_approved() {
        let (custody, data) = (
            Arc::new(Custody::new(BTreeMap::new())),
            Arc::new(Data::in_memory()),
        );
        let approver = approver(custody.clone(), data.clone());
        let asks = |scope: &str| Capability {
            kind: "k".into(),
            name: "net.http".into(),
            scope: vec![scope.into()],
            optional: false,
            reason: "why not".into(),
        };
        let (old, new) = ([asks("{config.url}")], [asks("api.test:443")]);
        let candidate = |digest| Candidate {
            name: "p",
            version: "1.0.0",
            digest,
            capabilities: &new,
            previous: Some(&old),
        };
        let missing = approver(&candidate("d1"));
        assert!(
            missing[0].contains(r#"plugins.grants.p.hosts = ["api.test:443"]"#),
            "{missing:?}"
        );
        assert_eq!(
            missing[1..],
            ["- k: net.http {config.url}", "+ k: net.http api.test:443"]
        );
        data.change(|decisions| {
            decisions.approvals.insert("d1".into(), json!({}));
        })
        .unwrap();
        assert_eq!(approver(&candidate("d1")), [""; 0]);
        assert_eq!(
            approver(&candidate("d2")).len(),
            3,
            "another file is another matter"
        );
        data.change(|decisions| {
            decisions
                .grants
                .insert("p".into(), json!([{ "hosts": ["*.test"] }, "nonsense"]));
        })
        .unwrap();
        assert_eq!(approver(&candidate("d2")), [""; 0]);
        assert_eq!(custody.grants().of("p", "d2").hosts.len(), 1, "in force");
    }
}
