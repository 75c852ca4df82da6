//! Where a guest's stdout and stderr go: the last of it is kept for diagnosis, and writing never fails.
//!
//! A panic message is worth keeping, a flood is not worth a failed run.

use crate::mask::Mask;
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    kept: Arc<Mutex<Kept>>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: VecDeque<u8>,
    /// There was more, before them.
    lost: bool,
}

impl Output {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            kept: Arc::default(),
            capacity,
        }
    }

    /// The last `bytes` written, as far as they are kept, behind `mask`; what is not UTF-8 is replaced.
    pub(crate) fn tail(&self, bytes: usize, mask: &Mask) -> String {
        let mut kept = self.lock();
        let lost = kept.lost;
        mask.tail(kept.bytes.make_contiguous(), bytes, lost)
    }

    /// Forgets what was written.
    pub(crate) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    fn append(&self, bytes: &[u8]) {
        let mut kept = self.lock();
        let excess = (kept.bytes.len() + bytes.len()).saturating_sub(self.capacity);
        kept.lost |= excess > 0;
        let old = excess.min(kept.bytes.len());
        kept.bytes.drain(..old);
        kept.bytes.extend(bytes.iter().skip(excess - old));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(output.tail(100, &Mask::default()), "cdefghij");
        output.append(b"0123456789");
        assert_eq!(output.tail(100, &Mask::default()), "23456789");
        assert_eq!(output.tail(3, &Mask::default()), "789");
    }

    #[test]
    fn nothing_is_kept_with_no_room() {
        let output = Output::new(0);
        output.append(b"abc");
        assert_eq!(output.tail(100, &Mask::default()), "");
    }

    #[test]
    fn half_a_secret_at_either_cut_is_not_shown() {
        let mut mask = Mask::default();
        mask.add("hunter2-hunter2");
        let output = Output::new(24);
        output.append(b"hunter2-hunter2, it said");
        assert_eq!(output.tail(14, &mask), "***, it said");
        assert_eq!(output.tail(100, &mask), "***, it said");
        output.append(b" so");
        assert_eq!(
            output.tail(100, &mask),
            "t said so",
            "the ring itself may have cut one"
        );
        output.append(b" hunter2-hunter2");
        assert_eq!(output.tail(100, &mask), "***");
    }
}
