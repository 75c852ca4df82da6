//! One HTTP exchange with its redirects: the engine under the `http` kinds and under the plugins' `http` import.
//!
//! It reports and never judges: which status is good, and whether a short body matters, is its callers' business.

mod body;
mod cookies;
mod exchange;
mod hop;
mod login;
mod route;
mod stamp;

pub use exchange::MAX_FIELDS;
pub(crate) use exchange::{drive, open_http2};
pub(crate) use hop::FRAMING;
pub use login::{Login, Scheme};
pub(crate) use route::Opened;
pub(crate) use stamp::Stamps;

use super::{IpFamily, Net, NetError, tls::TlsOptions};
use crate::CheckError;
use body::Body;
use exchange::Exchange;
use hop::{Form, Hop};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, response::Parts};
use lapwing_model::{Observation, Phase, Proxy, TlsInfo};
use login::Attempt;
use route::Reached;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{net::SocketAddr, ops::RangeInclusive, path::Path, time::Duration};
use tokio::time::Instant;
use url::Url;

/// Longest URL that is read where a peer or a plugin names it, in bytes: twice what RFC 9110 §4.1 asks for, and reading a
/// long name takes time.
pub const MAX_URL: usize = 16 << 10;

/// Which versions to speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum HttpVersion {
    /// HTTP/2 where ALPN agrees, else HTTP/1.1.
    #[default]
    #[serde(rename = "any")]
    Any,
    /// HTTP/1.1 only.
    #[serde(rename = "1.1")]
    Http11,
    /// HTTP/2 only (prior knowledge on plain TCP).
    #[serde(rename = "2")]
    Http2,
}

/// What to ask.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method of the first hop.
    pub method: Method,
    /// `http` or `https`; userinfo is ignored.
    pub url: Url,
    /// Sent as they are, but for the framing (`Content-Length`, `Transfer-Encoding`), which is ours; a `Host` here wins.
    /// When a redirect leaves the origin, `Host`, credentials and every value marked sensitive are dropped.
    pub headers: HeaderMap,
    /// Sent with any method when not empty.
    pub body: bytes::Bytes,
    /// 0 = do not follow: the 3xx is the answer.
    pub max_redirects: u8,
    /// Address family.
    pub family: IpFamily,
    /// Version.
    pub version: HttpVersion,
    /// For `https` hops.
    pub tls: TlsOptions,
    /// A forward proxy.
    pub proxy: Option<Proxy>,
    /// What to answer a challenge with. Only the origin of `url` is answered.
    pub login: Option<Login>,
    /// Statuses of which the body is read; `None` is all. A body nobody looks at must not hide its status.
    pub body_statuses: Option<Vec<RangeInclusive<u16>>>,
    /// How much of the body to read, after decompression; `None` does not read it at all.
    pub max_body_bytes: Option<usize>,
}

impl Request {
    /// A plain `GET` that follows no redirect and reads no body.
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
            max_redirects: 0,
            family: IpFamily::Any,
            version: HttpVersion::Any,
            tls: TlsOptions::default(),
            proxy: None,
            login: None,
            body_statuses: None,
            max_body_bytes: None,
        }
    }

    /// How much of the body of an answer with `status` is wanted.
    fn wanted(&self, status: StatusCode) -> Option<usize> {
        let read =
            |ranges: &Vec<RangeInclusive<u16>>| ranges.iter().any(|range| range.contains(&status.as_u16()));
        self.max_body_bytes
            .filter(|_| self.body_statuses.as_ref().is_none_or(read))
    }
}

/// Time spent, summed over all hops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Name look-ups.
    pub resolve: Duration,
    /// TCP (and proxy) connection set-up.
    pub connect: Duration,
    /// TLS handshakes.
    pub tls: Option<Duration>,
    /// Writing requests.
    pub send: Duration,
    /// From request written to response head read.
    pub first_byte: Duration,
    /// Reading the body.
    pub receive: Duration,
    /// From the start to the head of the last response.
    pub to_head: Duration,
    /// From the start to the end.
    pub total: Duration,
}

