//! One request and its response over one connection.
//!
//! The connection is driven inside the caller's own future, not spawned: when that future ends or is dropped, the
//! connection is closed, with nothing to wait for. (HTTP/2 needs tasks of its own; they go with the connection.)

use super::{
    Seen,
    body::{self, Body},
    hop::Form,
    route::Reached,
    stamp::{Stamped, Stamps},
};
use crate::net::NetError;
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, response::Parts};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

/// The most a peer may send before the head of its answer is complete, in bytes.
const MAX_HEADS: usize = 1024 * 1024;

type Message = Request<Full<Bytes>>;
type Head = http::Response<Incoming>;

/// Sends `message` and reads the response: its head, then as much of its body as `wanted` says (`None`: nothing).
pub(super) async fn exchange(
    reached: Reached,
    message: Message,
    wanted: impl FnOnce(&Parts) -> Option<usize>,
    seen: &mut Seen,
    deadline: Instant,
) -> Result<(Parts, Body), NetError> {
    let began = Instant::now();
    let stamps = Stamps::default();
    // In HTTP/2 the body may be read before its head is looked at; there 1xx heads are the library's to bound.
    let http2 = reached.form == Form::Http2;
    let limit = if http2 { usize::MAX } else { MAX_HEADS };
    let io = TokioIo::new(Stamped::new(reached.stream, stamps.clone(), limit));
    let opened = time::timeout_at(deadline, open(io, message, http2)).await;
    let timed_out = |what: &str| NetError::ResponseTimeout(format!("{} {what}", reached.target));
    let broken = |error: hyper::Error| NetError::from_hyper(&error, &reached.target);
    let (mut connection, head) = opened
        .map_err(|_| timed_out("did not take the request"))?
        .map_err(broken)?;

    let head = time::timeout_at(deadline, drive(&mut connection, head)).await;
    stamps.answered();
    let written = stamps.written().unwrap_or(began).max(began);
    seen.timing.send += written - began;
    seen.timing.first_byte += written.elapsed();
    seen.timing.to_head = seen.start.elapsed();
    let (parts, incoming) = head
        .map_err(|_| timed_out("did not answer"))?
        .map_err(broken)?
        .into_parts();
    seen.status = Some(parts.status);

    let Some(cap) = wanted(&parts) else {
        return Ok((parts, Body::default()));
    };
    let reading = Instant::now();
    let body = drive(&mut connection, body::read(incoming, &parts.headers, cap));
    let body = time::timeout_at(deadline, body).await;
    seen.timing.receive += reading.elapsed();
    Ok((parts, body.map_err(|_| timed_out("did not finish its body"))??))
}

type Opened = (
    BoxFuture<'static, ()>,
    BoxFuture<'static, Result<Head, hyper::Error>>,
);

/// Begins an HTTP connection. What it returns must be polled together: the connection, and the response's head.
async fn open<S>(io: S, message: Message, http2: bool) -> Result<Opened, hyper::Error>
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    // How a connection ends is told to whoever waits for its response; here only its end matters.
    if http2 {
        let (mut sender, connection) = http2::handshake(Helpers::default(), io).await?;
        Ok((
            connection.map(drop).fuse().boxed(),
            async move { sender.send_request(message).await }.boxed(),
        ))
    } else {
        let (mut sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(io)
            .await?;
        Ok((
            connection.map(drop).fuse().boxed(),
            async move { sender.send_request(message).await }.boxed(),
        ))
    }
}

/// Polls `connection` for as long as `work` takes.
async fn drive<T>(connection: &mut BoxFuture<'static, ()>, work: impl Future<Output = T>) -> T {
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
