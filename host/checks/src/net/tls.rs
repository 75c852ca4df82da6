//! TLS as a client that always tells what the peer presented, accepted or not.
//!
//! Every handshake is a full one: a resumed session shows no certificate, and a check is to see the certificate.

mod certificate;
mod verifier;

use super::{Host, Net, NetError};
use lapwing_model::TlsInfo;
use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_native_certs::{CertificateResult, ErrorKind};
use std::{fmt, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task,
    time::{self, Instant},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use verifier::Witness;

/// Most names of application protocols in one offer, in bytes: they go out with every handshake.
const MOST_ALPN: usize = 1 << 10;

/// How to speak TLS with one peer.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// SNI and verification name; `None` takes the host.
    pub server_name: Option<String>,
    /// `false` accepts any chain and still reports why it would have been refused.
    pub verify: bool,
    /// Application protocols to offer, most wanted first.
    pub alpn: Vec<String>,
    /// PEM roots used instead of the system's.
    pub ca_pem: Option<String>,
    /// PEM certificate chain and PEM key of the client.
    pub client_identity: Option<(String, String)>,
    /// Oldest version to accept: `1.2` (default) or `1.3`.
    pub min_version_13: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            server_name: None,
            verify: true,
            alpn: Vec::new(),
            ca_pem: None,
            client_identity: None,
            min_version_13: false,
        }
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("server_name", &self.server_name)
            .field("verify", &self.verify)
            .field("alpn", &self.alpn)
            .field("client_identity", &self.client_identity.is_some())
            .finish_non_exhaustive()
    }
}

/// A finished handshake.
#[derive(Debug)]
pub struct TlsSession<S> {
    /// The encrypted stream.
    pub stream: TlsStream<S>,
    /// What the peer presented.
    pub info: TlsInfo,
    /// Time the handshake took.
    pub elapsed: Duration,
}

/// The trust in force when a check brings none of its own, and the cryptography. Made once, shared by all checks.
#[derive(Debug)]
pub(super) struct Roots {
    crypto: Arc<CryptoProvider>,
    system: Arc<dyn ServerCertVerifier>,
}

impl Roots {
    fn load() -> Result<Self, NetError> {
        let store = trusted(rustls_native_certs::load_native_certs())?;
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let system = WebPkiServerVerifier::builder_with_provider(store.into(), crypto.clone());
        let system = system.build().map_err(unread)?;
        Ok(Self { crypto, system })
    }

    /// A verifier that trusts `pem` alone, and its certificates.
    fn only(
        &self,
        pem: &str,
    ) -> Result<(Arc<dyn ServerCertVerifier>, Vec<CertificateDer<'static>>), NetError> {
        let fail = |why: String| NetError::InvalidInput(format!("CA certificate: {why}"));
        let (store, certificates) = roots(pem).map_err(fail)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), self.crypto.clone());
        Ok((
            verifier.build().map_err(|error| fail(error.to_string()))?,
            certificates,
        ))
    }
}

impl TlsOptions {
    /// A configuration for one handshake, and the witness that will tell of it.
    fn config(&self, roots: &Roots) -> Result<(ClientConfig, Arc<Witness>), NetError> {
        let (verifier, pinned) = match &self.ca_pem {
            Some(pem) => roots.only(pem)?,
            None => (roots.system.clone(), Vec::new()),
        };
        let witness = Arc::new(Witness::new(verifier, pinned, self.verify));
        let versions: &[_] = if self.min_version_13 {
            &[&TLS13]
        } else {
            &[&TLS13, &TLS12]
        };
        let builder = ClientConfig::builder_with_provider(roots.crypto.clone())
            .with_protocol_versions(versions)
            .map_err(|error| NetError::Local(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(witness.clone());
        let mut config = match &self.client_identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let fail = |why: String| NetError::InvalidInput(format!("client certificate: {why}"));
                let (key, chain) = (
                    private_key(key).map_err(fail)?,
                    certificates(chain).map_err(fail)?,
                );
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| fail(error.to_string()))?
            }
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols =
            protocols(&self.alpn).map_err(|why| NetError::InvalidInput(format!("`alpn`: {why}")))?;
        Ok((config, witness))
    }
}