impl Timing {
    /// The phases that took place, under their names in a result.
    pub fn phases(&self) -> Vec<Phase> {
        let phases = [
            ("resolve", self.resolve),
            ("connect", self.connect),
            ("tls", self.tls.unwrap_or_default()),
            ("send", self.send),
            ("first_byte", self.first_byte),
            ("receive", self.receive),
        ];
        let spent = phases.into_iter().filter(|(_, elapsed)| !elapsed.is_zero());
        spent
            .map(|(name, elapsed)| Phase {
                name: name.to_owned(),
                elapsed,
            })
            .collect()
    }
}

/// What came back from the last hop.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Version spoken.
    pub version: Version,
    /// Headers.
    pub headers: HeaderMap,
    /// Decoded body, at most `max_body_bytes`.
    pub body: bytes::Bytes,
    /// More body was there than the cap.
    pub truncated: bool,
    /// The URL of the last hop.
    pub final_url: Url,
    /// The address of the last hop (the proxy's, where there is one).
    pub peer: SocketAddr,
    /// The last TLS session.
    pub tls: Option<TlsInfo>,
    /// Redirects followed.
    pub redirects: u8,
    /// Time spent.
    pub timing: Timing,
}

/// As [`Response`], of a peer that may have no address.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: bytes::Bytes,
    pub(crate) tls: Option<TlsInfo>,
    pub(crate) timing: Timing,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self {
            status: response.status,
            headers: response.headers,
            body: response.body,
            tls: response.tls,
            timing: response.timing,
        }
    }
}

/// A failed exchange, with what was known when it failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What failed.
    pub error: NetError,
    /// Status of the last hop that answered.
    pub status: Option<StatusCode>,
    /// The last TLS session, also of a refused certificate.
    pub tls: Option<TlsInfo>,
    /// Time spent until then.
    pub timing: Timing,
}

impl Failure {
    /// The verdict for a target that failed so, with all that was seen; or why nothing can be said of it.
    pub(crate) fn into_verdict(
        self,
        message: impl FnOnce(&NetError) -> String,
    ) -> Result<Observation, CheckError> {
        let mut seen = self.error.into_verdict(message)?;
        if let Some(status) = self.status {
            seen = seen.with_attribute("http.status", status.as_u16());
        }
        // A body that fails does not make the answer slow.
        seen.latency = Some(self.timing.total.saturating_sub(self.timing.receive));
        seen.phases = self.timing.phases();
        seen.tls = self.tls;
        Ok(seen)
    }
}

impl Net {
    /// Sends one request and follows its redirects; every hop is judged by the policy anew. One connection a hop (more
    /// where a login needs them), closed when this returns. Ends by `deadline` with the timeout of the phase it cut.
    /// Cancel safe: dropping the future closes the connection.
    pub async fn send(&self, request: &Request, deadline: Instant) -> Result<Response, Box<Failure>> {
        let mut seen = Seen::new();
        match self.follow(request, &mut seen, deadline).await {
            Ok(mut response) => {
                response.timing.total = seen.start.elapsed();
                Ok(response)
            }
            Err(error) => Err(seen.failure(error)),
        }
    }

