//! Where a guest's stdout and stderr go: the last of it is kept for diagnosis, and writing never fails.
//!
//! A panic message is worth keeping, a flood is not worth a failed run.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// Most a guest may write at once.
const CHUNK: usize = 16 << 10;

/// A clone writes to the same end; one run has one for both streams.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    kept: Arc<Mutex<VecDeque<u8>>>,
    capacity: usize,
}

impl Output {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            kept: Arc::default(),
            capacity,
        }
    }

    /// The last `bytes` written, as far as they are kept; what is not UTF-8 is replaced.
    pub(crate) fn tail(&self, bytes: usize) -> String {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let text = kept.make_contiguous();
        let from = text.len().saturating_sub(bytes);
        String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned()
    }

    /// Forgets what was written.
    pub(crate) fn clear(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn append(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = bytes
            .get(bytes.len().saturating_sub(self.capacity)..)
            .unwrap_or_default();
        let excess = (kept.len() + bytes.len()).saturating_sub(self.capacity);
        kept.drain(..excess);
        kept.extend(bytes);
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_flood_is_kept() {
        let output = Output::new(8);
        output.append(b"abc");
        output.append(b"defgh");
        output.append(b"ij");
        assert_eq!(output.tail(100), "cdefghij");
        output.append(b"0123456789");
        assert_eq!(output.tail(100), "23456789");
        assert_eq!(output.tail(3), "789");
    }

    #[test]
    fn nothing_is_kept_with_no_room() {
        let output = Output::new(0);
        output.append(b"abc");
        assert_eq!(output.tail(100), "");
    }
}
