//! What a user configured.

use serde::{Deserialize, Deserializer, Serialize};
use std::{fmt, time::Duration};

/// One thing to watch, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// Stable and opaque.
    pub id: String,
    /// For people.
    pub name: String,
    /// Which executor runs it: `http`, `tcp`, a plugin's kind, …
    pub kind: String,
    /// Time between two due runs.
    pub interval: Duration,
    /// Time one run may take. Zero means unset: [`crate::Task::budget`] then decides.
    pub timeout: Duration,
    /// How many failures in a row are pending before the monitor counts as down (the ingester's business).
    pub max_retries: u32,
    /// Carried for the ingester.
    pub retry_interval: Duration,
    /// Consecutive downs between two reminders (the ingester's business).
    pub resend_interval: u32,
    /// The executor's configuration, as JSON text: echoed verbatim where a wire asks for it.
    pub config: String,
}

/// A proxy for the kinds that can use one.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Proxy {
    /// The proxy's own id.
    pub id: String,
    /// `http`, `https`, `socks`, `socks4`, `socks4a`, `socks5`, `socks5h`; empty means `http`.
    pub protocol: String,
    /// Host name or address.
    pub host: String,
    /// TCP port; 0 when the task names none that exists.
    #[serde(deserialize_with = "port")]
    pub port: u16,
    /// Whether to send the credentials.
    pub auth: bool,
    /// User name, used only with `auth`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Password, used only with `auth`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
}

impl Proxy {
    /// User name and password, if they are to be sent: `auth` is set and both are there.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        (self.auth && !self.username.is_empty() && !self.password.is_empty())
            .then_some((self.username.as_str(), self.password.as_str()))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Proxy({}://{}:{}, auth: {})",
            self.protocol, self.host, self.port, self.auth
        )
    }
}

/// A number that is no port becomes 0, so that the check can refuse it: the task itself is fine.
fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    i64::deserialize(deserializer).map(|port| u16::try_from(port).unwrap_or(0))
}
