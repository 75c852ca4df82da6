//! The way to one hop: straight or through a proxy, encrypted or not, in HTTP/1.1 or HTTP/2.

use super::{
    Failure, HttpVersion, Request, Seen, Timing,
    hop::{Form, leaves_origin},
};
use crate::net::{
    Host, IpFamily, Net, NetError, Resolved, dial,
    proxy::{Kind, Stream, Via},
    quota::Toll,
    tls::TlsOptions,
};
use lapwing_model::TlsInfo;
use std::{net::SocketAddr, path::Path};
use tokio::{
    net::UnixStream,
    time::{self, Instant},
};
use url::Url;

/// A stream on which the hop's request can be sent.
pub(super) struct Reached {
    pub(super) stream: Stream,
    pub(super) toll: Toll,
    pub(super) form: Form,
    /// `host:port`, for messages.
    pub(super) target: String,
}

/// A way to where a URL leads, for a protocol that begins as HTTP does.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    /// What was dialled.
    pub(crate) peer: SocketAddr,
    /// `host:port`, for messages.
    pub(crate) target: String,
    pub(crate) tls: Option<TlsInfo>,
    /// Of the steps until here.
    pub(crate) timing: Timing,
}

impl Net {
    /// Opens the way to `request.url`, as [`Net::send`] does, and leaves it to the caller to speak there. A proxy always
    /// opens a tunnel.
    pub(crate) async fn open(&self, request: &Request, deadline: Instant) -> Result<Opened, Box<Failure>> {
        let mut seen = Seen::new();
        match self.reach(request, &request.url, true, &mut seen, deadline).await {
            Ok((reached, peer)) => Ok(Opened {
                stream: reached.stream,
                peer,
                target: reached.target,
                tls: seen.tls,
                timing: seen.timing,
            }),
            Err(error) => Err(seen.failure(error)),
        }
    }

    /// Opens the way to `url`, through a proxy by a tunnel if `tunnel` says so. Everything dialled is judged by the policy; what a proxy will dial is judged by name.
    pub(super) async fn reach(
        &self,
        request: &Request,
        url: &Url,
        tunnel: bool,
        seen: &mut Seen,
        deadline: Instant,
    ) -> Result<(Reached, SocketAddr), NetError> {
        self.toll.connect()?;
        let toll = self.toll.clone();
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let encrypted = url.scheme() == "https";
        let target = format!("{host}:{port}");
        let via = request.proxy.as_ref().map(Via::parse).transpose()?;
        let mut way = Way {
            net: self,
            seen,
            deadline,
        };
        let (stream, peer, form) = match &via {
            None => {
                let (stream, peer) = way.dial(host, port, request.family).await?;
                (stream, peer, Form::Origin)
            }
            Some(via) => {
                let target = way.target(via, host, port).await?;
                // No proxy forwards HTTP/2 as such: what must be HTTP/2 goes through a tunnel.
                let forward = !encrypted && !tunnel && request.version != HttpVersion::Http2;
                way.through(via, &target, port, forward).await?
            }
        };
        if !encrypted {
            let form = if request.version == HttpVersion::Http2 && form == Form::Origin {
                Form::Http2
            } else {
                form
            };
            let reached = Reached {
                stream,
                toll,
                form,
                target,
            };
            return Ok((reached, peer));
        }
        let mut options = TlsOptions {
            alpn: offer(request),
            ..request.tls.clone()
        };
        if leaves_origin(&request.url, url) {
            options.server_name = None;
            options.client_identity = None;
        }
        let (stream, info) = way.encrypt(stream, host, &options).await?;
        let form = match (request.version, info.alpn.as_deref()) {
            (HttpVersion::Http11, _) => Form::Origin,
            (_, Some("h2")) => Form::Http2,
            (HttpVersion::Any, _) => Form::Origin,
            (HttpVersion::Http2, _) => {
                return Err(NetError::VersionMismatch(format!(
                    "{target} does not offer HTTP/2"
                )));
            }
        };
        seen.tls = Some(info);
        let reached = Reached {
            stream,
            toll,
            form,
            target,
        };
        Ok((reached, peer))
    }
}

