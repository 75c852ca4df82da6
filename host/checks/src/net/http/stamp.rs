//! Notes when bytes pass a stream, because an HTTP library does not tell when a request was out; and bounds what comes
//! before the answer, because neither version has a bound of its own for 1xx heads.

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

/// The most a peer may send before the head of its answer is complete, in bytes.
const MAX_HEADS: usize = 1024 * 1024;
/// The same in HTTP/2, the body not counted: a byte there can stand for a field, which takes a hundred.
const MAX_HEADS_HTTP2: usize = 256 * 1024;
/// The most one read takes, in bytes.
const READ: usize = 16 * 1024;
/// The most one poll reads, in bytes: a flood must not keep it busy past the deadline.
const POLL: usize = 64 * 1024;

/// A stream that is watched.
pub(crate) struct Stamped<S> {
    inner: S,
    stamps: Stamps,
    heads: Heads,
    /// Bytes read since the stream last had none, or let others have their turn.
    run: usize,
}

/// What a peer may still send before the head of its answer is complete.
struct Heads {
    left: usize,
    /// Tells the body, in HTTP/2.
    frames: Option<Frames>,
}

/// Follows the frames of HTTP/2 (RFC 9113 §4.1: three bytes of length, one of type, five more).
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    is_data: bool,
    /// Bytes of the payload still to come.
    payload: usize,
}

/// Shared with the stream.
#[derive(Clone, Default)]
pub(crate) struct Stamps(Arc<Mutex<State>>);

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

impl Heads {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = match &mut self.frames {
            None => bytes.len(),
            Some(frames) => frames.beside_data(bytes),
        };
        let left = self.left.checked_sub(taken);
        self.left = left.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "endless heads"))?;
        Ok(())
    }
}

impl Frames {
    /// How many of the next `bytes` are not of a body.
    fn beside_data(&mut self, mut bytes: &[u8]) -> usize {
        let mut count = 0;
        while let Some((first, rest)) = bytes.split_first() {
            if self.payload > 0 {
                let (part, rest) = bytes.split_at(self.payload.min(bytes.len()));
                self.payload -= part.len();
                count += if self.is_data { 0 } else { part.len() };
                bytes = rest;
                continue;
            }
            bytes = rest;
            self.head.push(*first);
            if let [a, b, c, kind, _, _, _, _, _] = *self.head {
                self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.is_data = kind == 0;
                count += self.head.len();
                self.head.clear();
            }
        }
        count
    }
}

impl<S> Stamped<S> {
    /// A stream of HTTP/1.
    pub(super) fn http1(inner: S, stamps: Stamps) -> Self {
        let heads = Heads {
            left: MAX_HEADS,
            frames: None,
        };
        Self::new(inner, stamps, heads)
    }

    /// A stream of HTTP/2, where the body may be read before its head is looked at.
    pub(super) fn http2(inner: S, stamps: Stamps) -> Self {
        let heads = Heads {
            left: MAX_HEADS_HTTP2,
            frames: Some(Frames::default()),
        };
        Self::new(inner, stamps, heads)
    }

    fn new(inner: S, stamps: Stamps, heads: Heads) -> Self {
        Self {
            inner,
            stamps,
            heads,
            run: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stamped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.run >= POLL {
            self.run = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = buf.remaining().min(READ);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        let polled = Pin::new(&mut self.inner).poll_read(cx, &mut part)?;
        let read = part.filled().len();
        self.run = if polled.is_ready() { self.run + read } else { 0 };
        ready!(polled);
        if !self.stamps.read(part.filled()) {
            self.heads.take(part.filled())?;
        }
        buf.advance(read);
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::io::AsyncReadExt;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], &vec![0; payload][..]].concat()
    }

    #[test]
    fn what_is_no_body_is_counted_however_it_is_cut() {
        let bytes = [frame(1, 300), frame(0, 70_000), frame(0, 0), frame(9, 7)].concat();
        for size in [1, 8, 9, 10, 311, 1000, bytes.len()] {
            let mut frames = Frames::default();
            let count: usize = bytes.chunks(size).map(|part| frames.beside_data(part)).sum();
            assert_eq!(count, 4 * 9 + 307, "in parts of {size}");
        }
    }

    #[tokio::test]
    async fn heads_end_and_bodies_do_not() {
        async fn read(stream: Vec<u8>) -> io::Result<usize> {
            Stamped::http2(&stream[..], Stamps::default())
                .read_to_end(&mut Vec::new())
                .await
        }
        let body = frame(0, 16_000).repeat(100);
        assert_eq!(read(body.clone()).await.unwrap(), body.len());
        let heads = frame(1, 16_000).repeat(100);
        assert_eq!(read(heads).await.unwrap_err().to_string(), "endless heads");
    }

    #[tokio::test]
    async fn a_flood_lets_others_have_their_turn() {
        let flood = vec![0; 10 * POLL];
        let mut stream = Stamped::http1(&flood[..], Stamps::default());
        assert!(stream.read_to_end(&mut Vec::new()).now_or_never().is_none());
    }
}
