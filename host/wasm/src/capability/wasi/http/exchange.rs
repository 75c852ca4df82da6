//! One request over one connection: dial, encrypt, send, and hand the answer's body on as it comes.

use super::{
    Ticket,
    body::{Inward, Outward},
    code,
};
use crate::{capability::tcp::book_dial, ledger::Flight};
use http::{HeaderValue, Method, Request, Response, Uri, header, uri::Scheme};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lapwing_checks::net::{Counted, Host, IpFamily, NetError, http::MAX_FIELDS, tls::TlsOptions};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// How the connection ends, which is told by the body as well.
type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The head of the answer with its body, and the connection.
pub(super) type Answer = Result<(Response<WasiBody>, Rest), Error>;

/// The most of the answer's head that is held.
const HEAD_BYTES: usize = 256 << 10;

/// Why there is no answer: as the guest is told it, and as the trace tells it.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
struct Failure {
    told: Error,
    why: String,
}

impl From<Error> for Failure {
    fn from(told: Error) -> Self {
        Self {
            why: told.to_string(),
            told,
        }
    }
}

/// Sends `request`. Bytes are counted on their way; failures are written down as they come.
pub(super) async fn exchange(ticket: Ticket, request: Request<WasiBody>, options: RequestOptions) -> Answer {
    let (ledger, begun) = (ticket.meter.ledger.clone(), ticket.begun);
    let answer = attempt(ticket, request, options).await;
    ledger.call_ends(begun, &answer, |(response, _)| {
        response.status().as_str().to_owned()
    });
    answer.map_err(|failure| failure.told)
}

async fn attempt(
    ticket: Ticket,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<(Response<WasiBody>, Rest), Failure> {
    let target = Target::of(&request)?;
    let stream = match ticket.reach(&target, options.connect_timeout).await {
        Ok(stream) => stream,
        Err(error) => {
            let denied = matches!(error, NetError::Denied(_)) && target.is_denied_by_name(&ticket);
            ticket.meter.ledger.book_failure(&error);
            ticket.flight.land();
            return Err(Failure {
                told: if denied {
                    Error::HttpRequestDenied
                } else {
                    code::of(&error)
                },
                why: error.to_string(),
            });
        }
    };
    Ok(ticket.converse(stream, target, request, options).await?)
}

/// Whom a request is for.
struct Target {
    host: String,
    port: u16,
    encrypted: bool,
    /// As in the `Host` header.
    authority: HeaderValue,
    /// `host:port`, for messages.
    name: String,
}

impl Target {
    fn of(request: &Request<WasiBody>) -> Result<Self, Error> {
        // It would ask for a tunnel, through which no rule looks.
        if *request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let uri = request.uri();
        let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?;
        let encrypted = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let authority = match uri.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            encrypted,
            authority: HeaderValue::try_from(authority).map_err(|_| Error::HttpRequestUriInvalid)?,
            name: format!("{host}:{port}"),
        })
    }

    fn is_denied_by_name(&self, ticket: &Ticket) -> bool {
        matches!(Host::parse(&self.host), Ok(Host::Name(_)))
            && ticket.net.judge_name(&self.host, Some(self.port)).is_err()
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

impl Ticket {
    /// Opens the way, within the time the guest gives for it.
    async fn reach(&self, target: &Target, own: Option<Duration>) -> Result<Box<dyn Duplex>, NetError> {
        let begun = Instant::now();
        let deadline = own
            .and_then(|own| begun.checked_add(own))
            .map_or(self.deadline, |own| own.min(self.deadline));
        let ledger = &self.meter.ledger;
        self.flight
            .turn(Some(NetError::ConnectTimeout(target.name.clone())));
        let dialled = self
            .net
            .connect(&target.host, target.port, IpFamily::Any, deadline);
        let dialled = dialled.await;
        book_dial(ledger, &dialled, begun.elapsed());
        let stream = dialled?.stream;
        if !target.encrypted {
            return Ok(Box::new(stream));
        }
        self.flight.turn(Some(NetError::TlsTimeout(target.name.clone())));
        let options = TlsOptions {
            alpn: vec!["http/1.1".to_owned()],
            ..TlsOptions::default()
        };
        let begun = Instant::now();
        let session = self.net.handshake(stream, &target.host, &options, deadline).await;
        ledger.spend("tls", begun.elapsed());
        let session = session?;
        ledger.entries().tls = Some(session.info);
        Ok(Box::new(session.stream))
    }

    /// Sends the request and waits for the head of the answer.
    async fn converse(
        self,
        stream: Box<dyn Duplex>,
        target: Target,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Answer {
        let Self {
            worker,
            meter,
            flight,
            seat,
            ..
        } = self;
        let ledger = meter.ledger.clone();
        let begun = Instant::now();
        let flight = Arc::new(flight);
        let step = NetError::ResponseTimeout(format!("{} did not answer", target.name));
        flight.turn(Some(step.clone()));
        let request = message(request, &target, |body| {
            Outward::new(body, flight.clone(), step.clone())
        })?;
        let sent = async {
            let io = TokioIo::new(Counted::new(stream, Arc::new(meter.clone())));
            let (mut sender, connection) = http1::Builder::new()
                .title_case_headers(true)
                .max_buf_size(HEAD_BYTES)
                .max_headers(MAX_FIELDS)
                .handshake(io)
                .await?;
            let connection = AbortOnDropHandle::new(worker.spawn(connection));
            Ok((sender.send_request(request).await?, connection))
        };
        let own = options.first_byte_timeout.unwrap_or(Duration::MAX);
        let sent = timeout(own, sent).await;
        ledger.spend("first_byte", begun.elapsed());
        let failure = match sent {
            Ok(Ok((response, connection))) => {
                land(flight);
                let body = |incoming| {
                    let patience = options.between_bytes_timeout;
                    Inward::new(incoming, ledger, target.name, patience, seat).boxed_unsync()
                };
                let rest = async move {
                    // How it ended is told by the body.
                    drop(connection.await);
                    Ok(())
                };
                return Ok((response.map(body), Box::new(rest)));
            }
            Ok(Err(error)) => {
                let seen = NetError::from_hyper(&error, &target.name);
                ledger.book_failure(&seen);
                code::of(&seen)
            }
            Err(_) => {
                ledger.entries().timed_out = true;
                Error::HttpResponseTimeout
            }
        };
        land(flight);
        Err(failure)
    }
}

/// The request's body may still hold the other end; it only turns the flight.
fn land(flight: Arc<Flight>) {
    flight.turn(None);
    if let Some(flight) = Arc::into_inner(flight) {
        flight.land();
    }
}

/// The request as it goes over the wire: the path for a URI, and the host we judged.
fn message<B>(
    request: Request<WasiBody>,
    target: &Target,
    body: impl FnOnce(WasiBody) -> B,
) -> Result<Request<B>, Error> {
    let (mut parts, guest) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    // A query without a path would join the method and the version.
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    parts.uri = path.parse::<Uri>().map_err(|_| Error::HttpRequestUriInvalid)?;
    parts.headers.insert(header::HOST, target.authority.clone());
    Ok(Request::from_parts(parts, body(guest)))
}
