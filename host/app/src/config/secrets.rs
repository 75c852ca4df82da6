//! `[secrets]`: what plugins may be lent, by name; from the environment, a file, or the configuration itself.

use super::{Environment, Faults, Secret};
use lapwing_checks::net::scope::Destination;
use lapwing_wasm::{Grant, SecretSource, Secrets};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// One secret: exactly one of `env`, `file` and `value`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SecretEntry {
    /// The environment variable that holds it.
    pub(crate) env: Option<String>,
    /// The file that holds it, at most 64 KiB; a line end at its end does not count. Read again when it has changed.
    pub(crate) file: Option<PathBuf>,
    /// The secret itself. Prefer the others.
    pub(crate) value: Option<Secret>,
    /// Where the host may send it, as in `plugins.grants`: `api.example.com:443`. Default: the `hosts` that the plugin is
    /// granted, and not what a monitor names.
    pub(crate) hosts: Vec<Destination>,
    /// Whether plugins may have it sent in a header by plain HTTP, or to a peer whose certificate is not verified. Default:
    /// false, but for this machine's own addresses.
    pub(crate) plain: bool,
}

/// Reads the section. What is wrong with it goes to `faults`.
pub(crate) fn read(
    entries: BTreeMap<String, SecretEntry>,
    environment: &Environment,
    faults: &mut Faults,
) -> Secrets {
    let mut secrets = Secrets::default();
    for (name, entry) in entries {
        let field = format!("secrets.{name}");
        let source = match (entry.env, entry.file, entry.value) {
            (Some(variable), None, None) => {
                let Some(text) = environment.secret(&variable, faults) else {
                    let why = format!("the environment has no variable `{variable}`, or an empty one");
                    faults.push(field, why);
                    continue;
                };
                SecretSource::Value(text)
            }
            (None, Some(file), None) => SecretSource::File(file),
            (None, None, Some(value)) => SecretSource::Value(value.reveal().to_owned()),
            _ => {
                faults.push(field, "expected exactly one of `env`, `file` and `value`");
                continue;
            }
        };
        secrets.insert(name.clone(), source, entry.hosts);
        if entry.plain {
            secrets.allow_plain(&name);
        }
    }
    secrets
}

/// Notes every grant of a secret that is not there.
pub(crate) fn hold(grants: &BTreeMap<String, Grant>, there: &BTreeSet<String>, faults: &mut Faults) {
    for (plugin, grant) in grants {
        for (list, why) in unknown(grant, there) {
            faults.push(format!("plugins.grants.{plugin}.{list}"), why);
        }
    }
}

/// The secrets that `grant` names and that are not there: its list, and what to say.
pub(crate) fn unknown<'a>(
    grant: &'a Grant,
    there: &'a BTreeSet<String>,
) -> impl Iterator<Item = (&'static str, String)> + 'a {
    let lists = [("secrets", &grant.secrets), ("reveal", &grant.reveal)];
    let say = move |name: &String| {
        let names: Vec<_> = there.iter().map(|name| format!("`{name}`")).collect();
        let known = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        format!("there is no secret `{name}` in [secrets]; known: {known}")
    };
    lists
        .into_iter()
        .flat_map(move |(list, names)| names.difference(there).map(move |name| (list, say(name))))
}
