//! What a user may ask of a RADIUS server.

use lapwing_plugin_sdk::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Configuration of the kind `radius`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// RADIUS server: host name or IP address. It must know the worker's address as a client.
    #[schemars(length(min = 1, max = 253), extend("format" = "hostname", "x-lapwing-target" = "host"))]
    pub(crate) host: String,
    /// UDP port: 1812 for authentication, 1813 for accounting (`status` only).
    #[schemars(range(min = 1), extend("x-lapwing-target" = "port"))]
    #[serde(default = "radius_port")]
    pub(crate) port: u16,
    /// Secret that server and worker share.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) secret: String,
    /// What to ask: `status`, whether the server is alive (Status-Server, RFC 5997); `pap` and `chap`, whether
    /// `username` with `password` may in (Access-Request, RFC 2865).
    #[serde(default)]
    pub(crate) request: Request,
    /// User to ask about, with `pap` and `chap`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default)]
    pub(crate) username: Option<String>,
    /// Password of that user.
    #[schemars(length(max = 128))]
    #[serde(default)]
    pub(crate) password: Option<String>,
    /// Answer expected to `pap` and `chap`: `accept`, `reject`, `challenge`, or `any` of them.
    #[serde(default)]
    pub(crate) expect: Expect,
    /// NAS-Identifier to introduce ourselves with.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default = "lapwing")]
    pub(crate) nas_identifier: String,
    /// Whether an answer to `pap` and `chap` must carry a Message-Authenticator. Without one it can be forged
    /// (CVE-2024-3596, "BlastRADIUS").
    #[serde(default = "yes")]
    pub(crate) require_message_authenticator: bool,
    /// Milliseconds to wait for an answer before asking again; the wait doubles each time, to at most 16 s.
    #[schemars(range(min = 50, max = 16000))]
    #[serde(default = "one_second")]
    pub(crate) retry_ms: u32,
}

// Variants without doc comments become one `enum` in the schema, and a validator's message then lists the words.

/// What to ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    #[default]
    Status,
    Pap,
    Chap,
}

/// What to be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expect {
    #[default]
    Accept,
    Reject,
    Challenge,
    Any,
}

/// Who wants in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
}

impl Config {
    /// Whom to ask about; nobody with `status`.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials<'_>>, Failure> {
        match (self.request, &self.username, &self.password) {
            (Request::Status, None, None) => Ok(None),
            (Request::Status, ..) => Err(Failure::invalid_config(
                "`username` and `password` are for `request` = `pap` or `chap`",
            )),
            (_, Some(username), Some(password)) => Ok(Some(Credentials { username, password })),
            _ => Err(Failure::invalid_config(
                "`request` = `pap` and `chap` need `username` and `password`",
            )),
        }
    }

    pub(crate) fn retry(&self) -> Duration {
        Duration::from_millis(self.retry_ms.into())
    }
}

fn radius_port() -> u16 {
    1812
}

fn lapwing() -> String {
    "lapwing".to_owned()
}

fn yes() -> bool {
    true
}

fn one_second() -> u32 {
    1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Checker, harness, serde_json};

    #[test]
    fn the_schema_at_hand_is_that_of_the_config() {
        harness::assert_schema::<crate::Radius>("schema.json");
    }

    #[test]
    fn the_example_is_accepted_and_unknown_fields_are_not() {
        let config: Config = serde_json::from_str(crate::Radius::EXAMPLE).unwrap();
        assert_eq!((config.port, config.request), (1812, Request::Pap));
        let error = serde_json::from_str::<Config>(r#"{"host":"m","secret":"s","prot":25}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `prot`"), "{error}");
    }

    #[test]
    fn credentials_go_with_the_requests_that_need_them() {
        let fits = |more: &str| {
            let text = format!(r#"{{"host":"m","secret":"s"{more}}}"#);
            let config: Config = serde_json::from_str(&text).unwrap();
            config.credentials().is_ok()
        };
        assert!(fits(""));
        assert!(fits(r#","request":"chap","username":"u","password":"""#));
        assert!(!fits(r#","username":"u","password":"p""#));
        assert!(!fits(r#","request":"pap","username":"u""#));
        assert!(!fits(r#","request":"pap","password":"p""#));
    }
}
