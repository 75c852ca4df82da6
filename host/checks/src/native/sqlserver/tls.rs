//! TLS within TDS (MS-TDS §2.2.6.5): the handshake travels in packets of type PRELOGIN, what follows does not.

use bytes::{Buf, BytesMut};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The type of PRELOGIN packets.
pub(super) const PRELOGIN: u8 = 0x12;
/// Type, status, length (2), SPID (2), number, window.
pub(super) const HEAD: usize = 8;
/// The packet size before login.
const PACKET: usize = 4096;

/// A stream whose bytes are wrapped in packets until [`Enveloped::finish`].
pub(super) struct Enveloped<S> {
    stream: S,
    wrapped: bool,
    /// Written, and not yet wrapped.
    plain: BytesMut,
    /// Wrapped, and not yet sent.
    packets: BytesMut,
    /// The head of the packet being read.
    head: Vec<u8>,
    /// What is left of its content.
    left: usize,
}

/// A TDS packet.
pub(super) fn packet(kind: u8, last: bool, content: &[u8], out: &mut BytesMut) {
    let length = u16::try_from(HEAD + content.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    out.extend_from_slice(&[kind, u8::from(last), high, low, 0, 0, 0, 0]);
    out.extend_from_slice(content);
}

impl<S> Enveloped<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            wrapped: true,
            plain: BytesMut::new(),
            packets: BytesMut::new(),
            head: Vec::with_capacity(HEAD),
            left: 0,
        }
    }

    /// The handshake is over: bytes go as they are.
    pub(super) fn finish(&mut self) {
        self.wrapped = false;
    }

    fn wrap(&mut self) {
        while !self.plain.is_empty() {
            let content = self.plain.split_to(self.plain.len().min(PACKET - HEAD));
            packet(PRELOGIN, self.plain.is_empty(), &content, &mut self.packets);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Enveloped<S> {
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wrap();
        while !self.packets.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.packets))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.packets.advance(sent),
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Enveloped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.wrapped {
            self.plain.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Enveloped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.wrapped {
            ready!(this.send(cx))?;
            while this.left == 0 {
                let mut missing = [0; HEAD];
                let missing = missing.get_mut(this.head.len()..).unwrap_or_default();
                let mut part = ReadBuf::new(missing);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
                if part.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                this.head.extend_from_slice(part.filled());
                if let [_, _, high, low, _, _, _, _] = *this.head.as_slice() {
                    this.head.clear();
                    this.left = usize::from(u16::from_be_bytes([high, low])).saturating_sub(HEAD);
                }
            }
        }
        if this.left == 0 {
            return Pin::new(&mut this.stream).poll_read(cx, into);
        }
        let most = this.left.min(into.remaining());
        let mut content = ReadBuf::new(into.initialize_unfilled_to(most));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut content))?;
        let read = content.filled().len();
        into.advance(read);
        this.left -= read;
        Poll::Ready(Ok(()))
    }
}
