//! Requests and their responses over one connection.
//!
//! The connection is driven inside the caller's own future, not spawned: when that future ends or is dropped, the
//! connection is closed, with nothing to wait for. (HTTP/2 needs tasks of its own; they go with the connection.)

use super::{
    Seen, body,
    hop::Form,
    route::Reached,
    stamp::{Stamped, Stamps},
};
use crate::net::{Counted, NetError};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, response::Parts};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Body, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use std::{
    error::Error,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{self, Instant},
};

/// Most fields of one head of HTTP/1 that are read.
pub const MAX_FIELDS: usize = 1000;
/// Largest head of HTTP/2, or set of trailers, as [RFC 9113 §6.5.2] counts it, in bytes.
///
/// [RFC 9113 §6.5.2]: https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2
const MAX_FIELDS_SIZE: u32 = 128 * 1024;
/// The most of an unwanted body that is read to use its connection once more, in bytes.
const MAX_REST: usize = 256 * 1024;

type Message = Request<Full<Bytes>>;

/// One HTTP connection, for one request after the other.
pub(super) struct Exchange {
    connection: BoxFuture<'static, ()>,
    sender: Sender,
    stamps: Stamps,
    began: Instant,
    target: String,
    deadline: Instant,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Exchange {
    /// Begins to speak HTTP.
    pub(super) async fn open(reached: Reached, deadline: Instant) -> Result<Self, NetError> {
        let (began, stamps, target) = (Instant::now(), Stamps::default(), reached.target);
        let counted = Counted::by(reached.stream, reached.toll);
        let opening = open(counted, &stamps, reached.form == Form::Http2);
        let (connection, sender) = time::timeout_at(deadline, opening)
            .await
            .map_err(|_| NetError::ResponseTimeout(format!("{target} did not take the request")))?
            .map_err(|error| NetError::from_hyper(&error, &target))?;
        Ok(Self {
            connection,
            sender,
            stamps,
            began,
            target,
            deadline,
        })
    }

    /// Sends `message` and reads the head of the response.
    pub(super) async fn head(
        &mut self,
        message: Message,
        seen: &mut Seen,
    ) -> Result<(Parts, Incoming), NetError> {
        let head = self.sender.send(message);
        let head = time::timeout_at(self.deadline, drive(&mut self.connection, head)).await;
        self.stamps.answered();
        let written = self.stamps.written().unwrap_or(self.began).max(self.began);
        seen.timing.send += written - self.began;
        seen.timing.first_byte += written.elapsed();
        seen.timing.to_head = seen.start.elapsed();
        let (parts, incoming) = head
            .map_err(|_| self.timed_out("did not answer"))?
            .map_err(|error| self.failed(&error))?
            .into_parts();
        seen.status = Some(parts.status);
        Ok((parts, incoming))
    }

    /// Reads the body of the last response, at most `cap` bytes of it.
    pub(super) async fn body(
        &mut self,
        parts: &Parts,
        incoming: Incoming,
        cap: usize,
        seen: &mut Seen,
    ) -> Result<body::Body, NetError> {
        let reading = Instant::now();
        let body = drive(&mut self.connection, body::read(incoming, &parts.headers, cap));
        let body = time::timeout_at(self.deadline, body).await;
        seen.timing.receive += reading.elapsed();
        body.map_err(|_| self.timed_out("did not finish its body"))?
    }

    /// Reads the rest of the last response away, in a quarter of what time is left; whether another request can follow on
    /// this connection.
    pub(super) async fn rest(&mut self, incoming: Incoming) -> bool {
        let sender = &mut self.sender;
        let rest = async {
            let whole = Limited::new(incoming, MAX_REST).collect().await.is_ok();
            whole && sender.ready().await
        };
        let patience = self.deadline.saturating_duration_since(Instant::now()) / 4;
        let ready = time::timeout(patience, drive(&mut self.connection, rest)).await;
        self.stamps.restart();
        self.began = Instant::now();
        ready.unwrap_or(false)
    }

    /// What went wrong; who answers the preface of HTTP/2 in HTTP/1 has broken no rule of its own.
    fn failed(&self, error: &hyper::Error) -> NetError {
        if matches!(self.sender, Sender::Http2(_)) && self.stamps.is_http1() {
            return NetError::VersionMismatch(format!("{} answers HTTP/2 in HTTP/1", self.target));
        }
        NetError::from_hyper(error, &self.target)
    }

    fn timed_out(&self, what: &str) -> NetError {
        NetError::ResponseTimeout(format!("{} {what}", self.target))
    }
}

impl Sender {
    fn send(
        &mut self,
        message: Message,
    ) -> BoxFuture<'static, Result<http::Response<Incoming>, hyper::Error>> {
        match self {
            Self::Http1(sender) => sender.send_request(message).boxed(),
            Self::Http2(sender) => sender.send_request(message).boxed(),
        }
    }

    async fn ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

/// Begins an HTTP connection. It must be polled for as long as its sender is used.
async fn open<S>(
    stream: S,
    stamps: &Stamps,
    http2: bool,
) -> Result<(BoxFuture<'static, ()>, Sender), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if http2 {
        let (connection, sender) = open_http2(stream, stamps).await?;
        return Ok((connection, Sender::Http2(sender)));
    }
    let io = TokioIo::new(Stamped::http1(stream, stamps.clone()));
    let (sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_headers(MAX_FIELDS)
        .handshake(io)
        .await?;
    // How a connection ends is told to whoever waits for its response; here only its end matters.
    Ok((connection.map(drop).fuse().boxed(), Sender::Http1(sender)))
}

/// As [`open`], of HTTP/2.
pub(crate) async fn open_http2<S, B>(
    stream: S,
    stamps: &Stamps,
) -> Result<(BoxFuture<'static, ()>, http2::SendRequest<B>), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let io = TokioIo::new(Stamped::http2(stream, stamps.clone()));
    let (sender, connection) = http2::Builder::new(Helpers::default())
        .max_header_list_size(MAX_FIELDS_SIZE)
        .handshake(io)
        .await?;
    Ok((connection.map(drop).fuse().boxed(), sender))
}

/// Polls `connection` for as long as `work` takes.
pub(crate) async fn drive<T>(connection: &mut BoxFuture<'static, ()>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let _ = connection.as_mut().poll(cx);
        work.as_mut().poll(cx)
    })
    .await
}

/// The tasks hyper wants for HTTP/2. They end with the connection: it holds the set, and a set that is dropped aborts
/// what is in it.
#[derive(Clone, Default)]
struct Helpers {
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl<F> hyper::rt::Executor<F> for Helpers
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(future.map(drop));
    }
}