/// What the handshake can carry (RFC 7301 §3.1), and no more of it than anybody means.
pub(crate) fn protocols(alpn: &[String]) -> Result<Vec<Vec<u8>>, String> {
    let fits = |protocol: &String| (1..=255).contains(&protocol.len());
    if !alpn.iter().all(fits) || alpn.iter().map(String::len).sum::<usize>() > MOST_ALPN {
        return Err(format!(
            "names of 1 to 255 bytes are expected, {MOST_ALPN} bytes in all at most"
        ));
    }
    Ok(alpn.iter().map(|name| name.clone().into_bytes()).collect())
}

impl Net {
    /// The trust roots. A failure is not kept: the next call tries again.
    pub(super) async fn roots(&self) -> Result<&Roots, NetError> {
        let load = || async {
            let loaded = task::spawn_blocking(Roots::load).await;
            loaded.map_err(unread)?
        };
        self.inner.roots.get_or_try_init(load).await
    }

    /// Bytes nobody can foresee.
    pub(super) async fn random<const N: usize>(&self) -> Result<[u8; N], NetError> {
        let mut bytes = [0; N];
        let filled = self.roots().await?.crypto.secure_random.fill(&mut bytes);
        filled.map_err(|_| NetError::Local("no randomness".to_owned()))?;
        Ok(bytes)
    }

    /// Handshakes over an open stream to `host`.
    ///
    /// [`NetError::Certificate`] keeps what the peer presented; [`NetError::InvalidInput`] means that the options hold
    /// a PEM or a name that cannot be used. Cancel safe: dropping the future drops the stream.
    pub async fn handshake<S>(
        &self,
        stream: S,
        host: &str,
        options: &TlsOptions,
        deadline: Instant,
    ) -> Result<TlsSession<S>, NetError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let roots = time::timeout_at(deadline, self.roots()).await;
        let (config, witness) = options.config(roots.map_err(unread)??)?;
        let name = options.server_name.as_deref().unwrap_or(host);
        let server_name = server_name(name)?;
        let start = Instant::now();
        let handshake = TlsConnector::from(Arc::new(config)).connect(server_name, stream);
        match time::timeout_at(deadline, handshake).await {
            Err(_) => Err(NetError::TlsTimeout(host.to_owned())),
            Ok(Ok(stream)) => {
                let session = stream.get_ref().1;
                let info = TlsInfo {
                    protocol: session
                        .protocol_version()
                        .and_then(|v| v.as_str())
                        .unwrap_or_default()
                        .replace('_', "."),
                    cipher: session.negotiated_cipher_suite().map(cipher).unwrap_or_default(),
                    alpn: session
                        .alpn_protocol()
                        .map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
                    ..witness.info(name)
                };
                Ok(TlsSession {
                    stream,
                    info,
                    elapsed: start.elapsed(),
                })
            }
            Ok(Err(error)) => Err(match NetError::from_io(&error, host) {
                NetError::Certificate { message, .. } => {
                    let info = witness.info(name);
                    let message = info.verify_error.clone().unwrap_or(message);
                    NetError::Certificate {
                        message,
                        info: Some(Box::new(info)),
                    }
                }
                NetError::Closed(_) => NetError::Closed(format!("{host}, during the TLS handshake")),
                error => error,
            }),
        }
    }
}

/// The system's roots; on a system without any (a bare container), Mozilla's as built in.
///
/// A store with a hole makes good targets look bad: what could not be read is our failure, not the target's. Only a path
/// that does not exist, or a file that is no PEM, is passed over, and only where other roots were found.
fn trusted(native: CertificateResult) -> Result<RootCertStore, NetError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(native.certs);
    for error in native.errors {
        if store.is_empty() || is_hole(&error) {
            return Err(unread(error));
        }
        tracing::warn!(%error, "some of the system's root certificates cannot be used");
    }
    if store.is_empty() {
        tracing::warn!("this system has no root certificates; using Mozilla's, as built in");
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(store)
}

fn unread(why: impl fmt::Display) -> NetError {
    NetError::Local(format!("root certificates: {why}"))
}

/// Whether roots that are there could not be read (no free descriptors, no right to).
fn is_hole(error: &rustls_native_certs::Error) -> bool {
    matches!(&error.kind, ErrorKind::Io { inner, .. } if inner.kind() != io::ErrorKind::NotFound)
}

/// The certificates in `pem`, and a store that trusts them.
pub(crate) fn roots(pem: &str) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    let certificates = certificates(pem)?;
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        let added = store.add(certificate.clone());
        added.map_err(|error| error.to_string())?;
    }
    Ok((store, certificates))
}

/// Whether a client can show `chain` with `key`.
pub(crate) fn fits(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(), rustls::Error> {
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).map(drop)
}