impl Reached {
    /// The way to the socket at `path`. The policy is asked whether there may be any; who may open this one is the
    /// system's to say.
    pub(super) async fn socket(
        net: &Net,
        path: &Path,
        seen: &mut Seen,
        deadline: Instant,
    ) -> Result<Self, NetError> {
        let target = format!("unix://{}", path.display());
        net.judge_socket(&target)?;
        let start = Instant::now();
        let opened = time::timeout_at(deadline, UnixStream::connect(path)).await;
        seen.timing.connect += start.elapsed();
        let stream = opened
            .map_err(|_| NetError::ConnectTimeout(target.clone()))?
            .map_err(|error| NetError::from_socket(&error, &target))?;
        Ok(Self {
            stream: Box::new(stream),
            toll: net.toll.clone(),
            form: Form::Origin,
            target,
        })
    }
}

/// One way being opened: where its time is noted, and when it must be there.
struct Way<'a> {
    net: &'a Net,
    seen: &'a mut Seen,
    deadline: Instant,
}

impl Way<'_> {
    async fn resolve(&mut self, host: &str, port: u16, family: IpFamily) -> Result<Resolved, NetError> {
        let start = Instant::now();
        let found = self.net.resolve(host, Some(port), family, self.deadline).await;
        self.seen.timing.resolve += found
            .as_ref()
            .map_or_else(|_| start.elapsed(), |found| found.elapsed);
        found
    }

    async fn dial(
        &mut self,
        host: &str,
        port: u16,
        family: IpFamily,
    ) -> Result<(Stream, SocketAddr), NetError> {
        let found = self.resolve(host, port, family).await?;
        let start = Instant::now();
        let stream = dial::race(&found, port, self.deadline).await;
        self.seen.timing.connect += start.elapsed();
        let stream = stream?;
        let peer = stream
            .peer_addr()
            .map_err(|error| NetError::from_io(&error, host))?;
        Ok((Box::new(stream), peer))
    }

    async fn encrypt(
        &mut self,
        stream: Stream,
        host: &str,
        options: &TlsOptions,
    ) -> Result<(Stream, TlsInfo), NetError> {
        let start = Instant::now();
        let session = self.net.handshake(stream, host, options, self.deadline).await;
        *self.seen.timing.tls.get_or_insert_default() += start.elapsed();
        session.map(|session| (Box::new(session.stream) as Stream, session.info))
    }

    /// Whom the proxy shall reach, judged: by address where we know it, else by name.
    async fn target(&mut self, via: &Via, host: &str, port: u16) -> Result<Host, NetError> {
        // SOCKS4 carries addresses only, and only IPv4.
        if via.kind == Kind::Socks4 {
            let found = self.resolve(host, port, IpFamily::V4).await?;
            return found
                .addresses
                .into_iter()
                .next()
                .map(Host::Address)
                .ok_or_else(|| NetError::DnsNotFound(host.to_owned()));
        }
        let target = Host::parse(host)?;
        match &target {
            Host::Address(address) => self.net.judge(&address.to_string(), Some(port), *address)?,
            Host::Name(name) => self.net.judge_name(name, Some(port))?,
        }
        Ok(target)
    }

    /// Dials the proxy and has it open a tunnel, unless it is an HTTP proxy and the request is merely to be forwarded.
    async fn through(
        &mut self,
        via: &Via,
        target: &Host,
        port: u16,
        forward: bool,
    ) -> Result<(Stream, SocketAddr, Form), NetError> {
        let dialled = self.dial(&via.host, via.port, IpFamily::Any).await;
        let (mut stream, peer) = dialled.map_err(|error| via.blame(error))?;
        if via.kind == Kind::Https {
            let encrypted = self.encrypt(stream, &via.host, &TlsOptions::default()).await;
            (stream, _) = encrypted.map_err(|error| via.blame(error))?;
        }
        if forward && matches!(via.kind, Kind::Http | Kind::Https) {
            return Ok((stream, peer, Form::Absolute(via.authorization())));
        }
        let start = Instant::now();
        let tunnel = time::timeout_at(self.deadline, via.tunnel(stream, target, port)).await;
        self.seen.timing.connect += start.elapsed();
        let tunnel = tunnel.map_err(|_| via.blame(NetError::ConnectTimeout("no tunnel".to_owned())))??;
        Ok((tunnel, peer, Form::Origin))
    }
}

/// What to offer in ALPN: what the options say, else what the version wants.
fn offer(request: &Request) -> Vec<String> {
    let protocols: &[&str] = match request.version {
        _ if !request.tls.alpn.is_empty() => return request.tls.alpn.clone(),
        HttpVersion::Any => &["h2", "http/1.1"],
        HttpVersion::Http11 => &["http/1.1"],
        HttpVersion::Http2 => &["h2"],
    };
    protocols.iter().map(|&protocol| protocol.to_owned()).collect()
}
