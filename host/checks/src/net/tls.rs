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
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task,
    time::{self, Instant},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use verifier::Witness;

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

impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    /// The system's roots; on a system without any (a bare container), Mozilla's as built in.
    fn load() -> Result<Self, NetError> {
        let mut store = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::warn!(%error, "some of the system's root certificates cannot be read");
        }
        store.add_parsable_certificates(native.certs);
        if store.is_empty() {
            tracing::warn!("this system has no root certificates; using Mozilla's, as built in");
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let system = WebPkiServerVerifier::builder_with_provider(store.into(), crypto.clone());
        let system = system
            .build()
            .map_err(|error| NetError::Local(format!("root certificates: {error}")))?;
        Ok(Self { crypto, system })
    }

    /// A verifier that trusts `pem` alone, and its certificates.
    fn only(
        &self,
        pem: &str,
    ) -> Result<(Arc<dyn ServerCertVerifier>, Vec<CertificateDer<'static>>), NetError> {
        let fail = |why: String| NetError::InvalidInput(format!("CA certificate: {why}"));
        let certificates = certificates(pem).map_err(fail)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store
                .add(certificate.clone())
                .map_err(|error| fail(error.to_string()))?;
        }
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
                let key =
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| fail(error.to_string()))?;
                let chain = certificates(chain).map_err(fail)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| fail(error.to_string()))?
            }
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        Ok((config, witness))
    }
}

impl Net {
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
        let roots = self.inner.roots.get_or_try_init(|| async {
            let loaded = task::spawn_blocking(Roots::load).await;
            loaded.map_err(|error| NetError::Local(format!("root certificates: {error}")))?
        });
        let (config, witness) = options.config(roots.await?)?;
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

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err("the PEM text holds no certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
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
