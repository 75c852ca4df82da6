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

/// [`Trust`] of a configuration whose fields have the names they mostly have.
macro_rules! trust {
    ($config:expr, $ignore_errors:expr) => {
        $crate::native::trust::Trust {
            ignore_errors: $ignore_errors,
            ca: &$config.tls_ca,
            cert: &$config.tls_cert,
            key: &$config.tls_key,
            server_name: &$config.server_name,
            min_version: $crate::native::http::TlsVersion::default(),
        }
    };
}
pub(super) use trust;

/// Only one of a client certificate and its key is there. Each kind has words of its own for it.
#[derive(Debug, thiserror::Error)]
#[error("a client certificate needs its key, and a key its certificate")]
pub(super) struct Half {
    has_key: bool,
}

impl Half {
    /// Blames the field that is missing.
    pub(super) fn of_missing(self) -> CheckError {
        if self.has_key {
            return invalid("tls_cert", "`tls_key` needs it");
        }
        invalid("tls_key", "`tls_cert` needs it")
    }

    /// Blames both fields.
    #[cfg(any(feature = "kafka", feature = "mqtt", feature = "mysql", feature = "postgres"))]
    pub(super) fn of_both(self) -> CheckError {
        CheckError::InvalidConfig(format!("`tls_cert`, `tls_key`: {self}"))
    }
}

impl Trust<'_> {
    /// The options of a handshake.
    pub(super) fn options(self) -> Result<TlsOptions, Half> {
        let client_identity = match (text(self.cert), text(self.key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (_, key) => {
                return Err(Half {
                    has_key: key.is_some(),
                });
            }
        };
        Ok(TlsOptions {
            client_identity,
            ..self.anonymous()
        })
    }

    /// As [`Trust::options`], where a client shows no certificate.
    pub(super) fn anonymous(self) -> TlsOptions {
        TlsOptions {
            server_name: text(self.server_name),
            verify: !self.ignore_errors,
            ca_pem: text(self.ca),
            min_version_13: self.min_version == TlsVersion::V13,
            ..TlsOptions::default()
        }
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.trim().is_empty())
}
