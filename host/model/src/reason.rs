//! Why a status is what it is: machine words, so that alerts and dashboards never parse prose.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::{borrow::Cow, fmt};

macro_rules! reasons {
    ($( $(#[$doc:meta])* $variant:ident => $word:literal, )*) => {
        /// A closed set of words (`snake_case`), plus what a plugin says of its own target.
        ///
        /// A status of up has no reason. Words up to `NoPush` speak of the target (status down or degraded);
        /// the rest speak of Lapwing or of its configuration (status unknown), never of the target.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Reason {
            $( $(#[$doc])* $variant, )*
            /// A plugin's own word for what it saw, as `[a-z0-9_]{1,64}`; made by [`Reason::reported`].
            Reported(Box<str>),
        }

        impl Reason {
            /// Every reason Lapwing itself gives.
            pub const ALL: &'static [Reason] = &[ $( Reason::$variant, )* ];

            /// The word, as it appears in JSON, logs and metrics.
            pub fn as_str(&self) -> &str {
                match self {
                    $( Reason::$variant => $word, )*
                    Reason::Reported(word) => word,
                }
            }
        }
    };
}

reasons! {
    /// No resolver answered in time.
    DnsTimeout => "dns_timeout",
    /// The name does not exist, or has no address of the wanted family.
    DnsNotFound => "dns_not_found",
    /// The resolver answered with a failure (SERVFAIL, REFUSED, garbage).
    DnsFailed => "dns_failed",
    /// The target refused the connection.
    ConnectionRefused => "connection_refused",
    /// The target reset the connection.
    ConnectionReset => "connection_reset",
    /// No answer to the connection attempt in time.
    ConnectionTimeout => "connection_timeout",
    /// The target closed the connection before it had answered.
    ConnectionClosed => "connection_closed",
    /// No route to the target.
    NetworkUnreachable => "network_unreachable",
    /// The certificate chain was not accepted.
    TlsCertificate => "tls_certificate",
    /// The TLS handshake failed for another reason than the certificate.
    TlsFailed => "tls_failed",
    /// The TLS handshake did not end in time.
    TlsTimeout => "tls_timeout",
    /// The certificate ends within the configured number of days (status degraded).
    CertificateExpiring => "certificate_expiring",
    /// The proxy refused, failed or could not be reached.
    ProxyFailed => "proxy_failed",
    /// Connected, but the answer did not come in time.
    ResponseTimeout => "response_timeout",
    /// The answer breaks its protocol.
    ProtocolError => "protocol_error",
    /// The HTTP status is not among the accepted ones.
    HttpStatus => "http_status",
    /// More redirects than allowed.
    TooManyRedirects => "too_many_redirects",
    /// A redirect without a usable location.
    RedirectInvalid => "redirect_invalid",
    /// The protocol version is not the one asked for.
    VersionMismatch => "version_mismatch",
    /// The body is larger than the configured cap.
    BodyTooLarge => "body_too_large",
    /// The body's content encoding is broken.
    BodyInvalid => "body_invalid",
    /// An assertion on the answer does not hold.
    AssertionFailed => "assertion_failed",
    /// Credentials were not accepted, or no token could be had.
    AuthFailed => "auth_failed",
    /// No push arrived in time.
    NoPush => "no_push",
    /// The monitor is under maintenance; nothing was probed.
    Maintenance => "maintenance",
    /// The target says it is still starting.
    Starting => "starting",
    /// The configuration is unfit; the message says where.
    InvalidConfig => "invalid_config",
    /// No executor for this kind.
    UnknownKind => "unknown_kind",
    /// The network policy forbids the target.
    DeniedByPolicy => "denied_by_policy",
    /// A quota of the run was used up.
    LimitHit => "limit_hit",
    /// The worker lacks an operating-system right.
    PermissionDenied => "permission_denied",
    /// The check, not the target, used up its time.
    PluginTimeout => "plugin_timeout",
    /// A plugin trapped.
    PluginTrap => "plugin_trap",
    /// A plugin went past a limit.
    PluginLimit => "plugin_limit",
    /// A plugin said that it could not run.
    PluginError => "plugin_error",
    /// A plugin is quarantined after repeated faults.
    PluginQuarantined => "plugin_quarantined",
    /// A fault in Lapwing itself.
    Internal => "internal",
}

impl Reason {
    /// A plugin's own word, made fit: lower case, everything but letters and digits becomes `_`, at most 64 characters.
    /// `None` when nothing is left.
    pub fn reported(word: &str) -> Option<Self> {
        let word: String = word
            .chars()
            .take(64)
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '_'
                }
            })
            .collect();
        let word = word.trim_matches('_');
        if word.is_empty() {
            return None;
        }
        let known = Self::ALL.iter().find(|reason| reason.as_str() == word);
        Some(known.cloned().unwrap_or_else(|| Self::Reported(word.into())))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Any word: [`Reason::ALL`] is what Lapwing says, plugins add their own.
impl JsonSchema for Reason {
    fn schema_name() -> Cow<'static, str> {
        "Reason".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = Self::ALL.iter().map(Self::as_str).collect();
        json_schema!({
            "description": "Why a status is what it is: one of `examples`, or a plugin's own word.",
            "type": "string",
            "pattern": "^[a-z0-9_]{1,64}$",
            "examples": words,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_are_unique_snake_case() {
        let words: HashSet<_> = Reason::ALL.iter().map(Reason::as_str).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert!(
            words
                .iter()
                .all(|w| w.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        );
    }

    #[test]
    fn a_plugins_word_is_made_fit() {
        assert_eq!(
            Reason::reported("Banner-Timeout").unwrap().as_str(),
            "banner_timeout"
        );
        assert_eq!(
            Reason::reported("\u{1b}[31m"),
            Some(Reason::Reported("31m".into()))
        );
        assert_eq!(Reason::reported("--"), None);
        assert_eq!(
            Reason::reported("x".repeat(200).as_str()).unwrap().as_str().len(),
            64
        );
        assert_eq!(Reason::reported("http-status"), Some(Reason::HttpStatus));
    }
}
