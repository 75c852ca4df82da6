//! HTTP exchanges, carried out by the host: TLS, redirects and decompression are its business.

pub use crate::bindings::lapwing::plugin::http::HeaderValue;
use crate::{
    Failure,
    net::{Fault, IpFamily, NetError, Peer, Timing, TlsInfo, TlsOptions, timeout},
    sys::http as host,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Cow, time::Duration};

/// Body bytes to read unless [`Request::max_body_bytes`] says otherwise.
pub const DEFAULT_MAX_BODY_BYTES: u32 = 256 << 10;

/// Sends a GET request without headers of its own, following no redirect.
pub fn get(url: &str) -> Result<Response, NetError> {
    Request::new("GET", url).send()
}

/// Sends `body` as JSON with POST.
pub fn post_json(url: &str, body: &impl Serialize) -> Result<Response, Failure> {
    Ok(Request::new("POST", url).json(body)?.send()?)
}

/// A request being put together.
#[derive(Debug, Clone)]
pub struct Request {
    inner: host::HttpRequest,
    limit: Option<Duration>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, url: &str) -> Self {
        let inner = host::HttpRequest {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: None,
            max_redirects: 0,
            max_response_bytes: DEFAULT_MAX_BODY_BYTES,
            timeout: 0,
            family: IpFamily::Any,
            tls: None,
        };
        Self { inner, limit: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.inner
            .headers
            .push((name.to_owned(), HeaderValue::Text(value.to_owned())));
        self
    }

    /// Adds a header whose value is the granted secret `name_of_secret`: the host fills it in, the plugin never sees it.
    #[must_use]
    pub fn secret_header(mut self, name: &str, name_of_secret: &str) -> Self {
        self.inner
            .headers
            .push((name.to_owned(), HeaderValue::Secret(name_of_secret.to_owned())));
        self
    }

    /// Sends these bytes as the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.inner.body = Some(body.into());
        self
    }

    /// Sends `body` as JSON. The error is the plugin's own: a body that cannot be written as JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Self, Failure> {
        let bytes = serde_json::to_vec(body)
            .map_err(|error| Failure::internal(format!("body is no JSON: {error}")))?;
        Ok(self.header("content-type", "application/json").body(bytes))
    }

    /// Follows up to `hops` redirects; the network policy judges each.
    #[must_use]
    pub fn follow_redirects(mut self, hops: u8) -> Self {
        self.inner.max_redirects = hops;
        self
    }

    /// Reads at most this much of the body; of more, [`Response::truncated`] tells, and [`Response::text`] and
    /// [`Response::json`] fail.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: u32) -> Self {
        self.inner.max_response_bytes = bytes;
        self
    }

    /// Takes no longer than `limit`, nor longer than the run has left.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Uses addresses of `family` only.
    #[must_use]
    pub fn family(mut self, family: IpFamily) -> Self {
        self.inner.family = family;
        self
    }

    /// Speaks TLS this way, for `https` URLs.
    #[must_use]
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.inner.tls = Some(options.into());
        self
    }

    /// Sends the request and waits for the whole response. Every status is a response, not an error.
    pub fn send(mut self) -> Result<Response, NetError> {
        self.inner.timeout = timeout(self.limit);
        let response = host::send(&self.inner)?;
        let host::HttpResponse {
            status,
            version,
            headers,
            body,
            truncated,
            final_url,
            peer,
            timing,
            tls,
        } = response;
        Ok(Response {
            status,
            version,
            headers,
            body,
            truncated,
            final_url,
            peer,
            timing: timing.into(),
            tls,
        })
    }
}

/// What the last hop answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Version spoken: `HTTP/1.1`, `HTTP/2`.
    pub version: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, decompressed.
    pub body: Vec<u8>,
    /// Whether there was more of it than was asked for.
    pub truncated: bool,
    /// URL of the last hop.
    pub final_url: String,
    /// Address of the last hop.
    pub peer: Peer,
    /// Time spent, over all hops.
    pub timing: Timing,
    /// The last TLS session.
    pub tls: Option<TlsInfo>,
}

impl Response {
    /// The first header of this name, whatever its case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body as text; bytes that are not UTF-8 are replaced by U+FFFD. Fails as [`Response::whole`].
    pub fn text(&self) -> Result<Cow<'_, str>, NetError> {
        self.whole().map(String::from_utf8_lossy)
    }

    /// The whole body. Of one that was cut nothing can be concluded: the error is the plugin's own limit, not the target's
    /// doing.
    pub fn whole(&self) -> Result<&[u8], NetError> {
        if self.truncated {
            return Err(Fault::Limit("the body is larger than `max_body_bytes`".to_owned()).into());
        }
        Ok(&self.body)
    }

    /// The body read as JSON; a body that is something else breaks the protocol. Fails as [`Response::whole`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, NetError> {
        serde_json::from_slice(self.whole()?)
            .map_err(|error| NetError::protocol(format!("body is no such JSON: {error}")))
    }
}
