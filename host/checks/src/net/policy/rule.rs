//! One entry of an allow or deny list.

use ipnet::{IpNet, Ipv4Net};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr};

/// A network, an address or a host pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    text: String,
    matcher: Matcher,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Matcher {
    Network(IpNet),
    /// Lower case; `*` stands for any run of characters, `?` for one.
    Pattern(String),
}

/// A text that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no network rule: {why}")]
pub struct RuleError {
    text: String,
    why: &'static str,
}

impl Rule {
    /// Whether the rule is about the name `host` (lower case, without a trailing dot).
    pub fn names(&self, host: &str) -> bool {
        matches!(&self.matcher, Matcher::Pattern(pattern) if glob(pattern.as_bytes(), host.as_bytes()))
    }

    /// Whether the rule's network holds `address` (canonical).
    pub fn holds(&self, address: IpAddr) -> bool {
        matches!(&self.matcher, Matcher::Network(network) if network.contains(&address))
    }

    /// Whether it is a network or an address, and no pattern of names.
    pub fn is_network(&self) -> bool {
        matches!(self.matcher, Matcher::Network(_))
    }

    /// Whether it is the pattern `*`.
    pub fn is_anything(&self) -> bool {
        matches!(&self.matcher, Matcher::Pattern(pattern) if pattern == "*")
    }

    /// Whether all that `other` is about, this is about, too. Says no where that cannot be told (`?` against `*`).
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.matcher, &other.matcher) {
            (Matcher::Network(outer), Matcher::Network(inner)) => outer.contains(inner),
            (Matcher::Pattern(outer), Matcher::Pattern(inner)) => {
                // What a star of `outer` swallows may well be a star; a `?` must not.
                !(outer.contains('?') && inner.contains('*')) && glob(outer.as_bytes(), inner.as_bytes())
            }
            (Matcher::Pattern(outer), Matcher::Network(_)) => outer == "*",
            (Matcher::Network(_), Matcher::Pattern(_)) => false,
        }
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let fail = |why| {
            Err(RuleError {
                text: text.to_owned(),
                why,
            })
        };
        let trimmed = text.trim();
        let bare = trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(trimmed);
        let network = bare
            .parse::<IpNet>()
            .or_else(|_| bare.parse::<IpAddr>().map(IpNet::from));
        let matcher = match network {
            Ok(network) => Matcher::Network(canonical(network)),
            Err(_) if trimmed.is_empty() => return fail("it is empty"),
            Err(_) if trimmed.contains(['/', ':', '@']) => {
                return fail(
                    "expected a network like `10.0.0.0/8`, an address, or a host pattern like `*.example.com`",
                );
            }
            Err(_) if trimmed.contains('.') && trimmed.bytes().all(|b| b"0123456789.*?".contains(&b)) => {
                return fail("addresses have no wildcards, write a network like `10.0.0.0/8`");
            }
            Err(_)
                if !trimmed
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._*?".contains(&b)) =>
            {
                return fail(
                    "a host pattern has letters, digits, `-`, `_`, `.`, `*` and `?` only (other letters as `xn--…`)",
                );
            }
            Err(_) => Matcher::Pattern(pattern(trimmed)),
        };
        Ok(Self {
            text: text.to_owned(),
            matcher,
        })
    }
}

/// In lower case, without a trailing dot. Stars in a row are one: `**` is `*`, and about addresses, too.
fn pattern(text: &str) -> String {
    let mut pattern = text.trim_end_matches('.').to_ascii_lowercase();
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    pattern
}

/// A network inside `::ffff:0:0/96` is the IPv4 network it maps to: addresses are canonical when they are judged.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped
        .and_then(|(v4, prefix)| Ipv4Net::new(v4, prefix).ok())
        .map_or(network, IpNet::V4)
}

/// Linear in the product of both lengths at worst; no recursion.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.text
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonSchema for Rule {
    fn schema_name() -> Cow<'static, str> {
        "Rule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": crate::schema::RULE_FORMAT,
            "description": "A network (`10.0.0.0/8`), an address (`10.1.2.3`) or a host pattern (`*.example.com`).",
        })
    }
}
