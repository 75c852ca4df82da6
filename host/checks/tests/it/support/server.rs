//! Servers on loopback: HTTP (hyper), and scripted ones for what no decent server does.

use super::eventually;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// As in the request line: a path, or a whole URL.
    pub(crate) uri: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Counts what came in and what is still there.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) counts: Counts,
    requests: Arc<Mutex<Vec<Seen>>>,
    _task: AbortOnDropHandle<()>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    /// Calls `serve` with every connection; the connection counts as open until its future ends.
    pub(crate) async fn raw<F, S>(serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::bind("127.0.0.1:0", serve).await
    }

    pub(crate) async fn bind<F, S>(address: &str, serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Counts::default();
        let counted = counts.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.accepted.fetch_add(1, Ordering::SeqCst);
                counted.open.fetch_add(1, Ordering::SeqCst);
                let (open, serving) = (Open(counted.open.clone()), serve(stream));
                tokio::spawn(async move {
                    serving.await;
                    drop(open);
                });
            }
        });
        Self {
            address,
            counts,
            requests: Arc::default(),
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// An HTTP/1.1 server.
    pub(crate) async fn http(
        answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self::hyper(None, false, answer).await
    }

    /// An HTTP/2 server without TLS.
    pub(crate) async fn http2(
        answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self::hyper(None, true, answer).await
    }

    /// An HTTPS server: HTTP/2 where ALPN says so.
    pub(crate) async fn https(
        acceptor: TlsAcceptor,
        answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self::hyper(Some(acceptor), false, answer).await
    }

    async fn hyper(
        tls: Option<TlsAcceptor>,
        http2: bool,
        answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let requests: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, noted) = (Arc::new(answer), requests.clone());
        let serve = move |stream: TcpStream| {
            let (answer, noted, tls) = (answer.clone(), noted.clone(), tls.clone());
            async move {
                match tls {
                    None => talk(stream, http2, answer, noted).await,
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else {
                            return;
                        };
                        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        talk(stream, http2, answer, noted).await;
                    }
                }
            }
        };
        let server = Self::raw(serve).await;
        Self { requests, ..server }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:port/path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// Waits until the last connection is gone.
    pub(crate) async fn drained(&self) {
        eventually("all connections closed", || self.open() == 0).await;
    }
}

async fn talk<S>(
    stream: S,
    http2: bool,
    answer: Arc<impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static>,
    noted: Arc<Mutex<Vec<Seen>>>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (answer, noted) = (answer.clone(), noted.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            let seen = Seen {
                method: parts.method,
                uri: parts.uri.to_string(),
                version: parts.version,
                headers: parts.headers,
                body,
            };
            noted.lock().unwrap().push(seen.clone());
            Ok::<_, Infallible>(answer(&seen))
        }
    });
    // How a client leaves is no concern of these servers.
    if http2 {
        let _ = conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    } else {
        let _ = conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}

pub(crate) fn ok(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::new(body.into()))
}

pub(crate) fn status(code: u16) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::default()).unwrap()
}

pub(crate) fn redirect(code: u16, location: &str) -> Response<Full<Bytes>> {
    Response::builder()
        .status(code)
        .header("location", location)
        .body(Full::default())
        .unwrap()
}

/// A port on which nobody listens.
pub(crate) async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// Closes with RST instead of FIN.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}
