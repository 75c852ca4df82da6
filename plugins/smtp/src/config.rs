//! What a user may ask of a mail server.

use lapwing_plugin_sdk::net::{Family, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of the kind `smtp`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Mail server: host name or IP address.
    #[schemars(length(min = 1, max = 253), extend("format" = "hostname", "x-lapwing-target" = "host"))]
    pub(crate) host: String,
    /// TCP port: 25 between servers, 587 for submission, 465 with `tls` = `implicit`.
    #[schemars(range(min = 1), extend("x-lapwing-target" = "port"))]
    #[serde(default = "smtp_port")]
    pub(crate) port: u16,
    /// Address family to use.
    #[serde(default)]
    pub(crate) ip_family: Family,
    /// Name to introduce ourselves with (EHLO). A strict server wants one that resolves to the worker.
    #[schemars(regex(pattern = r"^[!-~]{1,255}$"))]
    #[serde(default = "localhost")]
    pub(crate) helo: String,
    /// Encryption: `off`; `starttls_advertised`, plain text, but STARTTLS must be announced; `starttls`, announced and
    /// used; `implicit`, TLS from the first byte (SMTPS, port 465).
    #[serde(default)]
    pub(crate) tls: Tls,
    /// Accept any certificate; the result still says what is wrong with it.
    #[serde(default)]
    pub(crate) ignore_tls_errors: bool,
    /// Name the certificate must be for, when it is not `host`.
    #[serde(default)]
    pub(crate) server_name: Option<String>,
    /// Code the server must greet with: 220, or 554 for one that is known to refuse.
    #[schemars(range(min = 200, max = 599))]
    #[serde(default = "ready")]
    pub(crate) banner_code: u16,
    /// Text the greeting must contain; case counts.
    #[schemars(length(min = 1))]
    #[serde(default)]
    pub(crate) banner_contains: Option<String>,
    /// Extensions the server must announce (after STARTTLS, where it is used): a keyword such as `PIPELINING`, or a
    /// keyword with parameters such as `AUTH LOGIN`. Case does not count.
    #[schemars(inner(length(min = 1)))]
    #[serde(default)]
    pub(crate) extensions: Vec<String>,
    /// Milliseconds to wait for each single answer; only the monitor's timeout counts when absent.
    #[serde(default)]
    pub(crate) step_timeout_ms: Option<Millis>,
}

// Variants without doc comments become one `enum` in the schema, and a validator's message then lists the words.

/// Whether and how to encrypt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tls {
    #[default]
    Off,
    StarttlsAdvertised,
    Starttls,
    Implicit,
}

fn smtp_port() -> u16 {
    25
}

fn localhost() -> String {
    "localhost".to_owned()
}

fn ready() -> u16 {
    220
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Checker, harness, serde_json};

    #[test]
    fn the_schema_at_hand_is_that_of_the_config() {
        harness::assert_schema::<crate::Smtp>("schema.json");
    }

    #[test]
    fn the_example_is_accepted_and_unknown_fields_are_not() {
        let config: Config = serde_json::from_str(crate::Smtp::EXAMPLE).unwrap();
        assert_eq!((config.port, config.tls), (587, Tls::Starttls));
        let error = serde_json::from_str::<Config>(r#"{"host":"m","prot":25}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `prot`"), "{error}");
    }
}
