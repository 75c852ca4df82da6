//! One unary call: tonic's protocol over a connection of ours.
//!
//! As with HTTP, the connection is driven inside the caller's own future, and closed when that ends or is dropped.

use crate::{
    ProbeContext,
    findings::invalid,
    net::{
        IpFamily, NetError,
        http::{Failure, HttpVersion, Opened, Request, Stamps, Timing, drive, open_http2},
        tls::TlsOptions,
    },
    schema,
};
use bytes::{Buf, BufMut, Bytes};
use http::{HeaderMap, HeaderValue, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::client::conn::http2::SendRequest;
use lapwing_model::{Observation, Reason, TlsInfo};
use std::{
    error::Error,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::time::{self, Instant};
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};
use tower_service::Service;
use url::Url;

/// Largest answer to accept, in bytes: decoded it may take sixty times as much.
const MAX_MESSAGE: usize = 256 * 1024;

/// What to call.
pub(super) struct Call {
    /// `host:port`.
    pub(super) authority: String,
    /// In plain text where there are none.
    pub(super) tls: Option<TlsOptions>,
    pub(super) family: IpFamily,
    /// `/package.Service/Method`.
    pub(super) path: String,
    pub(super) metadata: HeaderMap,
    /// The request, encoded.
    pub(super) message: Bytes,
}

/// What came back.
pub(super) struct Replied {
    /// The message, or the status that is there instead.
    pub(super) outcome: Result<Bytes, Status>,
    peer: SocketAddr,
    tls: Option<TlsInfo>,
    timing: Timing,
}

impl Replied {
    /// `seen`, with all that is known of the call.
    pub(super) fn describe(self, seen: Observation) -> Observation {
        let code = self.outcome.map_or_else(|status| status.code(), |_| Code::Ok);
        let mut seen = seen
            .with_latency(self.timing.to_head)
            .with_attribute("grpc.status", name(code))
            .with_attribute("peer", self.peer.to_string());
        seen.phases = self.timing.phases();
        seen.tls = self.tls;
        seen
    }
}

impl Call {
    /// Makes the call. An error is a failure on the way; what the server says is an outcome.
    pub(super) async fn make(self, cx: &ProbeContext) -> Result<Replied, Box<Failure>> {
        let start = Instant::now();
        let fail = |error, tls, timing| {
            Box::new(Failure {
                error,
                status: None,
                tls,
                timing,
            })
        };
        let unfit = |error: &dyn std::fmt::Display| {
            fail(
                NetError::InvalidInput(format!("`{}`: {error}", self.authority)),
                None,
                Timing::default(),
            )
        };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{}", self.authority)).map_err(|error| unfit(&error))?;
        let origin: Uri = url.as_str().parse().map_err(|error| unfit(&error))?;
        let path: PathAndQuery = self.path.parse().map_err(|error| unfit(&error))?;
        let way = Request {
            version: HttpVersion::Http2,
            family: self.family,
            tls: self.tls.clone().unwrap_or_default(),
            ..Request::get(url)
        };
        let Opened {
            stream,
            peer,
            target,
            tls,
            mut timing,
        } = cx.net.open(&way, cx.deadline).await?;
        let mut request = tonic::Request::new(self.message);
        *request.metadata_mut() = MetadataMap::from_headers(self.metadata);
        let called = Instant::now();
        let talk = async {
            let (mut connection, sender) = open_http2(stream, &Stamps::default())
                .await
                .map_err(|error| NetError::from_hyper(&error, &target))?;
            let channel = Channel {
                sender,
                target: target.clone(),
            };
            let mut client =
                tonic::client::Grpc::with_origin(channel, origin).max_decoding_message_size(MAX_MESSAGE);
            Ok(drive(&mut connection, client.unary(request, path, Raw)).await)
        };
        let outcome = time::timeout_at(cx.deadline, talk).await;
        timing.first_byte = called.elapsed();
        timing.to_head = start.elapsed();
        timing.total = timing.to_head;
        let late = || Err(NetError::ResponseTimeout(format!("{target} did not answer")));
        let outcome = outcome
            .unwrap_or_else(|_| late())
            .map(|outcome| outcome.map(tonic::Response::into_inner));
        let outcome = outcome.and_then(|outcome| match outcome {
            Err(status) => broken(&status).map_or(Ok(Err(status)), Err),
            ok => Ok(ok),
        });
        match outcome {
            Ok(outcome) => Ok(Replied {
                outcome,
                peer,
                tls,
                timing,
            }),
            Err(error) => Err(fail(error, tls, timing)),
        }
    }
}

/// A connection as tonic wants it. What fails on it is kept in our words.
struct Channel {
    sender: SendRequest<tonic::body::Body>,
    target: String,
}

/// A failure of the connection, on its way through tonic.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(NetError);

fn broken(status: &Status) -> Option<NetError> {
    let cause = status.source()?.downcast_ref::<Broken>()?;
    Some(cause.0.clone())
}

type Reply = http::Response<UnsyncBoxBody<Bytes, Broken>>;

impl Service<http::Request<tonic::body::Body>> for Channel {
    type Response = Reply;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Broken>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.sender
            .poll_ready(cx)
            .map_err(|error| Broken(NetError::from_hyper(&error, &self.target)))
    }

    fn call(&mut self, mut request: http::Request<tonic::body::Body>) -> Self::Future {
        request.headers_mut().insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("lapwing/", env!("CARGO_PKG_VERSION"))),
        );
        let (answer, target) = (self.sender.send_request(request), self.target.clone());
        Box::pin(async move {
            let sort = move |error: hyper::Error| Broken(NetError::from_hyper(&error, &target));
            let response = answer.await.map_err(&sort)?;
            is_grpc(&response).map_err(|error| Broken(NetError::Protocol(error)))?;
            Ok(response.map(|body| body.map_err(sort).boxed_unsync()))
        })
    }
}

/// A web server behind the port answers, too, and not with gRPC.
fn is_grpc<B>(response: &http::Response<B>) -> Result<(), String> {
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
    match kind {
        Some(kind) if kind.starts_with("application/grpc") => Ok(()),
        kind => Err(format!(
            "the answer is no gRPC: HTTP status {}, content type `{}`",
            response.status().as_u16(),
            kind.unwrap_or_default()
        )),
    }
}

/// Messages as they are: they are encoded and decoded elsewhere.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// The word for a status that is not OK.
pub(super) fn reason(status: &Status) -> Reason {
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => Reason::AuthFailed,
        Code::DeadlineExceeded => Reason::ResponseTimeout,
        // Only tonic itself says these: the message is not as its frame says, or there is no status.
        Code::OutOfRange if status.message().contains("message length too large") => Reason::BodyTooLarge,
        _ => Reason::AssertionFailed,
    }
}

/// A status for people: its name, and what the server says.
pub(super) fn told(status: &Status) -> String {
    match status.message() {
        "" => name(status.code()).to_owned(),
        message => format!("{}: {message}", name(status.code())),
    }
}

/// gRPC's own spelling of a code.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Metadata of a user's, without what the protocol says itself.
pub(super) fn admit(metadata: HeaderMap, field: &str) -> Result<HeaderMap, schema::Fault> {
    let ours = |name: &str| {
        matches!(name, "te" | "content-type" | "host" | "user-agent" | "connection")
            || name.starts_with("grpc-")
    };
    match metadata.keys().find(|name| ours(name.as_str())) {
        Some(name) => Err(invalid(field, format_args!("`{name}` is the protocol's own"))),
        None => Ok(metadata),
    }
}
