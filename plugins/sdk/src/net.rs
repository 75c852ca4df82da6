//! What all network calls share: errors, addresses, TLS options, the time a call may take, and how a config says so.

pub use crate::bindings::lapwing::plugin::{
    net_types::{Endpoint, IpFamily, NetError as Fault, Peer},
    types::{Certificate, TlsInfo},
};
use crate::{bindings::lapwing::plugin::net_types, sys::context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// A failed network call.
///
/// `?` in a check turns it into the right end of the run: see [`NetError::reason`].
#[derive(Debug, Clone)]
pub struct NetError {
    /// What the host says.
    pub fault: Fault,
    during: Option<String>,
}

impl NetError {
    /// The peer sent what its protocol does not allow.
    pub fn protocol(message: impl Into<String>) -> Self {
        Fault::Protocol(message.into()).into()
    }

    /// The same error, its message led by what was being tried: `SMTP greeting: no answer in time`.
    #[must_use]
    pub fn during(self, what: impl Into<String>) -> Self {
        Self {
            during: Some(what.into()),
            ..self
        }
    }

    /// The word for what the target did, as Lapwing's native checks would say it. `None` when the host refused the
    /// call or a quota of the run was used up: that is not the target's doing.
    pub fn reason(&self) -> Option<&'static str> {
        Some(match &self.fault {
            Fault::AccessDenied(_) | Fault::Limit(_) => return None,
            Fault::NameNotFound => "dns_not_found",
            Fault::ResolverFailed(_) => "dns_failed",
            Fault::Refused => "connection_refused",
            Fault::Unreachable => "network_unreachable",
            Fault::Reset => "connection_reset",
            Fault::Closed => "connection_closed",
            Fault::Tls(text) if text.starts_with("certificate") => "tls_certificate",
            Fault::Tls(_) => "tls_failed",
            Fault::Protocol(_) | Fault::Other(_) => "protocol_error",
            Fault::Timeout(text) => timed_out(text).0,
        })
    }
}

/// Reason and words for a timeout. The host puts the step that took too long first.
fn timed_out(text: &str) -> (&'static str, &'static str) {
    match text.split(':').next() {
        Some("dns") => ("dns_timeout", "name lookup timed out"),
        Some("connect") => ("connection_timeout", "connection timed out"),
        Some("tls") => ("tls_timeout", "TLS handshake timed out"),
        _ => ("response_timeout", "no answer in time"),
    }
}

impl From<Fault> for NetError {
    fn from(fault: Fault) -> Self {
        Self { fault, during: None }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(what) = &self.during {
            write!(f, "{what}: ")?;
        }
        match &self.fault {
            Fault::AccessDenied(rule) => write!(f, "access denied: {rule}"),
            Fault::Limit(which) => write!(f, "limit reached: {which}"),
            Fault::NameNotFound => f.write_str("name not found"),
            Fault::ResolverFailed(text) => write!(f, "name lookup failed: {text}"),
            Fault::Refused => f.write_str("connection refused"),
            Fault::Unreachable => f.write_str("network unreachable"),
            Fault::Reset => f.write_str("connection reset"),
            Fault::Closed => f.write_str("connection closed"),
            Fault::Protocol(text) => write!(f, "protocol error: {text}"),
            Fault::Timeout(text) => f.write_str(timed_out(text).1),
            // The host says enough.
            Fault::Tls(text) | Fault::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for NetError {}

// Variants without doc comments become one `enum` in the schema, and a validator's message then lists the words.

/// Which addresses of a name to use: `any`, `4` or `6`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    #[default]
    #[serde(rename = "any")]
    Any,
    #[serde(rename = "4")]
    V4,
    #[serde(rename = "6")]
    V6,
}

impl From<Family> for IpFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::Any => Self::Any,
            Family::V4 => Self::V4,
            Family::V6 => Self::V6,
        }
    }
}

/// Milliseconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Millis(#[schemars(range(min = 1))] u32);

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0.into())
    }
}

/// How to speak TLS. The host verifies, and reports chain and verification error in either case.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Name to ask for and to check; the host dialled when `None`.
    pub server_name: Option<String>,
    /// Whether a chain that does not verify ends the handshake.
    pub verify: bool,
    /// Application protocols to offer, most wanted first.
    pub alpn: Vec<String>,
    /// Name of a granted secret that holds a client certificate and its key in PEM.
    pub client_identity: Option<String>,
}

