//! One question to one name server by one transport, for checks whose target is that server.

use super::{RETRY_AFTER, answers, framed, message, over_udp, parsed};
use crate::net::{Connection, IpFamily, Net, NetError, dial, http::Request, tls::TlsOptions};
use hickory_resolver::proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lapwing_model::TlsInfo;
use std::{collections::VecDeque, net::SocketAddr};
use tokio::time::{self, Instant};
use url::Url;

/// RFC 8484 §6.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/dns-message");

/// By what a server is asked.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// And TCP where the answer is truncated.
    Udp,
    Tcp,
    /// RFC 7858.
    Tls(TlsOptions),
    /// RFC 8484, with the path of its URL.
    Https(TlsOptions, String),
}

/// A server that is asked.
#[derive(Debug, Clone)]
pub(crate) struct NameServer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) transport: Transport,
}

/// Its answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) message: Message,
    /// The address that answered.
    pub(crate) from: SocketAddr,
    /// `udp`, `tcp`, `tls` or `https`: what the answer came by.
    pub(crate) transport: &'static str,
    pub(crate) tls: Option<TlsInfo>,
}

impl Net {
    /// The addresses of the system's resolvers.
    pub(crate) fn name_servers(&self) -> Result<&[SocketAddr], NetError> {
        self.inner.resolver.servers()
    }

    /// Asks `server` for the records of `name`, again and again over UDP while it says nothing. Replies to other questions
    /// and with other ids are passed over; a reply with an error code is an answer. [`NetError::DnsTimeout`] at `deadline`.
    pub(crate) async fn ask(
        &self,
        server: &NameServer,
        name: &Name,
        rtype: RecordType,
        deadline: Instant,
    ) -> Result<Answer, NetError> {
        let plain = name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        self.judge_question(&plain)?;
        let question = Query::query(name.clone(), rtype);
        match &server.transport {
            Transport::Udp => self.ask_by_udp(server, &question, deadline).await,
            Transport::Tcp | Transport::Tls(_) => self.ask_by_stream(server, &question, deadline).await,
            Transport::Https(tls, path) => self.ask_by_https(server, tls, path, &question, deadline).await,
        }
    }

    async fn ask_by_udp(
        &self,
        server: &NameServer,
        question: &Query,
        deadline: Instant,
    ) -> Result<Answer, NetError> {
        let found = self
            .resolve(&server.host, Some(server.port), IpFamily::Any, deadline)
            .await?;
        let mut servers: VecDeque<_> = found
            .addresses
            .iter()
            .map(|address| SocketAddr::new(*address, server.port))
            .collect();
        let mut failure: Option<NetError> = None;
        // One after the other until the deadline: a lost datagram is no failure yet; who fails is not asked again.
        while let Some(from) = servers.pop_front().filter(|_| Instant::now() < deadline) {
            let patience = deadline.min(Instant::now() + RETRY_AFTER);
            let reply = match time::timeout_at(patience, over_udp(question, from, &self.toll)).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(error)) => {
                    keep(&mut failure, error);
                    continue;
                }
                Err(_) => {
                    servers.push_back(from);
                    continue;
                }
            };
            if reply.metadata.truncation {
                return self.ask_by_stream(server, question, deadline).await;
            }
            return Ok(Answer {
                message: reply,
                from,
                transport: "udp",
                tls: None,
            });
        }
        if !servers.is_empty() || Instant::now() >= deadline {
            keep(&mut failure, silence(&server.host, server.port));
        }
        let failure = failure.unwrap_or_else(|| silence(&server.host, server.port));
        Err(found.failure(failure))
    }

    async fn ask_by_stream(
        &self,
        server: &NameServer,
        question: &Query,
        deadline: Instant,
    ) -> Result<Answer, NetError> {
        let connected = self
            .connect(&server.host, server.port, IpFamily::Any, deadline)
            .await?;
        let Connection { stream, peer, .. } = connected;
        let shown = peer.to_string();
        let (reply, transport, tls) = if let Transport::Tls(options) = &server.transport {
            let session = self.handshake(stream, &server.host, options, deadline).await?;
            let reply = time::timeout_at(deadline, framed(session.stream, question, &shown)).await;
            (reply, "tls", Some(session.info))
        } else {
            let reply = time::timeout_at(deadline, framed(stream, question, &shown)).await;
            (reply, "tcp", None)
        };
        Ok(Answer {
            message: reply.map_err(|_| silence(&server.host, server.port))??,
            from: peer,
            transport,
            tls,
        })
    }

    async fn ask_by_https(
        &self,
        server: &NameServer,
        tls: &TlsOptions,
        path: &str,
        question: &Query,
        deadline: Instant,
    ) -> Result<Answer, NetError> {
        let (mut asked, _) = message(question, true)?;
        // RFC 8484 §4.1: so that answers can be cached.
        asked.metadata.id = 0;
        let bytes = asked
            .to_vec()
            .map_err(|error| NetError::InvalidInput(error.to_string()))?;
        let bracketed = if server.host.contains(':') && !server.host.starts_with('[') {
            format!("[{}]", server.host)
        } else {
            server.host.clone()
        };
        let url = Url::parse(&format!(
            "https://{bracketed}:{}/{}",
            server.port,
            path.trim_start_matches('/')
        ));
        let url = url.map_err(|error| NetError::InvalidInput(format!("`{bracketed}`: {error}")))?;
        let request = Request {
            method: Method::POST,
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, MEDIA_TYPE), (header::ACCEPT, MEDIA_TYPE)]),
            body: bytes.into(),
            tls: tls.clone(),
            max_body_bytes: Some(usize::from(u16::MAX)),
            ..Request::get(url)
        };
        let response = self
            .send(&request, deadline)
            .await
            .map_err(|failure| failure.error)?;
        let shown = response.peer.to_string();
        if response.status != StatusCode::OK {
            return Err(NetError::DnsFailed(format!(
                "{shown} answered HTTP status {}",
                response.status.as_u16()
            )));
        }
        let reply = parsed(response.body.to_vec(), &shown).await?;
        if !answers(&reply, &asked) {
            return Err(NetError::Protocol(format!("{shown} answered another question")));
        }
        Ok(Answer {
            message: reply,
            from: response.peer,
            transport: "https",
            tls: response.tls,
        })
    }
}

/// Keeps the failure that tells more of the server.
fn keep(kept: &mut Option<NetError>, error: NetError) {
    if kept
        .as_ref()
        .is_none_or(|kept| dial::rank(&error) > dial::rank(kept))
    {
        *kept = Some(error);
    }
}

fn silence(host: &str, port: u16) -> NetError {
    NetError::DnsTimeout(format!("{host}:{port} does not answer"))
}
