//! What can go wrong between us and a target, in the words of [`Reason`].
//!
//! The line drawn here is the product's promise: [`NetError::blames_target`] tells what the target did from what our
//! side did (a rule of the policy, an unfit request, our own machine), and only the former may become `down`.

use crate::CheckError;
use lapwing_model::{Observation, Reason, TlsInfo};
use std::{error::Error, io};

/// A failed step on the network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NetError {
    /// The policy forbids it; names the rule. No packet left.
    #[error("{0}")]
    Denied(String),
    /// The request itself is unfit: a host that is no name and no address, a broken PEM, an impossible header.
    #[error("{0}")]
    InvalidInput(String),
    /// Our own machine failed (no free descriptors, no local port, a firewall rule of ours).
    #[error("local failure: {0}")]
    Local(String),
    /// A quota of the run is used up; names it.
    #[error("{0}")]
    Limit(String),
    /// The operating system does not let this worker do it.
    #[error("not permitted: {0}")]
    NotPermitted(String),
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
    /// More redirects than allowed.
    #[error("too many redirects: {0}")]
    TooManyRedirects(String),
    /// A redirect that leads nowhere we may go.
    #[error("invalid redirect: {0}")]
    RedirectInvalid(String),
    /// The peer speaks another version of the protocol than asked for.
    #[error("version mismatch: {0}")]
    VersionMismatch(String),
    /// The body's content encoding is broken.
    #[error("invalid body: {0}")]
    BodyInvalid(String),
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
            Self::InvalidInput(_) => Reason::InvalidConfig,
            Self::Local(_) => Reason::Internal,
            Self::Limit(_) => Reason::LimitHit,
            Self::NotPermitted(_) => Reason::PermissionDenied,
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
            Self::TooManyRedirects(_) => Reason::TooManyRedirects,
            Self::RedirectInvalid(_) => Reason::RedirectInvalid,
            Self::VersionMismatch(_) => Reason::VersionMismatch,
            Self::BodyInvalid(_) => Reason::BodyInvalid,
            Self::Protocol(_) | Self::Other(_) => Reason::ProtocolError,
        }
    }

    /// Whether the failure says something of the target (or of the way to it). If not, it must never become `down`.
    pub fn blames_target(&self) -> bool {
        !matches!(
            self,
            Self::Denied(_) | Self::InvalidInput(_) | Self::Local(_) | Self::Limit(_) | Self::NotPermitted(_)
        )
    }

    /// The verdict for a target that failed so: `down` with `message`, or why nothing can be said of it.
    pub fn into_verdict(self, message: impl FnOnce(&Self) -> String) -> Result<Observation, CheckError> {
        match self {
            Self::Denied(text) => Err(CheckError::Denied(text)),
            Self::InvalidInput(text) => Err(CheckError::InvalidConfig(text)),
            Self::Local(_) | Self::Limit(_) => Err(CheckError::Internal(self.to_string())),
            Self::NotPermitted(_) => Err(CheckError::PermissionDenied(self.to_string())),
            _ => Ok(Observation::down(self.reason(), message(&self))),
        }
    }

    /// Sorts what the operating system or the TLS library said of an exchange with `what`.
    pub fn from_io(error: &io::Error, what: &str) -> Self {
        use io::ErrorKind as Kind;
        if let Some(tls) = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return Self::from_tls(tls, what);
        }
        if let Some(own) = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
            return own.clone();
        }
        let text = || what.to_owned();
        match error.kind() {
            Kind::ConnectionRefused => Self::Refused(text()),
            Kind::ConnectionReset | Kind::BrokenPipe => Self::Reset(text()),
            Kind::UnexpectedEof | Kind::ConnectionAborted | Kind::NotConnected => Self::Closed(text()),
            Kind::NetworkUnreachable | Kind::HostUnreachable | Kind::NetworkDown => {
                Self::Unreachable(format!("{what} ({error})"))
            }
            Kind::TimedOut => Self::ConnectTimeout(text()),
            Kind::InvalidData => Self::Protocol(format!("{what}: {error}")),
            Kind::AddrNotAvailable | Kind::AddrInUse | Kind::PermissionDenied | Kind::OutOfMemory => {
                Self::Local(format!("{what}: {error}"))
            }
            // EMFILE and ENFILE have no kind of their own: what has neither kind nor cause came from the local kernel.
            // EMSGSIZE: 90, BSD's 40. No datagram has room for what is to be sent.
            _ if matches!(error.raw_os_error(), Some(40 | 90)) => {
                Self::InvalidInput(format!("{what}: {error}"))
            }
            _ if error.raw_os_error().is_some_and(is_local) => Self::Local(format!("{what}: {error}")),
            _ => Self::Other(format!("{what}: {error}")),
        }
    }

    /// Sorts why the socket `what` of this machine cannot be opened: nobody behind it is the target's doing, no right to
    /// it is ours.
    pub fn from_socket(error: &io::Error, what: &str) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Refused(format!("{what} (no such socket)")),
            io::ErrorKind::PermissionDenied => Self::NotPermitted(format!("{what}: {error}")),
            io::ErrorKind::InvalidInput => Self::InvalidInput(format!("{what}: {error}")),
            _ => Self::from_io(error, what),
        }
    }

    /// Sorts what the TLS library said; certificates are sorted where they are verified.
    fn from_tls(error: &rustls::Error, what: &str) -> Self {
        match error {
            rustls::Error::InvalidCertificate(_) => Self::Certificate {
                message: error.to_string(),
                info: None,
            },
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
                Self::Tls(format!("{what} does not speak TLS"))
            }
            // What was offered to it are versions of a protocol (RFC 7301, 3.2).
            rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol) => {
                Self::VersionMismatch(format!("{what} speaks none of the protocols it was offered"))
            }
            rustls::Error::AlertReceived(alert) => Self::Tls(format!("{what} sent the alert {alert:?}")),
            _ => Self::Tls(format!("{what}: {error}")),
        }
    }

    /// Sorts what the HTTP library said of an exchange with `what`.
    pub fn from_hyper(error: &hyper::Error, what: &str) -> Self {
        let causes = std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source());
        let io = causes.clone().find_map(|error| error.downcast_ref::<io::Error>());
        // HTTP/2 keeps its own beside the chain, and has a broken pipe for every end that comes too early.
        let http2 = causes.clone().find_map(|error| error.downcast_ref::<h2::Error>());
        let http2 = http2.and_then(h2::Error::get_io);
        let is_cut = http2.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe);
        match io.or(http2).filter(|_| !is_cut).map(|io| Self::from_io(io, what)) {
            Some(Self::ConnectTimeout(text)) => Self::ResponseTimeout(text),
            Some(error) => error,
            None if is_cut || error.is_incomplete_message() || error.is_canceled() || error.is_closed() => {
                Self::Closed(format!("{what}, before the answer was complete"))
            }
            // Said of either, and "head" of both.
            None if error.is_parse_too_large() => Self::Protocol(format!(
                "{what}: its head, or the length that it gives its body, is too large"
            )),
            None if error.is_user() => Self::InvalidInput(format!("request cannot be sent: {error}")),
            None => {
                let texts: Vec<String> = causes.map(told).collect();
                Self::Protocol(format!("{what}: {}", texts.join(": ")))
            }
        }
    }
}

