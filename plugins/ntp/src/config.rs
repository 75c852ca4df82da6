//! What a user may ask of a time server.

use lapwing_plugin_sdk::net::Millis;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// Configuration of the kind `ntp`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Time server: host name or IP address.
    #[schemars(length(min = 1, max = 253), extend("format" = "hostname", "x-lapwing-target" = "host"))]
    pub(crate) host: String,
    /// UDP port.
    #[schemars(range(min = 1), extend("x-lapwing-target" = "port"))]
    #[serde(default = "ntp_port")]
    pub(crate) port: u16,
    /// How many answers to take; the one with the least delay counts. A server may drop the requests of a client that
    /// asks often.
    #[schemars(range(min = 1, max = 8))]
    #[serde(default = "one")]
    pub(crate) samples: u8,
    /// Milliseconds from one answer to the next request. Public servers want 2000.
    #[schemars(range(max = 60000))]
    #[serde(default = "two_seconds")]
    pub(crate) sample_interval_ms: u32,
    /// Largest difference, in milliseconds, between the server's clock and the worker's; past it the server is degraded.
    /// It cannot be told which of the two is wrong.
    #[schemars(range(min = 0.0))]
    #[serde(default)]
    pub(crate) max_offset_ms: Option<f64>,
    /// Largest time, in milliseconds, that an answer may take; past it the server is degraded.
    #[schemars(range(min = 0.0))]
    #[serde(default)]
    pub(crate) max_delay_ms: Option<f64>,
    /// Largest stratum (distance from a primary clock); past it the server is degraded.
    #[schemars(range(min = 1, max = 15))]
    #[serde(default)]
    pub(crate) max_stratum: Option<u8>,
    /// Milliseconds to wait for each answer before asking again; a third of the time left when absent.
    #[serde(default)]
    pub(crate) step_timeout_ms: Option<Millis>,
}

impl Config {
    pub(crate) fn sample_interval(&self) -> Duration {
        Duration::from_millis(self.sample_interval_ms.into())
    }
}

fn ntp_port() -> u16 {
    123
}

fn one() -> u8 {
    1
}

fn two_seconds() -> u32 {
    2000
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Checker, harness, serde_json};

    #[test]
    fn the_schema_at_hand_is_that_of_the_config() {
        harness::assert_schema::<crate::Ntp>("schema.json");
    }

    #[test]
    fn the_example_is_accepted_and_unknown_fields_are_not() {
        let config: Config = serde_json::from_str(crate::Ntp::EXAMPLE).unwrap();
        assert_eq!((config.port, config.samples), (123, 1));
        let error = serde_json::from_str::<Config>(r#"{"host":"m","prot":25}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `prot`"), "{error}");
    }
}
