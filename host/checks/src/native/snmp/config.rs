//! What a user may set, and the plan one probe makes of it.

use super::{
    compare::Operator,
    usm::{AuthProtocol, PrivacyProtocol, User},
};
use crate::{
    CheckError, Findings,
    native::ber,
    net::{Host, IpFamily},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Shortest password of a user: RFC 3414 §11.2.
const SHORTEST_PASSWORD: usize = 8;

/// Configuration of kind `snmp`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnmpConfig {
    /// Name or address; an IPv6 address may be in brackets.
    #[schemars(length(min = 1))]
    pub host: String,
    /// UDP port. Default: 0, which stands for 161.
    #[serde(default)]
    pub port: u16,
    /// The community of versions 1 and 2c.
    #[serde(default)]
    pub community: String,
    /// Protocol version.
    pub snmp_version: Version,
    /// What to ask for, as numbers: `1.3.6.1.2.1.1.3.0`; a leading dot does not matter.
    #[schemars(length(min = 3))]
    pub oid: String,
    /// Whether to compare: only with this and `expected_value` set. What it says does not matter (as in Peekaping).
    #[serde(default)]
    pub json_path: String,
    /// How to compare; `lt`, `gt`, `le` and `ge` compare numbers. Default: `eq`.
    #[serde(default)]
    pub json_path_operator: Operator,
    /// What the value is compared with.
    #[serde(default)]
    pub expected_value: String,
    /// Version 3: the user's name.
    #[serde(default)]
    pub username: String,
    /// Version 3: how the user proves to be one. Default: `SHA`, where `auth_password` is set.
    #[serde(default)]
    pub auth_protocol: AuthProtocol,
    /// Version 3: the password to prove it with, at least 8 bytes. Default: none, and no proof (noAuthNoPriv).
    #[serde(default)]
    pub auth_password: String,
    /// Version 3: the cipher. Default: `AES`, where `priv_password` is set.
    #[serde(default)]
    pub priv_protocol: PrivacyProtocol,
    /// Version 3: the password for the cipher, at least 8 bytes; needs `auth_password`. Default: none, no encryption.
    #[serde(default)]
    pub priv_password: String,
    /// Version 3: the context. Default: the agent's own.
    #[serde(default)]
    pub context_name: String,
    /// Address family to use. Default: `any`, the first address there is a route to.
    #[serde(default)]
    pub ip_family: IpFamily,
}

/// Protocol versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// RFC 1157.
    V1,
    /// RFC 3416, with a community.
    V2c,
    /// RFC 3412, with users (RFC 3414).
    V3,
}

/// How to be let in.
pub(super) enum Access {
    /// The number of the version, and the community.
    Community(i64, Vec<u8>),
    User(User),
}

/// A configuration made ready.
pub(super) struct Plan {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) family: IpFamily,
    pub(super) access: Access,
    pub(super) oid: Vec<u8>,
    /// As the user wrote it.
    pub(super) shown: String,
    pub(super) condition: Option<(Operator, String)>,
}

impl Plan {
    pub(super) fn new(config: SnmpConfig) -> Result<Self, CheckError> {
        let mut found = Findings::default();
        config.review(&mut found);
        found.into_result()?;
        let oid = encoded(&config.oid).unwrap_or_default();
        let is_compared = !config.json_path.is_empty() && !config.expected_value.is_empty();
        Ok(Self {
            oid,
            access: config.access(),
            condition: is_compared.then_some((config.json_path_operator, config.expected_value)),
            shown: config.oid,
            port: if config.port == 0 { 161 } else { config.port },
            host: config.host,
            family: config.ip_family,
        })
    }
}

impl SnmpConfig {
    /// Notes everything that is wrong.
    pub(super) fn review(&self, found: &mut Findings) {
        found.of("host", Host::parse(&self.host));
        if encoded(&self.oid).is_none() {
            found.add(
                "oid",
                format_args!("`{}` is no object identifier in numbers", self.oid),
            );
        }
        if self.snmp_version != Version::V3 {
            return;
        }
        if self.username.is_empty() {
            found.add("username", "`v3` needs it");
        }
        let passwords = [
            ("auth_password", &self.auth_password),
            ("priv_password", &self.priv_password),
        ];
        for (field, text) in passwords {
            if !text.is_empty() && text.len() < SHORTEST_PASSWORD {
                found.add(field, "expected at least 8 bytes");
            }
        }
        if self.auth_password.is_empty() && !self.priv_password.is_empty() {
            found.add("auth_password", "`priv_password` needs it");
        }
    }

    fn access(&self) -> Access {
        let number = match self.snmp_version {
            Version::V1 => 0,
            Version::V2c => 1,
            Version::V3 => return Access::User(self.user()),
        };
        Access::Community(number, self.community.clone().into_bytes())
    }

    fn user(&self) -> User {
        let password = |text: &str| Some(text.as_bytes().to_vec()).filter(|text| !text.is_empty());
        User {
            name: self.username.clone().into_bytes(),
            context: self.context_name.clone().into_bytes(),
            auth: password(&self.auth_password).map(|password| (self.auth_protocol, password)),
            privacy: password(&self.priv_password).map(|password| (self.priv_protocol, password)),
        }
    }
}

/// An object identifier as the content of its BER value (X.690 §8.19).
fn encoded(oid: &str) -> Option<Vec<u8>> {
    let arcs: Option<Vec<u32>> = oid
        .trim()
        .trim_start_matches('.')
        .split('.')
        .map(|arc| arc.parse().ok())
        .collect();
    let arcs = arcs?;
    let (&[first, second], rest) = arcs.split_first_chunk::<2>()?;
    if first > 2 || (first < 2 && second > 39) {
        return None;
    }
    let mut bytes = Vec::new();
    ber::push_arc(&mut bytes, u64::from(first) * 40 + u64::from(second));
    for arc in rest {
        ber::push_arc(&mut bytes, u64::from(*arc));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers_are_written_in_numbers() {
        assert_eq!(
            encoded(".1.3.6.1.2.1.1.3.0").unwrap(),
            [0x2b, 6, 1, 2, 1, 1, 3, 0]
        );
        assert_eq!(
            encoded("1.3.6.1.4.1.8072").unwrap(),
            [0x2b, 6, 1, 4, 1, 0xbf, 0x08]
        );
        assert_eq!(
            encoded("2.999.4294967295").unwrap(),
            [0x88, 0x37, 0x8f, 0xff, 0xff, 0xff, 0x7f]
        );
        for broken in [
            "",
            "1",
            "sysDescr.0",
            "1..3",
            "3.1",
            "1.40.1",
            "1.3.6.4294967296",
            "1.3.-6",
        ] {
            assert!(encoded(broken).is_none(), "{broken}");
        }
    }
}
