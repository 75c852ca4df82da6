//! TLS as a client that always tells what the peer presented, accepted or not.

use super::{Net, NetError};
use lapwing_model::TlsInfo;
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_rustls::client::TlsStream;

/// How to speak TLS with one peer.
#[derive(Debug, Clone)]
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

impl Net {
    /// Handshakes over an open stream to `host`.
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
        let _ = (stream, host, options, deadline);
        todo!()
    }
}
