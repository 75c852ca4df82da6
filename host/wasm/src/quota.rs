//! The quotas of one run that work outside of the guest draws on too: bytes on the network, and sockets open at a time.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};

/// What is left. A clone draws on the same.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Left>);

#[derive(Debug)]
struct Left {
    bytes: AtomicUsize,
    sockets: AtomicU32,
}

impl Shared {
    pub(crate) fn new(bytes: usize, sockets: u32) -> Self {
        Self(Arc::new(Left {
            bytes: bytes.into(),
            sockets: sockets.into(),
        }))
    }

    /// Bytes that may still be sent and received.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// Sockets that may still be opened.
    pub(crate) fn sockets(&self) -> u32 {
        self.0.sockets.load(Relaxed)
    }

    /// Takes so many bytes; nothing when fewer are left.
    #[must_use]
    pub(crate) fn take_bytes(&self, bytes: usize) -> bool {
        let left = &self.0.bytes;
        left.try_update(Relaxed, Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }

    /// Takes the bytes that arrived, more than are left or not.
    pub(crate) fn use_bytes(&self, bytes: usize) {
        self.0
            .bytes
            .update(Relaxed, Relaxed, |left| left.saturating_sub(bytes));
    }

    /// A socket's place, if one is free.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let left = &self.0.sockets;
        left.try_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .ok()
            .map(|_| Seat(self.clone()))
    }
}

/// The place of one open socket, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Shared);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.sockets.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_shared_and_a_seat_comes_back() {
        let quota = Shared::new(10, 1);
        let other = quota.clone();
        assert!(quota.take_bytes(7) && !other.take_bytes(4) && other.take_bytes(3));
        assert_eq!(quota.bytes(), 0);
        other.use_bytes(1);
        let seat = quota.seat().unwrap();
        assert!(other.seat().is_none());
        drop(seat);
        assert!(other.seat().is_some());
    }
}
