//! What a user may ask of an SSH server.

use lapwing_plugin_sdk::{
    Failure,
    net::{Family, Millis},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of the kind `ssh`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// SSH server: host name or IP address.
    #[schemars(length(min = 1, max = 253), extend("format" = "hostname", "x-lapwing-target" = "host"))]
    pub(crate) host: String,
    /// TCP port.
    #[schemars(range(min = 1), extend("x-lapwing-target" = "port"))]
    #[serde(default = "ssh_port")]
    pub(crate) port: u16,
    /// Address family to use.
    #[serde(default)]
    pub(crate) ip_family: Family,
    /// How far to go: `version`, the server's first line; `host_key`, on through the key exchange until the server has
    /// proven its host key.
    #[serde(default)]
    pub(crate) until: Until,
    /// Text the version line (`SSH-2.0-OpenSSH_9.2p1 Debian-2`) must contain; case counts.
    #[schemars(length(min = 1))]
    #[serde(default)]
    pub(crate) version_contains: Option<String>,
    /// Oldest software version that is fine, such as `9.6` or `9.6p1`; an older one is degraded.
    #[schemars(regex(pattern = r"^[0-9]+([.p][0-9]+)*$"))]
    #[serde(default)]
    pub(crate) min_version: Option<String>,
    /// Fingerprints of the host keys that may be shown, as `ssh-keygen -l` prints them (`SHA256:…`). Any key will do
    /// when empty.
    #[schemars(inner(regex(pattern = r"^(SHA256:)?[A-Za-z0-9+/]{43}=?$")))]
    #[serde(default)]
    pub(crate) host_key_sha256: Vec<String>,
    /// Kind of host key to ask for, where the server has several: `any` takes ed25519 first, then ecdsa (nistp256),
    /// then rsa.
    #[serde(default)]
    pub(crate) host_key_type: KeyType,
    /// Algorithms the server should not offer (`ssh-rsa`, `diffie-hellman-group1-sha1`, `3des-cbc`); it is degraded
    /// when it does.
    #[schemars(inner(length(min = 1)))]
    #[serde(default)]
    pub(crate) unwanted_algorithms: Vec<String>,
    /// Milliseconds to wait for each single answer; only the monitor's timeout counts when absent.
    #[serde(default)]
    pub(crate) step_timeout_ms: Option<Millis>,
}

// Variants without doc comments become one `enum` in the schema, and a validator's message then lists the words.

/// How far to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Until {
    Version,
    #[default]
    HostKey,
}

/// Kind of host key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyType {
    #[default]
    Any,
    Ed25519,
    Ecdsa,
    Rsa,
}

impl Config {
    /// What the schema cannot say.
    pub(crate) fn judge(&self) -> Result<(), Failure> {
        let keys = !self.host_key_sha256.is_empty() || !self.unwanted_algorithms.is_empty();
        if self.until == Until::Version && keys {
            return Err(Failure::invalid_config(
                "`host_key_sha256` and `unwanted_algorithms` need `until` = `host_key`",
            ));
        }
        Ok(())
    }

    /// Whether a host key with this fingerprint (`SHA256:…`, without `=`) will do.
    pub(crate) fn accepts(&self, fingerprint: &str) -> bool {
        let bare = |text: &str| {
            text.trim_start_matches("SHA256:")
                .trim_end_matches('=')
                .to_owned()
        };
        self.host_key_sha256.is_empty()
            || self
                .host_key_sha256
                .iter()
                .any(|expected| bare(expected) == bare(fingerprint))
    }
}

impl KeyType {
    /// The names of the signature algorithms, most wanted first (RFC 8709, RFC 5656, RFC 8332).
    pub(crate) fn algorithms(self) -> &'static [&'static str] {
        match self {
            Self::Any => &[
                "ssh-ed25519",
                "ecdsa-sha2-nistp256",
                "rsa-sha2-512",
                "rsa-sha2-256",
            ],
            Self::Ed25519 => &["ssh-ed25519"],
            Self::Ecdsa => &["ecdsa-sha2-nistp256"],
            Self::Rsa => &["rsa-sha2-512", "rsa-sha2-256"],
        }
    }
}

fn ssh_port() -> u16 {
    22
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Checker, harness, serde_json};

    #[test]
    fn the_schema_at_hand_is_that_of_the_config() {
        harness::assert_schema::<crate::Ssh>("schema.json");
    }

    #[test]
    fn the_example_is_accepted_and_unknown_fields_are_not() {
        let config: Config = serde_json::from_str(crate::Ssh::EXAMPLE).unwrap();
        assert_eq!((config.port, config.until), (22, Until::HostKey));
        assert!(config.judge().is_ok());
        let error = serde_json::from_str::<Config>(r#"{"host":"m","prot":25}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `prot`"), "{error}");
    }

    #[test]
    fn a_fingerprint_is_accepted_in_every_spelling() {
        let key = "x9Q9gNDnN7E3hTbCSNGrnXpmXY3HzDWq4yaPNGCBSwE";
        for spelt in [key.to_owned(), format!("SHA256:{key}"), format!("{key}=")] {
            let config = format!(r#"{{"host":"m","host_key_sha256":["{spelt}"]}}"#);
            let config: Config = serde_json::from_str(&config).unwrap();
            assert!(config.accepts(&format!("SHA256:{key}")));
            assert!(!config.accepts("SHA256:AAAA"));
        }
    }

    #[test]
    fn what_needs_the_key_exchange_needs_it_asked_for() {
        let config = r#"{"host":"m","until":"version","unwanted_algorithms":["ssh-rsa"]}"#;
        let config: Config = serde_json::from_str(config).unwrap();
        assert!(config.judge().is_err());
    }
}
