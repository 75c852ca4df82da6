//! The network's failures in the words of `wasi:http`.

use super::super::counted::Exhausted;
use lapwing_checks::net::NetError;
use std::{error::Error as _, io, iter};
use wasmtime_wasi_http::Error;

/// What the guest is told.
pub(super) fn of(error: &NetError) -> Error {
    let resolver = |rcode: &str| Error::DnsError {
        rcode: Some(rcode.to_owned()),
        info_code: None,
    };
    match error {
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

/// What the guest is told of a failed exchange: whether its quota was used up is not the network's to say.
pub(super) fn of_exchange(error: &hyper::Error, target: &str) -> (Error, Option<NetError>) {
    let causes = iter::successors(error.source(), |&error| error.source());
    let mut io = causes.filter_map(|error| error.downcast_ref::<io::Error>());
    let is_quota = |error: &io::Error| matches!(error.get_ref(), Some(inner) if inner.is::<Exhausted>());
    if io.any(is_quota) {
        return (Error::HttpResponseBodySize(None), None);
    }
    let error = NetError::from_hyper(error, target);
    (of(&error), Some(error))
}
