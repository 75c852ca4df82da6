//! Forward proxies: HTTP (`CONNECT`, RFC 9110 §9.3.6), SOCKS4, `SOCKS4a` and SOCKS5 (RFC 1928, RFC 1929).
//!
//! As Peekaping does, every SOCKS5 spelling has the proxy resolve the target's name. The proxy's own address is judged
//! by the policy where it is dialled.

use super::{Host, NetError};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, future};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lapwing_model::Proxy;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_socks::{
    TargetAddr,
    tcp::{Socks4Stream, Socks5Stream},
};

/// Any stream of bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream, however deeply wrapped.
pub(crate) type Stream = Box<dyn Duplex>;

/// How to speak to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Https,
    /// Addresses only: names are resolved here.
    Socks4,
    Socks4a,
    Socks5,
}

/// A proxy to go through.
pub(super) struct Via {
    pub(super) kind: Kind,
    pub(super) host: String,
    pub(super) port: u16,
    credentials: Option<(String, String)>,
}

impl Via {
    pub(super) fn parse(proxy: &Proxy) -> Result<Self, NetError> {
        let kind = match proxy.protocol.as_str() {
            "" | "http" => Kind::Http,
            "https" => Kind::Https,
            "socks4" => Kind::Socks4,
            "socks4a" => Kind::Socks4a,
            "socks" | "socks5" | "socks5h" => Kind::Socks5,
            other => {
                return Err(NetError::InvalidInput(format!(
                    "proxy protocol `{other}` is unknown; known: http, https, socks4, socks4a, socks5, socks5h"
                )));
            }
        };
        if proxy.port == 0 {
            return Err(NetError::InvalidInput(
                "`proxy.port`: expected 1 to 65535".to_owned(),
            ));
        }
        let credentials = proxy
            .credentials()
            .map(|(user, password)| (user.to_owned(), password.to_owned()));
        Ok(Self {
            kind,
            host: proxy.host.clone(),
            port: proxy.port,
            credentials,
        })
    }

    /// The proxy's fault, unless it is ours.
    pub(super) fn blame(&self, error: NetError) -> NetError {
        if error.blames_target() {
            NetError::Proxy(format!("{}:{}: {error}", self.host, self.port))
        } else {
            error
        }
    }

    /// `Proxy-Authorization`, if there are credentials.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let (user, password) = self.credentials.as_ref()?;
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        let mut value = HeaderValue::from_str(&basic).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Has the proxy at the other end of `stream` open a tunnel to `target`.
    pub(super) async fn tunnel(&self, stream: Stream, target: &Host, port: u16) -> Result<Stream, NetError> {
        let address = match target {
            Host::Address(ip) => TargetAddr::Ip(SocketAddr::new(*ip, port)),
            Host::Name(name) => TargetAddr::Domain(name.as_str().into(), port),
        };
        let user = self.credentials.as_ref();
        let opened: Result<Stream, _> = match self.kind {
            Kind::Http | Kind::Https => return self.connect(stream, target, port).await,
            Kind::Socks5 => match user {
                None => Socks5Stream::connect_with_socket(stream, address)
                    .await
                    .map(|s| Box::new(s) as Stream),
                Some((user, password)) => {
                    let opened =
                        Socks5Stream::connect_with_password_and_socket(stream, address, user, password);
                    opened.await.map(|s| Box::new(s) as Stream)
                }
            },
            Kind::Socks4 | Kind::Socks4a => match user {
                None => Socks4Stream::connect_with_socket(stream, address)
                    .await
                    .map(|s| Box::new(s) as Stream),
                Some((user, _)) => {
                    let opened = Socks4Stream::connect_with_userid_and_socket(stream, address, user);
                    opened.await.map(|s| Box::new(s) as Stream)
                }
            },
        };
        opened.map_err(|error| self.sort(&error, &format!("{target}:{port}")))
    }

    /// A SOCKS proxy that reports of the target reports what the target did.
    fn sort(&self, error: &tokio_socks::Error, target: &str) -> NetError {
        use tokio_socks::Error;
        let seen = |error| format!("{target}, as the proxy saw it ({error})");
        match error {
            Error::ConnectionRefused => NetError::Refused(seen(error)),
            Error::HostUnreachable | Error::NetworkUnreachable | Error::TtlExpired => {
                NetError::Unreachable(seen(error))
            }
            Error::Io(io) => self.blame(NetError::from_io(io, "SOCKS")),
            _ => self.blame(NetError::Other(error.to_string())),
        }
    }

    async fn connect(&self, stream: Stream, target: &Host, port: u16) -> Result<Stream, NetError> {
        let broken = |error: hyper::Error| self.blame(NetError::from_hyper(&error, "the proxy"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut connection = connection.with_upgrades().map(drop).fuse().boxed();
        let request = self.connect_request(target, port)?;
        let opening = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            if !response.status().is_success() {
                return Err(self.refused(response.status()));
            }
            hyper::upgrade::on(response).await.map_err(broken)
        };
        // The connection ends when it hands its stream over, just before the opening has it.
        let mut opening = std::pin::pin!(opening);
        let upgraded = match future::select(&mut opening, &mut connection).await {
            future::Either::Left((opened, _)) => opened,
            future::Either::Right(_) => opening.await,
        };
        Ok(Box::new(TokioIo::new(upgraded?)))
    }

    fn connect_request(&self, target: &Host, port: u16) -> Result<Request<Empty<Bytes>>, NetError> {
        let authority = match target {
            Host::Address(ip) => SocketAddr::new(*ip, port).to_string(),
            Host::Name(name) => format!("{name}:{port}"),
        };
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&authority)
            .header(header::HOST, &authority);
        if let Some(authorization) = self.authorization() {
            request = request.header(header::PROXY_AUTHORIZATION, authorization);
        }
        request
            .body(Empty::new())
            .map_err(|error| NetError::InvalidInput(format!("proxy request: {error}")))
    }

    fn refused(&self, status: StatusCode) -> NetError {
        NetError::Proxy(format!(
            "{}:{}: answered CONNECT with {status}",
            self.host, self.port
        ))
    }
}
