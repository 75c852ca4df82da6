//! What operators allow plugins: which may serve, and what they may use. Kept in `plugins.data`, in force at once.
//!
//! Called by [`crate::kinds`] at the start, and by the admin API. Functions that change something block for a write of
//! that file.

use crate::config::secrets;
use lapwing_wasm::{
    Approval, Approver, Capability, Custody, Data, DataError, Grant, PluginFolder, PluginHost, asked, assess,
    diff,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Lets a plugin serve when all that it cannot do without is granted, or an operator approved this very file.
pub(crate) fn approver(host: &PluginHost, data: &Arc<Data>) -> Approver {
    let (custody, data) = (host.custody().clone(), data.clone());
    let enforced = Mutex::new(data.decisions());
    Arc::new(move |candidate| {
        // Another process may have decided: what it granted, or took back, counts here as well.
        let decisions = data.decisions();
        let mut enforced = enforced.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&enforced, &decisions) {
            enforce(&custody, &data);
            *enforced = decisions;
        }
        drop(enforced);
        if data.decisions().approvals.contains_key(candidate.digest) {
            return Vec::new();
        }
        let granted = custody.grants().of(candidate.name, candidate.digest);
        match assess(candidate.name, candidate.capabilities, &granted) {
            Approval::Granted => Vec::new(),
            Approval::Pending { mut missing } => {
                let changes = candidate
                    .previous
                    .map(|before| diff(before, candidate.capabilities));
                missing.extend(changes.into_iter().flatten());
                missing
            }
        }
    })
}

/// Puts the grants made by API in force. What is not understood grants nothing.
pub(crate) fn enforce(custody: &Custody, data: &Data) {
    let decisions = data.decisions();
    let made = decisions
        .grants
        .iter()
        .map(|(name, value)| (name.clone(), read(name, value)));
    custody.grants().replace(made.collect());
}

/// Says which grants made by API name a secret that the settings no longer have: their runs will not find it.
pub(crate) fn warn_of_unknown_secrets(custody: &Custody, there: &BTreeSet<String>) {
    for (plugin, grants) in custody.grants().made() {
        for (_, why) in grants.iter().flat_map(|grant| secrets::unknown(grant, there)) {
            tracing::warn!("plugin `{plugin}` is granted, by API, what is not there: {why}");
        }
    }
}

/// Grants `grant` to the plugin called `name`, in place of what was granted it by API for the same file (or for any).
pub(crate) fn grant(folder: &PluginFolder, name: &str, grant: Grant) -> Result<(), DataError> {
    folder.data().change(|decisions| {
        let entry = decisions.grants.entry(name.to_owned()).or_default();
        *entry = with(read(name, entry), grant);
    })?;
    settle(folder);
    Ok(())
}

/// Takes back all that was granted to `name` by API, and every approval of a file of that name.
pub(crate) fn revoke(folder: &PluginFolder, name: &str) -> Result<(), DataError> {
    folder.data().change(|decisions| {
        decisions.grants.remove(name);
        decisions
            .approvals
            .retain(|_, approval| approval.get("plugin").and_then(Value::as_str) != Some(name));
    })?;
    settle(folder);
    Ok(())
}

/// Lets the file with this digest serve as `name`, with what it cannot do without.
pub(crate) fn approve(
    folder: &PluginFolder,
    name: &str,
    digest: &str,
    declared: &[Capability],
) -> Result<(), DataError> {
    let needed = Grant {
        digest: Some(digest.to_owned()),
        ..asked(declared)
    };
    folder.data().change(|decisions| {
        decisions
            .approvals
            .insert(digest.to_owned(), json!({ "plugin": name }));
        let entry = decisions.grants.entry(name.to_owned()).or_default();
        *entry = with(read(name, entry), needed);
    })?;
    settle(folder);
    Ok(())
}

fn settle(folder: &PluginFolder) {
    enforce(folder.host().custody(), folder.data());
    folder.decide();
}

fn with(mut made: Vec<Grant>, grant: Grant) -> Value {
    made.retain(|before| before.digest != grant.digest);
    made.push(grant);
    json!(made)
}

fn read(name: &str, value: &Value) -> Vec<Grant> {
    if value.is_null() {
        return Vec::new();
    }
    serde_json::from_value(value.clone()).unwrap_or_else(|error| {
        tracing::warn!("what was granted to plugin `{name}` is not understood, and not granted: {error}");
        Vec::new()
    })
}
