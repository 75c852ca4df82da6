//! One place beyond a run's own target: a host, a network or a pattern, and the ports there.

use crate::net::policy::{Rule, RuleError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, net::IpAddr, ops::RangeInclusive, str::FromStr};

/// Ports of a destination; without a range all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

/// A destination as operators and plugins write it: a [`Rule`], and after a colon the ports it is for:
/// `mail.example.com`, `*.example.com:443`, `10.0.0.0/8:25,8000-8999`, `[2001:db8::/32]:443`, `*:443`.
///
/// Patterns are about names and networks about addresses; `*` alone is about both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Destination {
    text: String,
    rule: Rule,
    ports: Ports,
}

/// A pattern of DNS names: `example.com`, `*.example.com`, `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(Rule);

/// A text that is no destination, or no name pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// The host part.
    #[error(transparent)]
    Host(#[from] RuleError),
    /// The port part.
    #[error("`{0}` has no ports after its colon: expected `443`, `8000-8999` or several with commas between")]
    Ports(String),
    /// A network where a name is wanted.
    #[error("`{0}` is no pattern of names: expected one like `*.example.com`")]
    NoName(String),
}

impl Ports {
    /// All ports.
    pub fn any() -> Self {
        Self::default()
    }

    /// Exactly these.
    pub fn only(ports: impl IntoIterator<Item = u16>) -> Self {
        Self(ports.into_iter().map(|port| port..=port).collect())
    }

    /// Adds those of `other`; without a range these are all ports already.
    pub fn extend(&mut self, other: Self) {
        if other.is_any() {
            self.0.clear();
        } else if !self.is_any() {
            self.0.extend(other.0);
        }
    }

    /// Whether every port is among them.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `port` is among them; of an unknown port, whether it can be.
    pub fn admit(&self, port: Option<u16>) -> bool {
        self.is_any() || port.is_none_or(|port| self.0.iter().any(|range| range.contains(&port)))
    }

    /// Whether all of `other` are among them.
    pub fn cover(&self, other: &Self) -> bool {
        let inside = |inner: &RangeInclusive<u16>| {
            let holds =
                |outer: &RangeInclusive<u16>| outer.start() <= inner.start() && inner.end() <= outer.end();
            self.0.iter().any(holds)
        };
        self.is_any() || !other.is_any() && other.0.iter().all(inside)
    }
}

impl FromStr for Ports {
    type Err = ();

    /// `443`, `8000-8999`, `25,465,587`; never zero.
    fn from_str(text: &str) -> Result<Self, ()> {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(());
        let range = |part: &str| match part.split_once('-') {
            None => port(part).map(|port| port..=port),
            Some((first, last)) => match (port(first)?, port(last)?) {
                (first, last) if first <= last => Ok(first..=last),
                _ => Err(()),
            },
        };
        text.split(',').map(range).collect::<Result<_, ()>>().map(Self)
    }
}

impl Destination {
    /// Whether it is about the name `name` (lower case, without a trailing dot) at `port`.
    pub fn names(&self, name: &str, port: Option<u16>) -> bool {
        self.ports.admit(port) && self.rule.names(name)
    }

    /// Whether it is about `address` (canonical) itself, by a network, at `port`.
    pub fn holds(&self, address: IpAddr, port: Option<u16>) -> bool {
        self.ports.admit(port) && self.rule.holds(address)
    }

    /// Whether it is about any host at `port`.
    pub fn is_anything(&self, port: Option<u16>) -> bool {
        self.ports.admit(port) && self.rule.is_anything()
    }

    /// Whether all that `other` is about, this is about, too.
    pub fn covers(&self, other: &Self) -> bool {
        self.ports.cover(&other.ports) && self.rule.covers(&other.rule)
    }
}

impl NamePattern {
    /// Whether it is about `name` (lower case, without a trailing dot).
    pub fn names(&self, name: &str) -> bool {
        self.0.names(name)
    }

    /// Whether all that `other` is about, this is about, too.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.covers(&other.0)
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let trimmed = text.trim();
        let (host, ports) = match trimmed.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (
                host,
                (!rest.is_empty()).then(|| rest.strip_prefix(':').unwrap_or_default()),
            ),
            None => match trimmed.split_once(':') {
                // More than one colon is an IPv6 address or network.
                Some((host, ports)) if !ports.contains(':') => (host, Some(ports)),
                _ => (trimmed, None),
            },
        };
        let ports = ports.map(str::parse).transpose();
        Ok(Self {
            text: trimmed.to_owned(),
            rule: host.parse()?,
            ports: ports
                .map_err(|()| DestinationError::Ports(text.to_owned()))?
                .unwrap_or_default(),
        })
    }
}

impl FromStr for NamePattern {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let rule: Rule = text.parse()?;
        if rule.is_network() {
            return Err(DestinationError::NoName(text.to_owned()));
        }
        Ok(Self(rule))
    }
}

/// Both are texts in files and in the API.
macro_rules! as_text {
    ($name:ident, $format:expr, $description:literal) => {
        impl TryFrom<String> for $name {
            type Error = DestinationError;

            fn try_from(text: String) -> Result<Self, DestinationError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "description": $description })
            }
        }
    };
}

as_text!(
    Destination,
    crate::schema::DESTINATION_FORMAT,
    "A host pattern (`*.example.com`), an address or a network (`10.0.0.0/8`), with ports after a colon (`:443`, `:25,8000-8999`)."
);
as_text!(
    NamePattern,
    crate::schema::NAME_FORMAT,
    "A pattern of DNS names (`*.example.com`)."
);

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