    /// As [`Net::send`], to the Unix socket at `path`; no redirect is followed, and nobody logs in.
    pub(crate) async fn send_socket(
        &self,
        path: &Path,
        request: &Request,
        deadline: Instant,
    ) -> Result<Answer, Box<Failure>> {
        let mut seen = Seen::new();
        match self.ask_socket(path, request, &mut seen, deadline).await {
            Ok((parts, body)) => Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.bytes,
                tls: None,
                timing: seen.timing,
            }),
            Err(error) => Err(seen.failure(error)),
        }
    }

    async fn ask_socket(
        &self,
        path: &Path,
        request: &Request,
        seen: &mut Seen,
        deadline: Instant,
    ) -> Result<(Parts, Body), NetError> {
        let hop = Hop::first(request)?;
        let reached = Reached::socket(self, path, seen, deadline).await?;
        let message = hop.message(&Form::Origin, None)?;
        let mut exchange = Exchange::open(reached, deadline).await?;
        let (parts, incoming) = exchange.head(message, seen).await?;
        let body = match request.wanted(parts.status) {
            None => Body::default(),
            Some(cap) => exchange.body(&parts, incoming, cap, seen).await?,
        };
        Ok((parts, body))
    }

    async fn follow(
        &self,
        request: &Request,
        seen: &mut Seen,
        deadline: Instant,
    ) -> Result<Response, NetError> {
        let mut hop = Hop::first(request)?;
        let mut redirects = 0;
        loop {
            let answered = self.hop(request, &hop, seen, deadline).await;
            let Answered {
                parts,
                body,
                peer,
                forwarded,
            } = answered.map_err(|error| match error {
                // Where a redirect leads is the target's choice, not the user's.
                NetError::InvalidInput(text) if redirects > 0 => NetError::RedirectInvalid(text),
                NetError::Denied(text) if redirects > 0 => NetError::Denied(format!(
                    "`{}` redirects to where it may not: {text}",
                    hop::shown(request.url.as_str())
                )),
                error => error,
            })?;
            if forwarded && parts.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
                return Err(NetError::Proxy(format!("answered with {}", parts.status)));
            }
            let location = hop::location(&parts).filter(|_| request.max_redirects > 0);
            let Some(location) = location else {
                return Ok(Response {
                    status: parts.status,
                    version: parts.version,
                    headers: parts.headers,
                    body: body.bytes,
                    truncated: body.truncated,
                    final_url: hop.url,
                    peer,
                    tls: seen.tls.take(),
                    redirects,
                    timing: seen.timing,
                });
            };
            if redirects == request.max_redirects {
                return Err(NetError::TooManyRedirects(format!(
                    "more than {redirects}, the last to `{}`",
                    hop::shown(&location)
                )));
            }
            redirects += 1;
            hop.redirect(&parts, &location)?;
        }
    }

    /// Asks one URL, and answers what it asks back.
    async fn hop(
        &self,
        request: &Request,
        hop: &Hop,
        seen: &mut Seen,
        deadline: Instant,
    ) -> Result<Answered, NetError> {
        let mut attempt = Attempt::new(request, hop);
        let mut credentials: Option<HeaderValue> = None;
        'connection: loop {
            // On the heap until it is there: most of a check's time is spent after that, waiting for the answer.
            let reached = Box::pin(self.reach(request, &hop.url, false, seen, deadline)).await;
            let (reached, peer) = reached?;
            let form = reached.form.clone();
            let forwarded = form.is_forwarded();
            // A forwarding proxy is the one we talk to; only how long the target takes is not its doing.
            let blame = |error| match error {
                NetError::Closed(_) | NetError::Reset(_) | NetError::Protocol(_) if forwarded => {
                    NetError::Proxy(error.to_string())
                }
                error => error,
            };
            let opened = Box::pin(Exchange::open(reached, deadline)).await;
            let mut exchange = opened.map_err(blame)?;
            loop {
                let message = hop.message(&form, credentials.as_ref())?;
                let (parts, incoming) = exchange.head(message, seen).await.map_err(blame)?;
                if let Some(answer) = attempt.answer(self, &parts).await? {
                    credentials = Some(answer);
                    if exchange.rest(incoming).await {
                        continue;
                    }
                    attempt.reconnect()?;
                    continue 'connection;
                }
                let follows = request.max_redirects > 0 && hop::location(&parts).is_some();
                let body = match request.wanted(parts.status).filter(|_| !follows) {
                    None => Body::default(),
                    Some(cap) => exchange.body(&parts, incoming, cap, seen).await.map_err(blame)?,
                };
                return Ok(Answered {
                    parts,
                    body,
                    peer,
                    forwarded,
                });
            }
        }
    }
}

/// What one hop came to.
struct Answered {
    parts: Parts,
    body: Body,
    peer: SocketAddr,
    forwarded: bool,
}

/// What is known of an exchange so far; survives its failure.
struct Seen {
    start: Instant,
    timing: Timing,
    status: Option<StatusCode>,
    tls: Option<TlsInfo>,
}

impl Seen {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            timing: Timing::default(),
            status: None,
            tls: None,
        }
    }

    fn failure(mut self, error: NetError) -> Box<Failure> {
        if let NetError::Certificate { info: Some(info), .. } = &error {
            self.tls = Some((**info).clone());
        }
        self.timing.total = self.start.elapsed();
        Box::new(Failure {
            error,
            status: self.status,
            tls: self.tls,
            timing: self.timing,
        })
    }
}
