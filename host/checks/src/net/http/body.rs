//! Reading a response body: decompressed, and never more than the cap, whatever the peer sends.

use crate::net::NetError;
use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, ReadBuf};
use tokio_util::io::StreamReader;

/// What an encoding may cost beyond the cap, in bytes: framing, and members that hold nothing.
const OVERHEAD: usize = 1024 * 1024;
/// What a failed transport was at.
const READING: &str = "while reading the body";
/// Encoded bytes undone between two looks at the deadline.
const SLICE: usize = 64 * 1024;

/// As much of a body as was wanted.
#[derive(Default)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// There was more.
    pub(super) truncated: bool,
}

type Reader = Box<dyn AsyncBufRead + Send + Unpin>;

/// Reads at most `cap` bytes, counted after decompression: what a bomb unpacks to is never held.
///
/// An unknown encoding passes through undecoded; a body that breaks a known one, comes in more than one, or costs far
/// more than the cap to unpack is [`NetError::BodyInvalid`].
pub(super) async fn read(incoming: Incoming, headers: &HeaderMap, cap: usize) -> Result<Body, NetError> {
    // Trailers are of no interest; `into_data_stream` leaves them out.
    let mut reader: Reader = Box::new(StreamReader::new(Whole(incoming).into_data_stream()));
    if let Some(encoding) = encoding(headers)? {
        let metered = Metered::new(reader, cap.saturating_add(OVERHEAD));
        reader = decode(Box::new(metered), &encoding)
            .await
            .map_err(|error| sort(&error))?;
    }
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    reader
        .take(limit)
        .read_to_end(&mut bytes)
        .await
        .map_err(|error| sort(&error))?;
    let truncated = bytes.len() > cap;
    bytes.truncate(cap);
    Ok(Body {
        bytes: bytes.into(),
        truncated,
    })
}

/// A body whose end is its end. In HTTP/2 hyper takes a reset without an error for one, wherever it comes; RFC 9113 §8.1
/// has it follow a whole answer.
struct Whole(Incoming);

impl hyper::body::Body for Whole {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        let left = self.0.size_hint().lower();
        let frame = match frame {
            None if left > 0 && !self.0.is_end_stream() => Some(Err(NetError::Closed(format!(
                "{READING}, {left} bytes before its end"
            )))),
            frame => frame.map(|frame| frame.map_err(|error| NetError::from_hyper(&error, READING))),
        };
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
    }
}

/// What to undo; nothing when it is unknown. One layer: nobody sends more, and each could hide a bomb in the next.
fn encoding(headers: &HeaderMap) -> Result<Option<String>, NetError> {
    let values = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut names = values
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty() && name != "identity");
    let name = names.next();
    if names.next().is_some() {
        return Err(NetError::BodyInvalid("more than one content encoding".to_owned()));
    }
    Ok(name.filter(|name| matches!(name.as_str(), "gzip" | "x-gzip" | "deflate" | "br" | "zstd")))
}

/// Bounds what a decoder consumes, and yields now and then: a decoder that produces nothing never would.
struct Metered {
    inner: Reader,
    left: usize,
    slice: usize,
}

impl Metered {
    fn new(inner: Reader, left: usize) -> Self {
        Self {
            inner,
            left,
            slice: SLICE,
        }
    }
}

impl AsyncBufRead for Metered {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.slice == 0 {
            this.slice = SLICE;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let bytes = ready!(Pin::new(&mut this.inner).poll_fill_buf(cx))?;
        if !bytes.is_empty() && this.left == 0 {
            return Poll::Ready(Err(io::Error::other("unpacks to far less than it takes")));
        }
        let most = bytes.len().min(this.slice).min(this.left);
        Poll::Ready(Ok(bytes.get(..most).unwrap_or_default()))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        this.left = this.left.saturating_sub(amount);
        this.slice = this.slice.saturating_sub(amount);
        Pin::new(&mut this.inner).consume(amount);
    }
}

/// A [`AsyncBufRead`] must be readable, too; no decoder reads it so.
impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let most = bytes.len().min(buf.remaining());
        buf.put_slice(bytes.get(..most).unwrap_or_default());
        self.consume(most);
        Poll::Ready(Ok(()))
    }
}

async fn decode(mut reader: Reader, encoding: &str) -> io::Result<Reader> {
    // Nothing has no encoding: the answer to HEAD, 204, 304.
    let head = reader.fill_buf().await?;
    if head.is_empty() {
        return Ok(reader);
    }
    // "deflate" is zlib (RFC 9110 §8.4.1.2), but some servers send it raw; RFC 1950 §2.2 tells zlib by its header.
    let is_zlib = match head {
        [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31),
        _ => true,
    };
    Ok(match encoding {
        "br" => Box::new(BufReader::new(BrotliDecoder::new(reader))),
        "zstd" => {
            let mut decoder = ZstdDecoder::new(reader);
            decoder.multiple_members(true);
            Box::new(BufReader::new(decoder))
        }
        "deflate" if is_zlib => Box::new(BufReader::new(ZlibDecoder::new(reader))),
        "deflate" => Box::new(BufReader::new(DeflateDecoder::new(reader))),
        _ => {
            let mut decoder = GzipDecoder::new(reader);
            decoder.multiple_members(true);
            Box::new(BufReader::new(decoder))
        }
    })
}

/// The transport's errors come wrapped through the decoders; what is no transport error is a decoder's.
fn sort(error: &io::Error) -> NetError {
    let transport = error.get_ref().and_then(|inner| inner.downcast_ref::<NetError>());
    transport
        .cloned()
        .unwrap_or_else(|| NetError::BodyInvalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn members_that_hold_nothing_are_bounded_and_let_the_deadline_fire() {
        const EMPTY: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let flood: &'static [u8] = EMPTY.repeat(20_000).leak();
        let unpack = async |left| {
            let mut reader = decode(Box::new(Metered::new(Box::new(flood), left)), "gzip").await?;
            reader.read_to_end(&mut Vec::new()).await
        };
        assert!(unpack(usize::MAX).now_or_never().is_none(), "yields on the way");
        assert_eq!(unpack(usize::MAX).await.unwrap(), 0);
        assert!(unpack(100_000).await.is_err());
    }
}
