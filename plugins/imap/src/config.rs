//! What a user may ask of a mailbox server.

use lapwing_plugin_sdk::{
    Failure,
    net::{Family, Millis},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of the kind `imap`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// IMAP server: host name or IP address.
    #[schemars(length(min = 1, max = 253), extend("format" = "hostname", "x-lapwing-target" = "host"))]
    pub(crate) host: String,
    /// TCP port: 993 with `tls` = `implicit`, 143 otherwise.
    #[schemars(range(min = 1), extend("x-lapwing-target" = "port"))]
    #[serde(default = "imaps_port")]
    pub(crate) port: u16,
    /// Address family to use.
    #[serde(default)]
    pub(crate) ip_family: Family,
    /// Encryption: `implicit`, TLS from the first byte (IMAPS, port 993); `starttls`, which must be announced; `off`.
    #[serde(default)]
    pub(crate) tls: Tls,
    /// Accept any certificate; the result still says what is wrong with it.
    #[serde(default)]
    pub(crate) ignore_tls_errors: bool,
    /// Name the certificate must be for, when it is not `host`.
    #[serde(default)]
    pub(crate) server_name: Option<String>,
    /// Capabilities the server must announce (after STARTTLS, where it is used), such as `IDLE` or `AUTH=PLAIN`. Case
    /// does not count.
    #[schemars(inner(length(min = 1)))]
    #[serde(default)]
    pub(crate) capabilities: Vec<String>,
    /// User to log in as; without one the check ends before the login.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default)]
    pub(crate) username: Option<String>,
    /// The user's password.
    #[schemars(length(max = 1024))]
    #[serde(default)]
    pub(crate) password: Option<String>,
    /// How to log in: `plain` (AUTHENTICATE PLAIN), `login` (LOGIN), or `auto`, the first of both that is announced.
    #[serde(default)]
    pub(crate) auth: Auth,
    /// Log in even where everyone on the way can read the password (`tls` = `off`).
    #[serde(default)]
    pub(crate) allow_plaintext_login: bool,
    /// Mailbox whose messages are counted after the login, such as `INBOX`. It is not opened and nothing in it changes.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default)]
    pub(crate) mailbox: Option<String>,
    /// Most messages in the mailbox that are fine; with more it is degraded.
    #[serde(default)]
    pub(crate) max_messages: Option<u32>,
    /// Most unseen messages in the mailbox that are fine; with more it is degraded.
    #[serde(default)]
    pub(crate) max_unseen: Option<u32>,
    /// Milliseconds to wait for each single answer; only the monitor's timeout counts when absent.
    #[serde(default)]
    pub(crate) step_timeout_ms: Option<Millis>,
}

// Variants without doc comments become one `enum` in the schema, and a validator's message then lists the words.

/// Whether and how to encrypt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tls {
    Off,
    Starttls,
    #[default]
    Implicit,
}

/// How to log in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Auth {
    #[default]
    Auto,
    Plain,
    Login,
}

/// Whom to log in as.
#[derive(Clone, Copy)]
pub(crate) struct Credentials<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
}

impl Config {
    /// What the schema cannot say.
    pub(crate) fn judge(&self) -> Result<(), Failure> {
        let counts = self.max_messages.is_some() || self.max_unseen.is_some();
        let fault = if self.username.is_some() != self.password.is_some() {
            "`username` and `password` need each other"
        } else if self.mailbox.is_some() && self.username.is_none() {
            "`mailbox` needs `username` and `password`"
        } else if counts && self.mailbox.is_none() {
            "`max_messages` and `max_unseen` need `mailbox`"
        } else if self.username.is_some() && self.tls == Tls::Off && !self.allow_plaintext_login {
            "a login without TLS shows the password to everyone on the way: set `tls`, or `allow_plaintext_login`"
        } else if [&self.username, &self.password, &self.mailbox]
            .into_iter()
            .flatten()
            .any(|text| text.contains('\0'))
        {
            "`username`, `password` and `mailbox` cannot contain NUL"
        } else {
            return Ok(());
        };
        Err(Failure::invalid_config(fault))
    }

    pub(crate) fn credentials(&self) -> Option<Credentials<'_>> {
        let (username, password) = (self.username.as_deref()?, self.password.as_deref()?);
        Some(Credentials { username, password })
    }
}

fn imaps_port() -> u16 {
    993
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Checker, harness, serde_json};

    fn config(rest: &str) -> Config {
        serde_json::from_str(&format!(r#"{{"host":"m"{rest}}}"#)).unwrap()
    }

    #[test]
    fn the_schema_at_hand_is_that_of_the_config() {
        harness::assert_schema::<crate::Imap>("schema.json");
    }

    #[test]
    fn the_example_is_accepted_and_unknown_fields_are_not() {
        let config: Config = serde_json::from_str(crate::Imap::EXAMPLE).unwrap();
        assert_eq!((config.port, config.tls), (993, Tls::Implicit));
        assert!(config.judge().is_ok());
        let error = serde_json::from_str::<Config>(r#"{"host":"m","prot":25}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `prot`"), "{error}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for rest in [
            r#","username":"u""#,
            r#","password":"p""#,
            r#","mailbox":"INBOX""#,
            r#","username":"u","password":"p","max_unseen":1"#,
            r#","username":"u","password":"p","tls":"off""#,
            r#","username":"u","password":"p\u0000""#,
        ] {
            assert!(config(rest).judge().is_err(), "{rest}");
        }
        for rest in [
            "",
            r#","tls":"off""#,
            r#","username":"u","password":"p""#,
            r#","username":"u","password":"","tls":"off","allow_plaintext_login":true"#,
        ] {
            assert!(config(rest).judge().is_ok(), "{rest}");
        }
    }
}