/// The key in `pem`.
pub(crate) fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => "the PEM text holds no private key".to_owned(),
        error => malformed(&error),
    })
}

/// The certificates in `pem`; at least one.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err("the PEM text holds no certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(malformed(&error)),
    }
}

/// Not by the error's own text: it has bytes of what was read, which may be a key's.
fn malformed(error: &pem::Error) -> String {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => {
            "a section without its `-----END …-----` line; are its line breaks still line breaks?"
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a `-----BEGIN …-----` line that does not end there; are its line breaks still line breaks?"
        }
        pem::Error::Base64Decode(_) => "a section that is not Base64",
        _ => "text that is not understood",
    };
    format!("the PEM text holds {what}")
}

fn server_name(name: &str) -> Result<ServerName<'static>, NetError> {
    match Host::parse(name)? {
        Host::Address(address) => Ok(ServerName::IpAddress(address.into())),
        Host::Name(dns) => ServerName::try_from(dns)
            .map_err(|_| NetError::InvalidInput(format!("`{name}` cannot be a TLS server name"))),
    }
}

/// IANA's name: rustls says `TLS13_` where the registry has `TLS_`.
fn cipher(suite: rustls::SupportedCipherSuite) -> String {
    suite
        .suite()
        .as_str()
        .unwrap_or_default()
        .replacen("TLS13_", "TLS_", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_key_is_told_without_the_key() {
        let secret = "MC4CAQAwBQYDK2VwBCIEIHUNTER2";
        for (pem, part) in [
            (
                format!(r"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"),
                "line breaks",
            ),
            (
                format!("-----BEGIN PRIVATE KEY-----\n{secret}\n"),
                "`-----END …-----`",
            ),
            (
                format!("-----BEGIN PRIVATE KEY-----\n{secret}!\n-----END PRIVATE KEY-----\n"),
                "not Base64",
            ),
            (secret.to_owned(), "no private key"),
        ] {
            let told = private_key(&pem).unwrap_err();
            assert!(
                told.contains(part) && !told.contains("HUNTER2") && !told.contains("[45"),
                "{told}"
            );
        }
        let told = certificates("-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap_err();
        assert!(told.contains("`-----END …-----`"), "{told}");
    }

    /// What the system gave: so many roots, and an error of the kernel's.
    fn native(roots: usize, code: Option<i32>) -> CertificateResult {
        let mut native = CertificateResult::default();
        for index in 0..roots {
            let key = rcgen::KeyPair::generate().unwrap();
            let root = rcgen::CertificateParams::new(vec![format!("r{index}.example")]).unwrap();
            native.certs.push(root.self_signed(&key).unwrap().der().clone());
        }
        native.errors.extend(code.map(|code| rustls_native_certs::Error {
            context: "failed to read PEM from file",
            kind: ErrorKind::Io {
                inner: io::Error::from_raw_os_error(code),
                path: "/etc/ssl/certs/ca.crt".into(),
            },
        }));
        native
    }

    #[test]
    fn application_protocols_are_what_a_handshake_can_carry() {
        let most = ["h2".to_owned(), "x".repeat(255)];
        assert_eq!(protocols(&most).map(|names| names.len()), Ok(2));
        for unfit in [
            vec![String::new()],
            vec!["x".repeat(256)],
            vec!["x".repeat(255); 5],
        ] {
            let why = protocols(&unfit).unwrap_err();
            assert!(why.contains("1 to 255 bytes"), "{why}");
        }
    }

    #[test]
    fn roots_that_cannot_be_read_are_our_failure_however_many_others_there_are() {
        for (roots, name, code) in [
            (0, "EMFILE", 24),
            (1, "EMFILE", 24),
            (1, "ENFILE", 23),
            (1, "EACCES", 13),
            (0, "ENOENT", 2),
        ] {
            let error = trusted(native(roots, Some(code))).unwrap_err();
            assert!(
                matches!(&error, NetError::Local(text) if text.contains("ca.crt")),
                "{name}: {error:?}"
            );
        }
    }

    #[test]
    fn only_a_system_without_any_roots_gets_those_built_in() {
        assert_eq!(
            trusted(native(0, None)).unwrap().len(),
            webpki_roots::TLS_SERVER_ROOTS.len()
        );
        assert_eq!(trusted(native(2, None)).unwrap().len(), 2);
        let enoent = Some(2);
        assert_eq!(
            trusted(native(2, enoent)).unwrap().len(),
            2,
            "a path without roots"
        );
    }
}
