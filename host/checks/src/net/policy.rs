//! Which addresses checks may reach, judged at connect time on the resolved address.
//!
//! Pure: no look-ups, no clock. [`Net`](super::Net) asks it before every connection, on every redirect hop, for native
//! checks and plugins alike. It must not be asked about anything but the very address that is then dialled: judging a
//! name and connecting to what it resolves to later is how DNS rebinding works.

pub(super) mod ranges;
mod rule;

pub use rule::{Rule, RuleError};

use ranges::Reach;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The operator's rules for outgoing connections of checks.
///
/// `deny` wins over `allow`, and `allow` over `mode`. Addresses inside other addresses (IPv4-mapped, NAT64, 6to4 and
/// Teredo spellings) are judged as the address they lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EgressPolicy {
    /// What is reachable unless a rule says otherwise. Default: `no-metadata`.
    pub mode: Mode,
    /// Networks (`10.0.0.0/8`), addresses (`10.1.2.3`) and host patterns (`*.corp.example`) that are reachable in
    /// spite of `mode`. Default: none.
    pub allow: Vec<Rule>,
    /// The same, never reachable. Default: none.
    pub deny: Vec<Rule>,
}

/// What is reachable unless a rule says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Everything.
    Open,
    /// Everything but link-local addresses and the addresses where clouds serve machine credentials.
    #[default]
    NoMetadata,
    /// Global unicast addresses only: no private, loopback, shared or reserved network, and no cloud metadata.
    PublicOnly,
}

impl Mode {
    /// The word, as in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::NoMetadata => "no-metadata",
            Self::PublicOnly => "public-only",
        }
    }

    /// The name of the forbidden range that `address` is in, if any.
    fn forbids(self, address: IpAddr) -> Option<&'static str> {
        match (self, ranges::reach(address)) {
            (Self::Open, _) | (_, Reach::Global) | (Self::NoMetadata, Reach::Local(_)) => None,
            (_, Reach::Metadata(name)) | (Self::PublicOnly, Reach::Local(name)) => Some(name),
        }
    }
}

impl EgressPolicy {
    /// Judges a connection to `address`, reached under the name `host` (lower case, or the address itself). The error
    /// says which rule forbids it and what to change.
    pub fn judge(&self, host: &str, address: IpAddr) -> Result<(), String> {
        let address = address.to_canonical();
        let what = if host.parse() == Ok(address) {
            format!("`{host}`")
        } else {
            format!("`{host}` ({address})")
        };
        let ends = ranges::ends(address);
        let holds =
            |rule: &Rule| rule.names(host) || rule.holds(address) || ends.iter().any(|end| rule.holds(*end));
        if let Some(rule) = self.deny.iter().find(|rule| holds(rule)) {
            return Err(denied(&what, rule));
        }
        let refused = ends.iter().find_map(|end| {
            let allowed = self.allow.iter().any(|rule| rule.names(host) || rule.holds(*end));
            self.mode.forbids(*end).filter(|_| !allowed)
        });
        refused.map_or(Ok(()), |range| Err(self.forbidden(&what, range)))
    }

    /// Judges a name whose address someone else will look up (a proxy, a DNS server): all that can be judged is the
    /// name itself.
    pub fn judge_name(&self, host: &str) -> Result<(), String> {
        let what = format!("`{host}`");
        if let Some(rule) = self.deny.iter().find(|rule| rule.names(host)) {
            return Err(denied(&what, rule));
        }
        let allowed = self.mode == Mode::Open || self.allow.iter().any(|rule| rule.names(host));
        if !allowed && ranges::METADATA_NAMES.contains(&host) {
            return Err(self.forbidden(&what, "a cloud metadata service"));
        }
        Ok(())
    }

    /// Judges a Unix socket, `unix://` and its path: a service of this machine that no network reaches.
    pub fn judge_socket(&self, socket: &str) -> Result<(), String> {
        if self.mode == Mode::PublicOnly {
            return Err(format!(
                "`{socket}` is denied by the network policy: mode `public-only` forbids sockets of this machine"
            ));
        }
        // A rule about anything is about this, too; one about networks or names is not.
        let denies = |all: &str| {
            let all = all.parse::<Rule>().ok()?;
            self.deny.iter().find(|rule| rule.covers(&all))
        };
        if let Some((rule, _)) = denies("0.0.0.0/0").zip(denies("::/0")) {
            return Err(denied(&format!("`{socket}`"), rule));
        }
        Ok(())
    }

    fn forbidden(&self, what: &str, range: &str) -> String {
        let mode = self.mode.as_str();
        format!(
            "{what} is denied by the network policy: mode `{mode}` forbids {range}; add it to `network.allow` to permit it"
        )
    }
}

fn denied(what: &str, rule: &Rule) -> String {
    format!("{what} is denied by the network policy: rule `{rule}` of `network.deny`; remove it to permit it")
}

#[cfg(test)]
mod tests;
