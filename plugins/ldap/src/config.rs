//! What a user may ask of a directory server.

use crate::{filter, message};
use lapwing_plugin_sdk::{
    Failure,
    net::{Family, Millis},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of the kind `ldap`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Directory server: host name or IP address.
    #[schemars(length(min = 1, max = 253), extend("format" = "hostname", "x-lapwing-target" = "host"))]
    pub(crate) host: String,
    /// TCP port: 389, or 636 with `tls` = `implicit`.
    #[schemars(range(min = 1), extend("x-lapwing-target" = "port"))]
    #[serde(default = "ldap_port")]
    pub(crate) port: u16,
    /// Address family to use.
    #[serde(default)]
    pub(crate) ip_family: Family,
    /// Encryption: `off`; `starttls`, by an extended operation before anything else; `implicit`, TLS from the first byte
    /// (ldaps, port 636).
    #[serde(default)]
    pub(crate) tls: Tls,
    /// Accept any certificate; the result still says what is wrong with it.
    #[serde(default)]
    pub(crate) ignore_tls_errors: bool,
    /// Name the certificate must be for, when it is not `host`.
    #[serde(default)]
    pub(crate) server_name: Option<String>,
    /// Distinguished name to bind with; anonymous when absent.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default)]
    pub(crate) bind_dn: Option<String>,
    /// Password of `bind_dn`. Sent in plain text when `tls` is `off`.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default)]
    pub(crate) password: Option<String>,
    /// What to look for after the bind; nothing when absent.
    #[serde(default)]
    pub(crate) search: Option<Search>,
    /// Milliseconds to wait for each single answer; only the monitor's timeout counts when absent.
    #[serde(default)]
    pub(crate) step_timeout_ms: Option<Millis>,
}

/// A search and what it must find.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Search {
    /// Distinguished name to begin at; empty for the server's own entry (root DSE), with `scope` = `base`.
    #[schemars(length(max = 1024))]
    #[serde(default)]
    pub(crate) base: String,
    /// `base`: that entry only; `one`: the entries directly below it; `sub`: it and all below.
    #[serde(default)]
    pub(crate) scope: Scope,
    /// Filter as of RFC 4515.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(default = "everything")]
    pub(crate) filter: String,
    /// Fewest entries that must be found.
    #[schemars(range(max = 1000))]
    #[serde(default = "one")]
    pub(crate) min_entries: u32,
    /// Most entries that may be found. No more than 1000 are read when absent.
    #[schemars(range(max = 1000))]
    #[serde(default)]
    pub(crate) max_entries: Option<u32>,
    /// What the entries must hold: each of these must be found in at least one of them.
    #[schemars(length(max = 20))]
    #[serde(default)]
    pub(crate) expect: Vec<Expectation>,
}

/// An attribute that must be there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    /// Name of the attribute; case does not count.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9.;-]{0,127}$"))]
    pub(crate) attribute: String,
    /// Value it must have, among others; case counts. Any value when absent.
    #[schemars(length(max = 4096))]
    #[serde(default)]
    pub(crate) value: Option<String>,
}

// Variants without doc comments become one `enum` in the schema, and a validator's message then lists the words.

/// Whether and how to encrypt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tls {
    #[default]
    Off,
    Starttls,
    Implicit,
}

/// How deep to search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    #[default]
    Base,
    One,
    Sub,
}

impl Config {
    /// Name and password to bind with; both empty for an anonymous bind.
    ///
    /// A name without a password is refused here: a server would take it for an anonymous bind and call it a success
    /// (RFC 4513 §5.1.2).
    pub(crate) fn credentials(&self) -> Result<(&str, &str), Failure> {
        match (&self.bind_dn, &self.password) {
            (None, None) => Ok(("", "")),
            (Some(dn), Some(password)) => Ok((dn, password)),
            _ => Err(Failure::invalid_config(
                "`bind_dn` and `password` go together: give both, or none for an anonymous bind",
            )),
        }
    }
}

impl Search {
    /// The request for it.
    pub(crate) fn request(&self) -> Result<message::Search<'_>, Failure> {
        let filter = filter::parse(&self.filter)
            .map_err(|why| Failure::invalid_config(format!("`search.filter`: {why}")))?;
        Ok(message::Search {
            base: &self.base,
            scope: match self.scope {
                Scope::Base => 0,
                Scope::One => 1,
                Scope::Sub => 2,
            },
            filter,
            attributes: self
                .expect
                .iter()
                .map(|wanted| wanted.attribute.as_str())
                .collect(),
            size_limit: self.size_limit(),
        })
    }

    /// How many entries to ask for: one too many is enough to know.
    fn size_limit(&self) -> u32 {
        self.max_entries
            .map_or(1000, |most| most.max(self.min_entries) + 1)
    }
}

fn ldap_port() -> u16 {
    389
}

fn everything() -> String {
    "(objectClass=*)".to_owned()
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Checker, harness, serde_json};

    fn config(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_schema_at_hand_is_that_of_the_config() {
        harness::assert_schema::<crate::Ldap>("schema.json");
    }

    #[test]
    fn the_example_is_accepted_and_unknown_fields_are_not() {
        let config = config(crate::Ldap::EXAMPLE);
        assert!(config.credentials().is_ok() && config.search.unwrap().request().is_ok());
        let error = serde_json::from_str::<Config>(r#"{"host":"m","prot":25}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `prot`"), "{error}");
    }

    #[test]
    fn a_name_without_a_password_is_no_bind() {
        assert!(config(r#"{"host":"m","bind_dn":"cn=x"}"#).credentials().is_err());
        assert!(config(r#"{"host":"m","password":"x"}"#).credentials().is_err());
        assert!(config(r#"{"host":"m"}"#).credentials().is_ok());
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_invalid_config() {
        let search = config(r#"{"host":"m","search":{"filter":"(uid=x"}}"#)
            .search
            .unwrap();
        let why = format!("{:?}", search.request().unwrap_err());
        assert!(
            why.contains("InvalidConfig") && why.contains("`search.filter`: `)` is missing"),
            "{why}"
        );
    }

    #[test]
    fn one_entry_too_many_is_asked_for() {
        let limit = |json: &str| config(json).search.unwrap().size_limit();
        assert_eq!(limit(r#"{"host":"m","search":{"max_entries":3}}"#), 4);
        assert_eq!(limit(r#"{"host":"m","search":{}}"#), 1000);
    }
}
