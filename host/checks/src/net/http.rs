//! One HTTP exchange with its redirects: the engine under the `http` kinds and under the plugins' `http` import.
//!
//! It reports and never judges: which status is good, and whether a short body matters, is its callers' business.

mod body;
mod cookies;
mod exchange;
mod hop;
mod route;
mod stamp;

use super::{IpFamily, Net, NetError, tls::TlsOptions};
use hop::Hop;
use http::{HeaderMap, Method, StatusCode, Version};
use lapwing_model::{Phase, Proxy, TlsInfo};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{net::SocketAddr, time::Duration};
use tokio::time::Instant;
use url::Url;

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
    /// How much of the body to read, after decompression; `None` does not read it at all.
    pub max_body_bytes: Option<usize>,
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

impl Net {
    /// Sends one request and follows its redirects; every hop is judged by the policy anew. One connection a hop,
    /// closed when this returns. Ends by `deadline` with the timeout of the phase it cut. Cancel safe: dropping the
    /// future closes the connection.
    pub async fn send(&self, request: Request, deadline: Instant) -> Result<Response, Box<Failure>> {
        let start = Instant::now();
        let mut seen = Seen {
            start,
            timing: Timing::default(),
            status: None,
            tls: None,
        };
        match self.follow(&request, &mut seen, deadline).await {
            Ok(mut response) => {
                response.timing.total = start.elapsed();
                Ok(response)
            }
            Err(error) => {
                if let NetError::Certificate { info: Some(info), .. } = &error {
                    seen.tls = Some((**info).clone());
                }
                seen.timing.total = start.elapsed();
                let Seen {
                    timing, status, tls, ..
                } = seen;
                Err(Box::new(Failure {
                    error,
                    status,
                    tls,
                    timing,
                }))
            }
        }
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
            // Where a redirect leads is the target's choice, not the user's.
            let blame = |error| match error {
                NetError::InvalidInput(text) if redirects > 0 => NetError::RedirectInvalid(text),
                error => error,
            };
            let reached = self
                .reach(request, &hop.url, seen, deadline)
                .await
                .map_err(blame)?;
            let peer = reached.peer;
            let wanted = |parts: &http::response::Parts| {
                if request.max_redirects > 0 && hop::location(parts).is_some() {
                    None
                } else {
                    request.max_body_bytes
                }
            };
            let message = hop.message(&reached.form).map_err(blame)?;
            let forwarded = reached.form.is_forwarded();
            let answered = exchange::exchange(reached, message, wanted, seen, deadline).await;
            let (parts, body) = answered.map_err(|error| match error {
                // A forwarding proxy is the one we talk to; only how long the target takes is not its doing.
                NetError::Closed(_) | NetError::Reset(_) | NetError::Protocol(_) if forwarded => {
                    NetError::Proxy(error.to_string())
                }
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
}

/// What is known of an exchange so far; survives its failure.
struct Seen {
    start: Instant,
    timing: Timing,
    status: Option<StatusCode>,
    tls: Option<TlsInfo>,
}
