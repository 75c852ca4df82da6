//! What a user may ask of a domain's registration.

use lapwing_plugin_sdk::Failure;
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of the kind `domain-expiry`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The domain as it is registered: `example.com`, not `www.example.com`. International names as `xn--…`.
    #[schemars(
        regex(
            pattern = r"^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]\.?$"
        ),
        length(max = 253)
    )]
    pub(crate) domain: String,
    /// RDAP server to ask, up to the path before `domain/`: `https://rdap.verisign.com/com/v1/`. When absent, the
    /// registry's server is known for common top-level domains, and looked up at IANA for others; servers other than the
    /// one given here must be granted to the plugin.
    #[schemars(regex(pattern = "^https?://"), extend("format" = "uri", "x-lapwing-target" = "url"))]
    #[serde(default)]
    pub(crate) rdap_url: Option<String>,
    /// Where to look up RDAP servers instead of `https://data.iana.org/rdap/dns.json` (RFC 9224).
    #[schemars(regex(pattern = "^https?://"), extend("format" = "uri", "x-lapwing-target" = "url"))]
    #[serde(default)]
    pub(crate) bootstrap_url: Option<String>,
    /// Days before the end of the registration from which on the result is `degraded`.
    #[schemars(range(max = 3650))]
    #[serde(default = "month")]
    pub(crate) warn_days: u32,
    /// Days before the end of the registration from which on the result is `down`.
    #[schemars(range(max = 3650))]
    #[serde(default = "week")]
    pub(crate) min_days: u32,
    /// Status words that must not be there. As in EPP or RDAP; neither case nor spaces count.
    #[schemars(inner(length(min = 1, max = 64)), length(max = 20))]
    #[serde(default = "holds")]
    pub(crate) forbidden_status: Vec<String>,
    /// Status words that must be there, such as `clientTransferProhibited`.
    #[schemars(inner(length(min = 1, max = 64)), length(max = 20))]
    #[serde(default)]
    pub(crate) required_status: Vec<String>,
    /// Text that the registrar's name must contain; case does not count.
    #[schemars(length(min = 1, max = 200))]
    #[serde(default)]
    pub(crate) registrar: Option<String>,
    /// Minutes for which a good answer is used again, where the plugin was granted `state`: registries limit how often
    /// they answer. 0: never.
    #[schemars(range(max = 10080))]
    #[serde(default = "half_a_day")]
    pub(crate) cache_minutes: u32,
}

impl Config {
    /// The domain in lower case, without a trailing dot.
    pub(crate) fn domain(&self) -> String {
        self.domain.trim_end_matches('.').to_ascii_lowercase()
    }

    /// What the schema cannot say.
    pub(crate) fn validate(&self) -> Result<(), Failure> {
        if self.min_days > self.warn_days {
            return Err(Failure::invalid_config(format!(
                "`min_days` ({}) must not be more than `warn_days` ({})",
                self.min_days, self.warn_days
            )));
        }
        Ok(())
    }
}

fn month() -> u32 {
    30
}

fn week() -> u32 {
    7
}

/// With these a domain does not resolve, or soon will not.
fn holds() -> Vec<String> {
    ["clientHold", "serverHold", "redemptionPeriod", "pendingDelete"]
        .map(str::to_owned)
        .to_vec()
}

fn half_a_day() -> u32 {
    720
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Checker, harness, serde_json};

    #[test]
    fn the_schema_at_hand_is_that_of_the_config() {
        harness::assert_schema::<crate::DomainExpiry>("schema.json");
    }

    #[test]
    fn the_example_is_accepted_and_unknown_fields_are_not() {
        let config: Config = serde_json::from_str(crate::DomainExpiry::EXAMPLE).unwrap();
        assert!(config.validate().is_ok());
        let error = serde_json::from_str::<Config>(r#"{"domain":"m.de","prot":25}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `prot`"), "{error}");
    }

    #[test]
    fn the_limits_must_be_in_order() {
        let config: Config = serde_json::from_str(r#"{"domain":"m.de","warn_days":5}"#).unwrap();
        assert!(config.validate().is_err());
    }
}
