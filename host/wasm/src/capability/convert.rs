//! Between the worker's words and the interface's.

use crate::abi::v1::wit::{
    net_types::{IpFamily as GuestFamily, NetError as GuestError, Peer, TlsOptions as GuestTls},
    types,
};
use lapwing_checks::net::{Host, IpFamily, NetError, tls::TlsOptions};
use lapwing_model::{Certificate, TlsInfo};
use std::{net::SocketAddr, time::Duration};

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A time-out's text begins with the step that took too long: `dns`, `connect`, `tls` or `response`.
pub(crate) fn net_error(error: &NetError) -> GuestError {
    match error {
        NetError::Denied(rule) => GuestError::AccessDenied(rule.clone()),
        NetError::Limit(quota) => GuestError::Limit(quota.clone()),
        NetError::DnsNotFound(_) => GuestError::NameNotFound,
        NetError::DnsFailed(why) => GuestError::ResolverFailed(why.clone()),
        NetError::Refused(_) => GuestError::Refused,
        NetError::Unreachable(_) => GuestError::Unreachable,
        NetError::Reset(_) => GuestError::Reset,
        NetError::Closed(_) => GuestError::Closed,
        NetError::DnsTimeout(what) => GuestError::Timeout(format!("dns: {what}")),
        NetError::ConnectTimeout(what) => GuestError::Timeout(format!("connect: {what}")),
        NetError::TlsTimeout(what) => GuestError::Timeout(format!("tls: {what}")),
        NetError::ResponseTimeout(what) => GuestError::Timeout(format!("response: {what}")),
        NetError::Certificate { .. } | NetError::Tls(_) => GuestError::Tls(error.to_string()),
        NetError::Protocol(why) => GuestError::Protocol(why.clone()),
        error => GuestError::Other(error.to_string()),
    }
}

pub(crate) fn family(family: GuestFamily) -> IpFamily {
    match family {
        GuestFamily::Any => IpFamily::Any,
        GuestFamily::V4 => IpFamily::V4,
        GuestFamily::V6 => IpFamily::V6,
    }
}

pub(crate) fn peer(address: SocketAddr) -> Peer {
    Peer {
        address: address.ip().to_string(),
        port: address.port(),
    }
}

/// A host as places are compared: a name in lower case, or an address; empty for what is neither.
pub(crate) fn host(text: &str) -> String {
    Host::parse(text).map_or_else(|_| String::new(), |host| host.to_string())
}

/// `client_identity` is a secret's name; `identity` is that secret: one PEM with the chain and the key.
pub(crate) fn tls_options(options: GuestTls, identity: Option<&str>) -> TlsOptions {
    TlsOptions {
        server_name: options.server_name,
        verify: options.verify,
        alpn: options.alpn,
        client_identity: identity.map(|pem| (pem.to_owned(), pem.to_owned())),
        ..TlsOptions::default()
    }
}

pub(crate) fn tls_info(info: &TlsInfo) -> types::TlsInfo {
    types::TlsInfo {
        protocol: info.protocol.clone(),
        cipher: info.cipher.clone(),
        alpn: info.alpn.clone(),
        server_name: info.server_name.clone(),
        verified: info.verified,
        verify_error: info.verify_error.clone(),
        chain: info.chain.iter().map(certificate).collect(),
    }
}

fn certificate(certificate: &Certificate) -> types::Certificate {
    types::Certificate {
        subject: certificate.subject.clone(),
        issuer: certificate.issuer.clone(),
        serial: certificate.serial.clone(),
        sha256: certificate.sha256.clone(),
        not_before_unix: certificate.not_before.as_second(),
        not_after_unix: certificate.not_after.as_second(),
        dns_names: certificate.dns_names.clone(),
    }
}
