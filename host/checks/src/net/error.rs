//! What can go wrong between us and a target, in the words of `Reason`.

use lapwing_model::{Reason, TlsInfo};

/// A failed step on the network. All but `Denied` and `Limit` speak of the target.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NetError {
    /// The policy forbids it; names the rule. No packet left.
    #[error("{0}")]
    Denied(String),
    /// The name does not exist or has no address of the family.
    #[error("name not found: {0}")]
    DnsNotFound(String),
    /// No resolver answered in time.
    #[error("name lookup timed out: {0}")]
    DnsTimeout(String),
    /// The resolver failed.
    #[error("name lookup failed: {0}")]
    DnsFailed(String),
    /// Connection refused.
    #[error("connection refused: {0}")]
    Refused(String),
    /// No route.
    #[error("network unreachable: {0}")]
    Unreachable(String),
    /// Connection reset.
    #[error("connection reset: {0}")]
    Reset(String),
    /// Closed before an answer.
    #[error("connection closed: {0}")]
    Closed(String),
    /// The connection attempt ran out of time.
    #[error("connection timed out: {0}")]
    ConnectTimeout(String),
    /// The TLS handshake ran out of time.
    #[error("TLS handshake timed out: {0}")]
    TlsTimeout(String),
    /// The certificate chain was not accepted; what the peer presented is kept.
    #[error("certificate not accepted: {message}")]
    Certificate {
        /// Why.
        message: String,
        /// The session as far as it got: chain and verification error.
        info: Option<Box<TlsInfo>>,
    },
    /// The TLS handshake failed otherwise.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The answer ran out of time.
    #[error("response timed out: {0}")]
    ResponseTimeout(String),
    /// The proxy failed.
    #[error("proxy failed: {0}")]
    Proxy(String),
    /// The peer broke the protocol.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// Anything else the operating system said.
    #[error("{0}")]
    Other(String),
}

impl NetError {
    /// The closed word for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Denied(_) => Reason::DeniedByPolicy,
            Self::DnsNotFound(_) => Reason::DnsNotFound,
            Self::DnsTimeout(_) => Reason::DnsTimeout,
            Self::DnsFailed(_) => Reason::DnsFailed,
            Self::Refused(_) => Reason::ConnectionRefused,
            Self::Unreachable(_) => Reason::NetworkUnreachable,
            Self::Reset(_) => Reason::ConnectionReset,
            Self::Closed(_) => Reason::ConnectionClosed,
            Self::ConnectTimeout(_) => Reason::ConnectionTimeout,
            Self::TlsTimeout(_) => Reason::TlsTimeout,
            Self::Certificate { .. } => Reason::TlsCertificate,
            Self::Tls(_) => Reason::TlsFailed,
            Self::ResponseTimeout(_) => Reason::ResponseTimeout,
            Self::Proxy(_) => Reason::ProxyFailed,
            Self::Protocol(_) | Self::Other(_) => Reason::ProtocolError,
        }
    }
}
