//! A certificate verifier that remembers what it was shown, so that a result can tell it in any case.

use super::certificate;
use crate::text::visible;
use lapwing_model::TlsInfo;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use std::sync::{Arc, Mutex, PoisonError};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Verifies one handshake and keeps the evidence. One per handshake.
#[derive(Debug)]
pub(super) struct Witness {
    inner: Arc<dyn ServerCertVerifier>,
    /// The check's own trusted certificates: one of them is accepted as a server's certificate, too.
    pinned: Vec<CertificateDer<'static>>,
    enforce: bool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    error: Option<String>,
}

impl Witness {
    pub(super) fn new(
        inner: Arc<dyn ServerCertVerifier>,
        pinned: Vec<CertificateDer<'static>>,
        enforce: bool,
    ) -> Self {
        Self {
            inner,
            pinned,
            enforce,
            seen: Mutex::default(),
        }
    }

    /// What was seen; protocol and cipher are the caller's to add.
    pub(super) fn info(&self, server_name: &str) -> TlsInfo {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        TlsInfo {
            protocol: String::new(),
            cipher: String::new(),
            alpn: None,
            server_name: Some(server_name.to_owned()),
            verified: seen.error.is_none() && !seen.chain.is_empty(),
            verify_error: seen.error.clone(),
            // Not beyond one that cannot be read: the first there is must be the peer's own.
            chain: seen
                .chain
                .iter()
                .map_while(|der| certificate::describe(der))
                .collect(),
        }
    }

    /// Notes a fault, and lets it pass where the check asked for that.
    fn excuse<T>(&self, result: Result<T, Error>, leaf: &CertificateDer<'_>, pass: T) -> Result<T, Error> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.error.get_or_insert_with(|| visible(&explain(&error, leaf)));
        if self.enforce { Err(error) } else { Ok(pass) }
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).chain =
            chain.map(|der| der.clone().into_owned()).collect();
        let verdict = if self.pinned.contains(end_entity) {
            verify_pinned(end_entity, server_name, now)
        } else {
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        // An authority of the right name with another key is not the one that signed: to users that is an unknown one.
        let verdict = verdict.map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::BadSignature) => {
                CertificateError::UnknownIssuer.into()
            }
            error => error,
        });
        self.excuse(verdict, end_entity, ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.excuse(
            self.inner.verify_tls12_signature(message, cert, dss),
            cert,
            HandshakeSignatureValid::assertion(),
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.excuse(
            self.inner.verify_tls13_signature(message, cert, dss),
            cert,
            HandshakeSignatureValid::assertion(),
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A certificate that the check itself trusts, presented by the server as its own (the usual self-signed one): the
/// path is trivial, name and dates are not. webpki refuses such a certificate when it is marked as a CA.
fn verify_pinned(
    der: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| bad())?;
    let at =
        |seconds: i64| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds.unsigned_abs()));
    let (not_before, not_after) = (
        parsed.validity.not_before.timestamp(),
        parsed.validity.not_after.timestamp(),
    );
    let time = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if time > not_after {
        return Err(CertificateError::ExpiredContext {
            time: now,
            not_after: at(not_after),
        }
        .into());
    }
    if time < not_before {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before: at(not_before),
        }
        .into());
    }
    verify_server_name(&ParsedCertificate::try_from(der)?, name)?;
    Ok(ServerCertVerified::assertion())
}

/// For people, in the words users know from other tools.
fn explain(error: &Error, leaf: &CertificateDer<'_>) -> String {
    let Error::InvalidCertificate(fault) = error else {
        return error.to_string();
    };
    match fault {
        CertificateError::UnknownIssuer if is_self_signed(leaf) => "certificate is self-signed".to_owned(),
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            format!(
                "certificate has expired {} ago",
                span(time.as_secs().saturating_sub(not_after.as_secs()))
            )
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!(
                "certificate is not valid before {} from now",
                span(not_before.as_secs().saturating_sub(time.as_secs()))
            )
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "certificate is self-signed and marked as an authority".to_owned()
        }
        fault => fault.to_string(),
    }
}

fn is_self_signed(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, parsed)| parsed.subject() == parsed.issuer())
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_described_is_the_peers_own() {
        let key = rcgen::KeyPair::generate().unwrap();
        let readable = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let readable = readable.der().clone().into_owned();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(readable.clone()).unwrap();
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let inner = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), crypto);
        let witness = Witness::new(inner.build().unwrap(), Vec::new(), false);
        for (chain, described) in [
            (vec![readable.clone(), CertificateDer::from(vec![0x30, 0])], 1),
            (vec![CertificateDer::from(vec![0x30, 0]), readable.clone()], 0),
        ] {
            witness.seen.lock().unwrap().chain = chain;
            assert_eq!(witness.info("x").chain.len(), described);
        }
    }
}
