//! `http`: one request with its redirects, by the same engine as the native `http` kinds.

use super::{Answer, convert, secrets::IDENTITY};
use crate::{
    abi::v1::wit::{
        http::{HeaderValue as GuestHeader, Host, HttpRequest, HttpResponse},
        net_types::{NetError as GuestError, Timing as GuestTiming, TlsOptions as GuestTls},
    },
    guest::Guest,
    rights::Right,
    text,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header::InvalidHeaderValue};
use lapwing_checks::net::{
    NetError,
    http::{Failure, HttpVersion, MAX_URL, Request, Response, Timing},
    tls::TlsOptions,
};
use std::time::Duration;
use url::Url;

impl Host for Guest {
    async fn send(&mut self, request: HttpRequest) -> Answer<HttpResponse> {
        let begun = self.call_begins("http.send", || format!("{} {}", request.method, request.url));
        let answer = self.exchange(request).await?;
        self.call_ends(begun, &answer, |response| {
            let HttpResponse {
                status, body, peer, ..
            } = response;
            format!(
                "{status} with {} bytes from {}:{}",
                body.len(),
                peer.address,
                peer.port
            )
        });
        Ok(answer)
    }
}

impl Guest {
    async fn exchange(&mut self, request: HttpRequest) -> Answer<HttpResponse> {
        let timeout = request.timeout;
        let net = match self.permit(Right::Http) {
            Ok(net) => net,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (wanted, before) = (request.max_response_bytes, self.quotas.shared.bytes());
        let request = match self.admit(request).await {
            Ok(request) => request,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let step = NetError::ResponseTimeout(request.url.host_str().unwrap_or_default().to_owned());
        let work = move |deadline| async move { net.send(&request, deadline).await.map(Box::new) };
        let done = self.on_network(step, timeout, work).await?;
        match &done.value {
            Ok(response) => self.book_exchange(&response.timing, response.tls.as_ref()),
            Err(failure) => self.book_exchange(&failure.timing, failure.tls.as_ref()),
        }
        let answer = self.settle(done.map(|result| result.map_err(|failure: Box<Failure>| failure.error)))?;
        Ok(answer.and_then(|response| self.account(&response, wanted, before)))
    }

    /// Checks quotas, fills in secrets, translates.
    async fn admit(&mut self, mut asked: HttpRequest) -> Result<Box<Request>, GuestError> {
        let mut request = self.draft(&mut asked)?;
        let host = convert::host(request.url.host_str().unwrap_or_default());
        let port = request.url.port_or_known_default().unwrap_or_default();
        let identity = match asked.tls.as_ref().and_then(|tls| tls.client_identity.as_ref()) {
            Some(name) => Some(self.fill_in(name, IDENTITY, (&host, port), false).await?),
            None => None,
        };
        // Whoever shows a certificate for another name is not the host that the secret is for.
        let poses = |tls: &GuestTls| {
            !tls.verify
                || tls
                    .server_name
                    .as_ref()
                    .is_some_and(|name| !name.eq_ignore_ascii_case(&host))
        };
        let open = request.url.scheme() != "https" || asked.tls.as_ref().is_some_and(poses);
        let filled = |(_, value): &(String, GuestHeader)| matches!(value, GuestHeader::Secret(_));
        if identity.is_some() || asked.headers.iter().any(filled) {
            self.admit_company(&asked, &request)?;
        }
        for (name, value) in asked.headers {
            let (value, secret) = match value {
                GuestHeader::Text(value) => (HeaderValue::try_from(value), false),
                GuestHeader::Secret(secret) => {
                    let place = format!("header `{}`", text::line(&name, 64));
                    let secret = self.fill_in(&secret, &place, (&host, port), open).await?;
                    (HeaderValue::from_str(&secret), true)
                }
            };
            self.add_header(&mut request.headers, name, value, secret)?;
        }
        if let Some(options) = asked.tls {
            request.tls = convert::tls_options(options, identity.as_deref());
        }
        Ok(request)
    }

    /// The request but for its headers and how it is encrypted. Apart, as all that has large values here: what a call
    /// keeps on the guest's stack while it waits stays in memory that long.
    #[inline(never)]
    fn draft(&self, asked: &mut HttpRequest) -> Result<Box<Request>, GuestError> {
        drop(self.take_seat()?);
        let max_body = self.room_for(asked.max_response_bytes)?;
        if asked.url.len() > MAX_URL {
            return Err(self.unfit(&format!("a url of more than {MAX_URL} bytes")));
        }
        let url = Url::parse(&asked.url).map_err(|error| self.unfit(&format!("invalid url: {error}")))?;
        Ok(Box::new(Request {
            method: Method::from_bytes(asked.method.as_bytes()).map_err(|_| self.unfit("invalid method"))?,
            url,
            headers: HeaderMap::new(),
            body: asked.body.take().unwrap_or_default().into(),
            max_redirects: asked.max_redirects,
            family: convert::family(asked.family),
            version: HttpVersion::Any,
            tls: TlsOptions::default(),
            proxy: None,
            login: None,
            body_statuses: None,
            max_body_bytes: Some(max_body),
        }))
    }

    /// What must not go along with a secret: what leads it to another site, or has it sent back.
    fn admit_company(&self, asked: &HttpRequest, request: &Request) -> Result<(), GuestError> {
        if request.method == Method::TRACE {
            return Err(self.refuse("a secret in a `TRACE` request, whose answer has it"));
        }
        if asked
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            return Err(self.refuse("a secret in a request with a `host` header of its own"));
        }
        Ok(())
    }

    #[inline(never)]
    fn add_header(
        &self,
        headers: &mut HeaderMap,
        name: String,
        value: Result<HeaderValue, InvalidHeaderValue>,
        secret: bool,
    ) -> Result<(), GuestError> {
        let mut value = value.map_err(|_| {
            let shown = text::line(&name, 64);
            self.unfit(&format!("header `{shown}` has an invalid value"))
        })?;
        // What is sensitive does not follow a redirect to another origin.
        value.set_sensitive(secret);
        let name = HeaderName::try_from(name).map_err(|_| self.unfit("a header has an invalid name"))?;
        let added = headers.try_append(name, value);
        added.map(drop).map_err(|_| self.unfit("too many headers"))
    }

    fn book_exchange(&self, timing: &Timing, tls: Option<&lapwing_model::TlsInfo>) {
        for phase in timing.phases() {
            self.ledger.spend(&phase.name, phase.elapsed);
        }
        if let Some(tls) = tls {
            self.ledger.entries().tls = Some(tls.clone());
        }
    }

    /// Connections and bytes were counted on their way. What was unpacked here counts by its size.
    #[inline(never)]
    fn account(&self, response: &Response, wanted: u32, before: usize) -> Result<HttpResponse, GuestError> {
        let (quota, length) = (&self.quotas.shared, response.body.len());
        let passed = before.saturating_sub(quota.bytes());
        quota.use_bytes(length.saturating_sub(passed));
        if response.truncated && length < usize::try_from(wanted).unwrap_or(usize::MAX) {
            return Err(self.exhaust_bytes());
        }
        Ok(HttpResponse {
            status: response.status.as_u16(),
            version: version(response.version).to_owned(),
            headers: response
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body: response.body.to_vec(),
            truncated: response.truncated,
            final_url: response.final_url.as_str().to_owned(),
            peer: convert::peer(response.peer),
            timing: guest_timing(&response.timing),
            tls: response.tls.as_ref().map(convert::tls_info),
        })
    }
}

fn guest_timing(timing: &Timing) -> GuestTiming {
    let some = |elapsed: Duration| Some(convert::nanoseconds(elapsed));
    GuestTiming {
        dns: some(timing.resolve),
        connect: some(timing.connect),
        tls: timing.tls.and_then(some),
        first_byte: some(timing.first_byte),
        total: convert::nanoseconds(timing.total),
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
