//! Reading a response body: decompressed, and never more than the cap, whatever the peer sends.

use crate::net::NetError;
use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio_util::io::StreamReader;

/// Layers of encoding that are undone; nobody sends more than two.
const MAX_LAYERS: usize = 4;

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
/// An unknown encoding passes through undecoded; a body that breaks a known one is [`NetError::BodyInvalid`].
pub(super) async fn read(incoming: Incoming, headers: &HeaderMap, cap: usize) -> Result<Body, NetError> {
    // Trailers are of no interest; `into_data_stream` leaves them out.
    let stream = incoming.into_data_stream().map_err(io::Error::other);
    let mut reader: Reader = Box::new(StreamReader::new(stream));
    for encoding in encodings(headers) {
        reader = decode(reader, &encoding).await.map_err(|error| sort(&error))?;
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

/// What to undo, the last applied first; empty when any of it is unknown, for then none of it can be undone.
fn encodings(headers: &HeaderMap) -> Vec<String> {
    let values = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let names = values
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase());
    let mut names: Vec<String> = names
        .filter(|name| !name.is_empty() && name != "identity")
        .collect();
    let known = |name: &String| matches!(name.as_str(), "gzip" | "x-gzip" | "deflate" | "br" | "zstd");
    if names.len() > MAX_LAYERS || !names.iter().all(known) {
        names.clear();
    }
    names.reverse();
    names
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
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<hyper::Error>())
    {
        Some(transport) => NetError::from_hyper(transport, "while reading the body"),
        None => NetError::BodyInvalid(error.to_string()),
    }
}