impl TlsOptions {
    /// As the config of a kind has it: another name than the host's, and whether any certificate will do.
    pub fn new(server_name: Option<&str>, ignore_errors: bool) -> Self {
        Self {
            server_name: server_name.map(str::to_owned),
            verify: !ignore_errors,
            ..Self::default()
        }
    }
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            server_name: None,
            verify: true,
            alpn: Vec::new(),
            client_identity: None,
        }
    }
}

impl From<TlsOptions> for net_types::TlsOptions {
    fn from(options: TlsOptions) -> Self {
        let TlsOptions {
            server_name,
            verify,
            alpn,
            client_identity,
        } = options;
        Self {
            server_name,
            verify,
            alpn,
            client_identity,
        }
    }
}

/// Time spent in each step, as the host measured it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Name look-up.
    pub dns: Option<Duration>,
    /// TCP connection.
    pub connect: Option<Duration>,
    /// TLS handshake.
    pub tls: Option<Duration>,
    /// Until the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// Everything until now.
    pub total: Duration,
}

impl From<net_types::Timing> for Timing {
    fn from(timing: net_types::Timing) -> Self {
        let span = |nanos: Option<u64>| nanos.map(Duration::from_nanos);
        Self {
            dns: span(timing.dns),
            connect: span(timing.connect),
            tls: span(timing.tls),
            first_byte: span(timing.first_byte),
            total: Duration::from_nanos(timing.total),
        }
    }
}

/// Kept back from the budget, so that a check whose call timed out can still tell of it in its own words.
const RESERVE: Duration = Duration::from_millis(50);

/// The time a call may take: `limit` if there is one, and in any case a little less than what is left of the run.
pub(crate) fn timeout(limit: Option<Duration>) -> u64 {
    within(Duration::from_nanos(context::remaining()), limit)
}

fn within(remaining: Duration, limit: Option<Duration>) -> u64 {
    let usable = remaining.saturating_sub(RESERVE.min(remaining / 10));
    let granted = limit.map_or(usable, |limit| limit.min(usable));
    u64::try_from(granted.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_the_host_is_not_the_targets_reason() {
        let reason = |fault: Fault| NetError::from(fault).reason();
        assert_eq!(reason(Fault::AccessDenied("rule".into())), None);
        assert_eq!(reason(Fault::Limit("sockets".into())), None);
        assert_eq!(reason(Fault::Refused), Some("connection_refused"));
    }

    #[test]
    fn a_reason_names_the_step_that_failed() {
        let timeout = |text: &str| NetError::from(Fault::Timeout(text.into())).reason();
        assert_eq!(timeout("dns: mail.example.com"), Some("dns_timeout"));
        assert_eq!(
            timeout("connect: mail.example.com:25"),
            Some("connection_timeout")
        );
        assert_eq!(timeout("tls: mail.example.com"), Some("tls_timeout"));
        assert_eq!(timeout("response: mail.example.com"), Some("response_timeout"));
        assert_eq!(timeout(""), Some("response_timeout"));
        let tls = |text: &str| NetError::from(Fault::Tls(text.into())).reason();
        assert_eq!(tls("certificate not accepted: expired"), Some("tls_certificate"));
        assert_eq!(tls("TLS failed: no shared cipher"), Some("tls_failed"));
    }

    #[test]
    fn a_message_is_led_by_what_was_being_tried() {
        let error = NetError::from(Fault::Timeout("response: reading".into())).during("SMTP greeting");
        assert_eq!(error.to_string(), "SMTP greeting: no answer in time");
        assert_eq!(
            NetError::protocol("garbage").to_string(),
            "protocol error: garbage"
        );
    }

    #[test]
    fn a_call_leaves_time_to_tell_of_its_timeout() {
        let second = Duration::from_secs(1);
        assert_eq!(within(second, None), 950_000_000);
        assert_eq!(within(second, Some(second * 9)), 950_000_000);
        assert_eq!(within(second, Some(Duration::from_millis(5))), 5_000_000);
        assert_eq!(within(Duration::from_millis(10), None), 9_000_000);
        assert_eq!(within(Duration::ZERO, None), 0);
    }

    #[test]
    fn a_family_is_written_as_people_do() {
        let read = |text: &str| serde_json::from_str::<Family>(text).map(IpFamily::from).ok();
        assert_eq!(read("\"any\""), Some(IpFamily::Any));
        assert_eq!(read("\"4\""), Some(IpFamily::V4));
        assert_eq!(read("\"6\""), Some(IpFamily::V6));
        assert_eq!(read("\"ipv4\""), None);
    }

    #[test]
    fn milliseconds_are_a_plain_number() {
        let millis: Millis = serde_json::from_str("1500").unwrap();
        assert_eq!(Duration::from(millis), Duration::from_millis(1500));
    }
}
