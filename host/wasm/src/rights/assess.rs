//! Before a plugin serves: does it ask for more than it was granted, and what changed since the version before?

use super::{Grant, Right, needs::beyond};
use crate::plugin::Capability;
use lapwing_checks::{
    net::scope::{Destination, NamePattern},
    text::nearest,
};
use std::collections::BTreeSet;

/// Whether a plugin may serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Everything it cannot do without is granted, or is its monitors' own target.
    Granted,
    /// An operator must decide first.
    Pending {
        /// What is asked for and not granted, each with the reason the plugin gives and the line that grants it, with its
        /// table: a dotted line would belong to whatever table it is pasted into.
        missing: Vec<String>,
    },
}

/// Holds what a plugin declares against what it is granted. Optional capabilities are not waited for.
pub fn assess(plugin: &str, declared: &[Capability], grant: &Grant) -> Approval {
    let mut missing = BTreeSet::new();
    for capability in declared.iter().filter(|capability| !capability.optional) {
        for (list, value) in wanting(capability, grant) {
            let Capability {
                kind, name, reason, ..
            } = capability;
            let line = match list {
                "" => format!(
                    "`{name}`, which is nothing this worker knows{}: it cannot be granted",
                    meant(name)
                ),
                "state" => format!("`{name}`: `{list} = true` in `[{}]`", setting(plugin, "")),
                _ => format!(
                    "`{name}` to `{value}`: `{list} = [{value:?}]` in `[{}]`",
                    setting(plugin, "")
                ),
            };
            missing.insert(format!("kind `{kind}` asks for {line} ({reason})"));
        }
    }
    if missing.is_empty() {
        Approval::Granted
    } else {
        Approval::Pending {
            missing: missing.into_iter().collect(),
        }
    }
}

fn meant(name: &str) -> String {
    nearest(name, Right::ALL.map(Right::as_str))
        .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"))
}

/// What an upgrade asks for that the old version did not, and no longer asks for: lines with `+` and `-`.
pub fn diff(old: &[Capability], new: &[Capability]) -> Vec<String> {
    let lines =
        |capabilities: &[Capability]| -> BTreeSet<String> { capabilities.iter().flat_map(lines).collect() };
    let (old, new) = (lines(old), lines(new));
    let gone = old.difference(&new).map(|line| format!("- {line}"));
    let added = new.difference(&old).map(|line| format!("+ {line}"));
    gone.chain(added).collect()
}

/// The setting that grants something to a plugin, as TOML has it.
pub(crate) fn setting(plugin: &str, list: &str) -> String {
    let dot = if list.is_empty() { "" } else { "." };
    format!("plugins.grants.{}{dot}{list}", key(plugin))
}

/// A name as a key of TOML.
pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

/// What of a capability is not granted, as (list of the grant, entry).
fn wanting<'a>(capability: &'a Capability, grant: &Grant) -> Vec<(&'static str, &'a str)> {
    let hosts = |text: &str| {
        text.parse::<Destination>()
            .is_ok_and(|asked| grant.hosts.iter().any(|granted| granted.covers(&asked)))
    };
    let names = |text: &str| {
        text.parse::<NamePattern>()
            .is_ok_and(|asked| grant.dns.iter().any(|granted| granted.covers(&asked)))
    };
    let find = |list: &'static str, granted: &dyn Fn(&str) -> bool| {
        let scope = beyond(&capability.scope).map(String::as_str);
        scope
            .filter(|text| !granted(text))
            .map(|text| (list, text))
            .collect()
    };
    match Right::named(&capability.name) {
        None => vec![("", "")],
        Some(Right::State) if grant.state => Vec::new(),
        Some(Right::State) => vec![("state", "")],
        Some(Right::Secret) => find("secrets", &|name| {
            grant.secrets.contains(name) || grant.reveal.contains(name)
        }),
        Some(Right::Dns) => beyond(&capability.scope)
            .map(|text| {
                (
                    if text.parse::<NamePattern>().is_ok() {
                        "dns"
                    } else {
                        "hosts"
                    },
                    text.as_str(),
                )
            })
            .filter(|(list, text)| !if *list == "dns" { names(text) } else { hosts(text) })
            .collect(),
        Some(_) => find("hosts", &hosts),
    }
}

