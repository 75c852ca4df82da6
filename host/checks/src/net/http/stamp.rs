//! Notes when bytes pass a stream, because an HTTP library does not tell when a request was out.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// The most one read takes, so that a flood does not keep a poll busy past the deadline.
const READ: usize = 16 * 1024;

/// A stream that is watched.
pub(super) struct Stamped<S> {
    inner: S,
    stamps: Stamps,
    /// Bytes still allowed before the answer's head is there.
    head: usize,
}

/// Shared with the stream.
#[derive(Clone, Default)]
pub(super) struct Stamps(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    written: Option<Instant>,
    heard: bool,
    answered: bool,
    is_http1: bool,
}

impl Stamps {
    /// When the last byte before the peer's first was written.
    pub(super) fn written(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).written
    }

    /// The head of the answer is there: what follows is its body, and counted elsewhere.
    pub(super) fn answered(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).answered = true;
    }

    /// Another request follows on the same connection.
    pub(super) fn restart(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    fn wrote(&self) {
        let mut stamps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !stamps.heard {
            stamps.written = Some(Instant::now());
        }
    }

    /// Whether the answer began as one of HTTP/1 does.
    pub(super) fn is_http1(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_http1
    }

    /// Notes a read; whether the head of the answer is already there.
    fn read(&self, bytes: &[u8]) -> bool {
        let mut stamps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !stamps.heard {
            stamps.is_http1 = bytes.starts_with(b"HTTP/1.");
        }
        stamps.heard = true;
        stamps.answered
    }
}

impl<S> Stamped<S> {
    /// `head` bounds what the peer may send before its answer's head is complete: 1xx heads have no other bound.
    pub(super) fn new(inner: S, stamps: Stamps, head: usize) -> Self {
        Self { inner, stamps, head }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stamped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buf.remaining().min(READ);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        let answered = self.stamps.read(part.filled());
        buf.advance(read);
        if !answered {
            let left = self.head.checked_sub(read);
            self.head = left.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "endless heads"))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stamped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.stamps.wrote();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.stamps.wrote();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
