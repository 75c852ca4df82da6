//! TLS settings as kinds have them: each names the fields itself, what they mean together is here.

use super::http::config::TlsVersion;
use crate::{
    Findings,
    findings::invalid,
    net::{
        Host,
        tls::{self, TlsOptions},
    },
    schema::Fault,
};

/// What the fields of a configuration say; empty texts are unset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trust<'a> {
    pub(super) ignore_errors: bool,
    pub(super) ca: &'a str,
    pub(super) cert: &'a str,
    pub(super) key: &'a str,
    pub(super) server_name: &'a str,
    pub(super) min_version: TlsVersion,
    /// What the configuration calls `ca`, `cert` and `key`.
    pub(super) names: [&'static str; 3],
}

impl Default for Trust<'_> {
    fn default() -> Self {
        Self {
            ignore_errors: false,
            ca: "",
            cert: "",
            key: "",
            server_name: "",
            min_version: TlsVersion::default(),
            names: ["tls_ca", "tls_cert", "tls_key"],
        }
    }
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
            ..$crate::native::trust::Trust::default()
        }
    };
}
pub(super) use trust;

impl Trust<'_> {
    /// The options of a handshake; of a client certificate and its key, none must be without the other.
    pub(super) fn options(self) -> Result<TlsOptions, Fault> {
        let [_, cert, key] = self.names;
        let client_identity = match (text(self.cert), text(self.key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(invalid(key, format_args!("`{cert}` needs it"))),
            (None, Some(_)) => return Err(invalid(cert, format_args!("`{key}` needs it"))),
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

    /// Notes what a handshake would fail of, whoever the server is.
    pub(super) fn review(self, found: &mut Findings) {
        let [ca, cert, key] = self.names;
        if let Some(pem) = text(self.ca) {
            found.of(ca, tls::roots(&pem));
        }
        found.take(self.options());
        let chain = text(self.cert).and_then(|pem| found.of(cert, tls::certificates(&pem)));
        let secret = text(self.key).and_then(|pem| found.of(key, tls::private_key(&pem)));
        if let Some((chain, secret)) = chain.zip(secret) {
            found.of(key, tls::fits(chain, secret));
        }
        if let Some(name) = text(self.server_name) {
            found.of("server_name", Host::parse(&name));
        }
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.trim().is_empty())
}
