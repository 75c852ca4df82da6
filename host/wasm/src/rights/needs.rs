//! What one kind asks for, read from its declared capabilities.
//!
//! A right that is not declared is refused, whatever is granted. A scope of placeholders (`{config.host}`) means the
//! monitor's own target, and so does an empty one; all else is beyond it and takes a grant.

use crate::rights::Right;
use lapwing_checks::net::scope::{Destination, NamePattern, Places, Ports};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What one kind asks for.
#[derive(Debug, Default)]
pub(crate) struct Needs(BTreeMap<Right, Need>);

/// What it asks for by one right.
#[derive(Debug, Default)]
pub(crate) struct Need {
    /// Places beyond the own target.
    pub(crate) places: Arc<Places>,
    /// The ports of a target whose configuration names none: `{config.host}:79`.
    pub(crate) ports: Option<Ports>,
    /// Names of secrets.
    pub(crate) secrets: BTreeSet<String>,
    /// Fields of the configuration that name secrets.
    pub(crate) secret_fields: Vec<String>,
}

/// One entry of a scope.
enum Entry {
    /// The own target; with these ports where the configuration names none.
    Own(Option<Ports>),
    Host(Destination),
    Name(NamePattern),
    Secret(String),
    /// The configuration names it here.
    SecretField(String),
}

impl Needs {
    /// Reads `(name, scope)` pairs. `Err` says what is wrong with which. Names of rights that this version does not
    /// know give nothing.
    pub(crate) fn read<'a>(
        capabilities: impl IntoIterator<Item = (&'a str, &'a [String])>,
    ) -> Result<Self, String> {
        let mut needs: BTreeMap<Right, Need> = BTreeMap::new();
        for (name, scope) in capabilities {
            let Some(right) = Right::named(name) else { continue };
            let need = needs.entry(right).or_default();
            for text in scope {
                let entry = Entry::read(right, text);
                need.add(entry.map_err(|why| format!("scope of capability `{name}`: {why}"))?);
            }
        }
        Ok(Self(needs))
    }

    pub(crate) fn of(&self, right: Right) -> Option<&Need> {
        self.0.get(&right)
    }
}

impl Need {
    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Own(None) => {}
            Entry::Own(Some(ports)) => match &mut self.ports {
                None => self.ports = Some(ports),
                Some(known) => known.extend(ports),
            },
            Entry::Host(host) => Arc::make_mut(&mut self.places).hosts.push(host),
            Entry::Name(name) => Arc::make_mut(&mut self.places).dns.push(name),
            Entry::Secret(name) => {
                self.secrets.insert(name);
            }
            Entry::SecretField(path) => self.secret_fields.push(path),
        }
    }
}

impl Entry {
    fn read(right: Right, text: &str) -> Result<Self, String> {
        if right == Right::Secret
            && let Some(path) = placeholder(text)
        {
            return Ok(Self::SecretField(path.to_owned()));
        }
        if let Some((_, rest)) = text
            .strip_prefix("{config.")
            .and_then(|rest| rest.split_once('}'))
        {
            return match rest.strip_prefix(':') {
                None if rest.is_empty() => Ok(Self::Own(None)),
                Some(port) if port.starts_with("{config.") && port.ends_with('}') => Ok(Self::Own(None)),
                Some(port) => port
                    .parse()
                    .map(|ports| Self::Own(Some(ports)))
                    .map_err(|()| unread(text)),
                None => Err(unread(text)),
            };
        }
        match right {
            Right::Secret => Ok(Self::Secret(text.to_owned())),
            Right::State => Err(format!("`{text}`: `state` has no scope")),
            Right::Dns => match text.parse() {
                Ok(name) => Ok(Self::Name(name)),
                // A server to ask.
                Err(_) => text.parse().map(Self::Host).map_err(|_| unread(text)),
            },
            _ => text.parse().map(Self::Host).map_err(|error| error.to_string()),
        }
    }

    /// Whether an entry of a scope is about the own target alone.
    fn is_own(text: &str) -> bool {
        text.starts_with("{config.")
    }
}

/// The path in `{config.PATH}` that an entry of a scope begins with.
pub(super) fn placeholder(text: &str) -> Option<&str> {
    text.starts_with("{config.").then(|| placeholders(text).next())?
}

/// Each path in a `{config.PATH}` of an entry of a scope.
pub(crate) fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split("{config.").skip(1);
    parts.filter_map(|part| Some(part.split_once('}')?.0))
}

/// The entries of a scope that are beyond the own target.
pub(super) fn beyond(scope: &[String]) -> impl Iterator<Item = &String> {
    scope.iter().filter(|text| !Entry::is_own(text))
}

fn unread(text: &str) -> String {
    format!(
        "`{text}` is none of `{{config.host}}:{{config.port}}`, `{{config.host}}:79`, `host:443`, `*.example.com`, `10.0.0.0/8`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, scope: &[&str]) -> Result<Needs, String> {
        let scope: Vec<String> = scope.iter().map(|&text| text.to_owned()).collect();
        Needs::read([(name, scope.as_slice())])
    }

    #[test]
    fn placeholders_mean_the_own_target() {
        for scope in [
            &[][..],
            &["{config.host}"],
            &["{config.host}:{config.port}", "{config.target}"],
            &["{config.servers.host}"],
        ] {
            let needs = read("net.tcp", scope).unwrap();
            let need = needs.of(Right::Tcp).unwrap();
            assert_eq!((need.places.hosts.len(), &need.ports), (0, &None), "{scope:?}");
            assert!(
                needs.of(Right::Udp).is_none(),
                "what is not declared is not there"
            );
        }
        let needs = read("net.tcp", &["{config.host}:79", "{config.host}:80-81"]).unwrap();
        let ports = needs.of(Right::Tcp).unwrap().ports.clone().unwrap();
        assert!([79, 80, 81].iter().all(|port| ports.admit(Some(*port))) && !ports.admit(Some(82)));
    }

    #[test]
    fn names_and_servers_of_dns_are_told_apart() {
        let needs = read("net.dns", &["*.zen.test", "9.9.9.9:53", "dns.test:53"]).unwrap();
        let places = &needs.of(Right::Dns).unwrap().places;
        assert_eq!((places.dns.len(), places.hosts.len()), (1, 2));
        assert!(
            read("secret", &["token"])
                .unwrap()
                .of(Right::Secret)
                .unwrap()
                .secrets
                .contains("token")
        );
    }

    #[test]
    fn an_unfit_scope_is_refused_by_name() {
        for (name, text) in [
            ("net.tcp", "http://a.test/"),
            ("net.http", "10.0.0.*"),
            ("net.udp", "{config.host}x"),
            ("net.tcp", "{config.host}:http"),
            ("net.dns", "a b:c:d/"),
            ("state", "everything"),
        ] {
            let why = read(name, &[text]).unwrap_err();
            assert!(
                why.starts_with(&format!("scope of capability `{name}`")) && why.contains(text),
                "{why}"
            );
        }
        assert!(read("icmp.ping", &["whatever it means"]).is_ok());
    }
}