/// One line for each thing a capability is about.
fn lines(capability: &Capability) -> Vec<String> {
    let Capability {
        kind,
        name,
        scope,
        optional,
        ..
    } = capability;
    let end = if *optional { " (optional)" } else { "" };
    let about = |what: &str| format!("{kind}: {name} {what}{end}");
    match Right::named(name) {
        Some(Right::State) => vec![format!("{kind}: {name}{end}")],
        _ if scope.is_empty() => vec![about("its own target")],
        _ => scope.iter().map(|entry| about(entry)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(name: &str, scope: &[&str], optional: bool) -> Capability {
        Capability {
            kind: "mail".into(),
            name: name.into(),
            scope: scope.iter().map(|&text| text.to_owned()).collect(),
            optional,
            reason: "why not".into(),
        }
    }

    fn missing(capability: Capability, grant: &str) -> Vec<String> {
        match assess("probe", &[capability], &serde_json::from_str(grant).unwrap()) {
            Approval::Granted => Vec::new(),
            Approval::Pending { missing } => missing,
        }
    }

    #[test]
    fn the_own_target_needs_no_grant() {
        assert_eq!(
            missing(
                capability("net.tcp", &["{config.host}:{config.port}"], false),
                "{}"
            ),
            [""; 0]
        );
        assert_eq!(missing(capability("net.udp", &[], false), "{}"), [""; 0]);
        assert_eq!(
            missing(capability("net.http", &["api.test"], true), "{}"),
            [""; 0],
            "it can do without"
        );
    }

    #[test]
    fn what_is_missing_is_told_with_the_line_to_add() {
        assert_eq!(
            missing(
                capability("net.http", &["api.test:443", "{config.url}"], false),
                "{}"
            ),
            [
                r#"kind `mail` asks for `net.http` to `api.test:443`: `hosts = ["api.test:443"]` in `[plugins.grants.probe]` (why not)"#
            ]
        );
        for (name, scope, grant) in [
            ("net.http", "api.test:443", r#"{"hosts":["*.test"]}"#),
            ("net.dns", "*.zen.test", r#"{"dns":["*.zen.test"]}"#),
            ("net.dns", "9.9.9.9:53", r#"{"hosts":["9.9.9.9"]}"#),
            ("secret", "token", r#"{"secrets":["token"]}"#),
            ("secret", "token", r#"{"reveal":["token"]}"#),
            ("state", "", r#"{"state":true}"#),
        ] {
            let scope: &[&str] = if scope.is_empty() { &[] } else { &[scope] };
            assert_eq!(
                missing(capability(name, scope, false), "{}").len(),
                1,
                "{name} {scope:?}"
            );
            assert_eq!(
                missing(capability(name, scope, false), grant),
                [""; 0],
                "{name} {scope:?}"
            );
        }
        assert!(
            missing(capability("icmp.ping", &[], false), r#"{"hosts":["*"]}"#)[0]
                .contains("cannot be granted")
        );
        let typo = missing(capability("net.tpc", &["10.0.0.1:25"], false), "{}");
        assert!(
            typo[0].contains("`net.tpc`, which is nothing this worker knows (did you mean `net.tcp`?)"),
            "{typo:?}"
        );
        assert_eq!(
            missing(capability("state", &[], false), "{}"),
            ["kind `mail` asks for `state`: `state = true` in `[plugins.grants.probe]` (why not)"]
        );
        assert_eq!(setting("a b", "hosts"), r#"plugins.grants."a b".hosts"#);
    }

    #[test]
    fn an_upgrade_shows_what_changed() {
        let old = [
            capability("net.tcp", &[], false),
            capability("net.http", &["a.test"], false),
        ];
        let new = [
            capability("net.tcp", &[], false),
            capability("net.http", &["b.test"], true),
            capability("state", &[], false),
        ];
        assert_eq!(
            diff(&old, &new),
            [
                "- mail: net.http a.test",
                "+ mail: net.http b.test (optional)",
                "+ mail: state"
            ]
        );
        assert_eq!(diff(&new, &new), [""; 0]);
    }
}
