//! A stream whose bytes are taken from the run's quota, in both directions, whatever protocol library reads and writes.

use super::super::BYTES;
use crate::{ledger::Ledger, quota::Shared};
use lapwing_model::Reason;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The quota is used up; found again in the errors of a protocol library.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{BYTES}")]
pub(super) struct Exhausted;

/// The bytes one run may still send and receive, for use outside of the guest.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) quota: Shared,
    pub(super) ledger: Arc<Ledger>,
}

impl Meter {
    /// How many of `wanted` bytes may pass; an error when that is none.
    pub(super) fn room(&self, wanted: usize) -> Result<usize, Exhausted> {
        match self.quota.bytes() {
            0 if wanted > 0 => Err(self.exhausted()),
            left => Ok(wanted.min(left)),
        }
    }

    /// Writes down that there were too few.
    pub(super) fn exhausted(&self) -> Exhausted {
        self.ledger.hinder(Reason::LimitHit, BYTES);
        Exhausted
    }

    /// These bytes passed.
    pub(super) fn count(&self, bytes: usize) {
        self.quota.use_bytes(bytes);
    }
}

/// A stream that is metered.
pub(super) struct Counted<S> {
    inner: S,
    meter: Meter,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S, meter: Meter) -> Self {
        Self { inner, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = self.meter.room(buf.remaining()).map_err(io::Error::other)?;
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        self.meter.count(read);
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let most = self.meter.room(buf.len()).map_err(io::Error::other)?;
        let part = buf.get(..most).unwrap_or(buf);
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, part))?;
        self.meter.count(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
