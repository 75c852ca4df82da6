//! What one run may use of the network, counted as it happens: what fails, heads, and answers that are cut, too.

use super::NetError;
use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Asked on the way, by whatever task does the work. Who refuses also writes it down where the run's verdict is made: a
/// protocol library may make something else of the error.
pub trait Quota: fmt::Debug + Send + Sync {
    /// A connection is about to be made; [`NetError::Limit`] when there is none left.
    fn connect(&self) -> Result<(), NetError>;

    /// How many of `wanted` bytes may pass; [`NetError::Limit`] when that is none.
    fn room(&self, wanted: usize) -> Result<usize, NetError>;

    /// These bytes passed, also more than there was room for.
    fn count(&self, bytes: usize);

    /// A message of `bytes` is about to be sent, or has arrived: all of it passes, or nothing. An empty one counts as one
    /// byte, so that there is no end of them.
    fn message(&self, bytes: usize) -> Result<(), NetError> {
        let bytes = bytes.max(1);
        let room = self.room(bytes)?;
        self.count(bytes);
        if room == bytes {
            Ok(())
        } else {
            self.room(bytes).map(drop)
        }
    }
}

/// A run's quota; none for native checks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Toll(pub(super) Option<Arc<dyn Quota>>);

impl Toll {
    pub(super) fn connect(&self) -> Result<(), NetError> {
        self.0.as_ref().map_or(Ok(()), |quota| quota.connect())
    }

    pub(super) fn message(&self, bytes: usize) -> Result<(), NetError> {
        self.0.as_ref().map_or(Ok(()), |quota| quota.message(bytes))
    }

    fn room(&self, wanted: usize) -> io::Result<usize> {
        let room = self.0.as_ref().map_or(Ok(wanted), |quota| quota.room(wanted));
        room.map_err(io::Error::other)
    }

    fn count(&self, bytes: usize) {
        if let Some(quota) = &self.0 {
            quota.count(bytes);
        }
    }
}

/// A stream whose bytes are taken from a quota, in both directions, whatever protocol library reads and writes.
#[derive(Debug)]
pub struct Counted<S> {
    inner: S,
    toll: Toll,
}

impl<S> Counted<S> {
    /// `inner`, counted in `quota`; used up, reading and writing fail with [`NetError::Limit`] as the error's cause.
    pub fn new(inner: S, quota: Arc<dyn Quota>) -> Self {
        Self::by(inner, Toll(Some(quota)))
    }

    pub(super) fn by(inner: S, toll: Toll) -> Self {
        Self { inner, toll }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = self.toll.room(buf.remaining())?;
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        self.toll.count(read);
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let most = self.toll.room(buf.len())?;
        let part = buf.get(..most).unwrap_or(buf);
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, part))?;
        self.toll.count(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.toll.0.is_none() {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(cx, first.map_or(&[], |buf| buf))
    }

    fn is_write_vectored(&self) -> bool {
        self.toll.0.is_none() && self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
