//! The network's failures in the words of `wasi:http`.

use lapwing_checks::net::NetError;
use wasmtime_wasi_http::Error;

/// What the guest is told.
pub(super) fn of(error: &NetError) -> Error {
    let resolver = |rcode: &str| Error::DnsError {
        rcode: Some(rcode.to_owned()),
        info_code: None,
    };
    match error {
        NetError::Limit(_) => Error::HttpResponseBodySize(None),
        NetError::Denied(_) => Error::DestinationIpProhibited,
        NetError::InvalidInput(_) => Error::HttpRequestUriInvalid,
        NetError::DnsNotFound(_) => resolver("NXDOMAIN"),
        NetError::DnsFailed(_) => resolver("SERVFAIL"),
        NetError::DnsTimeout(_) => Error::DnsTimeout,
        NetError::Refused(_) => Error::ConnectionRefused,
        NetError::Unreachable(_) => Error::DestinationIpUnroutable,
        NetError::Reset(_) | NetError::Closed(_) => Error::ConnectionTerminated,
        NetError::ConnectTimeout(_) | NetError::TlsTimeout(_) => Error::ConnectionTimeout,
        NetError::Certificate { .. } => Error::TlsCertificateError,
        NetError::Tls(_) => Error::TlsProtocolError,
        NetError::ResponseTimeout(_) => Error::HttpResponseTimeout,
        NetError::Local(_) | NetError::NotPermitted(_) | NetError::Other(_) => {
            Error::InternalError(Some(error.to_string()))
        }
        _ => Error::HttpProtocolError,
    }
}
