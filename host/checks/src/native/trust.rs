//! TLS settings as kinds other than `http` have them: each names the fields itself, what they mean together is here.

use super::http::config::{TlsVersion, invalid};
use crate::{CheckError, net::tls::TlsOptions};

/// What the fields of a configuration say; empty texts are unset.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Trust<'a> {
    pub(super) ignore_errors: bool,
    pub(super) ca: &'a str,
    pub(super) cert: &'a str,
    pub(super) key: &'a str,
    pub(super) server_name: &'a str,
    pub(super) min_version: TlsVersion,
}

impl Trust<'_> {
    /// The options of a handshake. A certificate without its key, or the other way round, is an error.
    pub(super) fn options(self) -> Result<TlsOptions, CheckError> {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.trim().is_empty());
        let client_identity = match (text(self.cert), text(self.key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (None, Some(_)) => return Err(invalid("tls_cert", "`tls_key` needs it")),
            (Some(_), None) => return Err(invalid("tls_key", "`tls_cert` needs it")),
        };
        Ok(TlsOptions {
            server_name: text(self.server_name),
            verify: !self.ignore_errors,
            ca_pem: text(self.ca),
            client_identity,
            min_version_13: self.min_version == TlsVersion::V13,
            ..TlsOptions::default()
        })
    }
}