/// What the HTTP library says; but not what the peer said when it hung up (GOAWAY's debug data): that may repeat a secret,
/// and the library escapes it, so that no mask finds it.
fn told(error: &(dyn Error + 'static)) -> String {
    let farewell = error
        .downcast_ref::<h2::Error>()
        .filter(|error| error.is_go_away() && error.is_remote());
    match farewell.and_then(h2::Error::reason) {
        Some(reason) => format!("hung up: {}", reason.description()),
        None => error.to_string(),
    }
}

/// `ENFILE` 23, `EMFILE` 24, `ENOBUFS` 105 or 55, `EAFNOSUPPORT` 97 (no IPv6 here), the same numbers on every Linux and BSD of interest.
fn is_local(code: i32) -> bool {
    matches!(code, 23 | 24 | 55 | 97 | 105)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_trouble_never_becomes_down() {
        let emfile = NetError::from_io(&io::Error::from_raw_os_error(24), "10.0.0.1:80");
        assert_eq!(emfile.reason(), Reason::Internal);
        let too_long = NetError::from_io(&io::Error::from_raw_os_error(90), "10.0.0.1:80");
        assert_eq!(too_long.reason(), Reason::InvalidConfig);
        for error in [
            emfile,
            too_long,
            NetError::Denied("rule".into()),
            NetError::InvalidInput("host".into()),
        ] {
            assert!(!error.blames_target());
            assert!(error.into_verdict(|_| String::new()).is_err());
        }
    }

    #[test]
    fn what_the_target_did_is_down_with_its_own_word() {
        for (kind, reason) in [
            (io::ErrorKind::ConnectionRefused, Reason::ConnectionRefused),
            (io::ErrorKind::ConnectionReset, Reason::ConnectionReset),
            (io::ErrorKind::UnexpectedEof, Reason::ConnectionClosed),
            (io::ErrorKind::HostUnreachable, Reason::NetworkUnreachable),
        ] {
            let seen = NetError::from_io(&kind.into(), "t")
                .into_verdict(ToString::to_string)
                .unwrap();
            assert_eq!(seen.reason, Some(reason));
        }
    }
}
