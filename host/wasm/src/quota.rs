//! The quotas of one run that work outside of the guest draws on too: bytes on the network, connections, and sockets open
//! at a time.

use crate::ledger::Ledger;
use lapwing_checks::net::{NetError, Quota};
use lapwing_model::Reason;
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};

/// The quota of bytes, when it is used up.
pub(crate) const BYTES: &str = "too many bytes sent and received (`limits.network_kib`)";
/// The quota of connections, when it is used up.
pub(crate) const CONNECTS: &str = "too many connections (`limits.connects`)";

/// What is left. A clone draws on the same.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Left>);

#[derive(Debug)]
struct Left {
    bytes: AtomicUsize,
    connects: AtomicU32,
    sockets: AtomicU32,
}

impl Shared {
    pub(crate) fn new(bytes: usize, connects: u32, sockets: u32) -> Self {
        Self(Arc::new(Left {
            bytes: bytes.into(),
            connects: connects.into(),
            sockets: sockets.into(),
        }))
    }

    /// Bytes that may still be sent and received.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// Connections that may still be made.
    pub(crate) fn connects(&self) -> u32 {
        self.0.connects.load(Relaxed)
    }

    /// Takes one connection; whether there was one left.
    #[must_use]
    pub(crate) fn take_connect(&self) -> bool {
        let left = &self.0.connects;
        left.try_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_ok()
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

/// The quotas with the book in which a refusal is written down at once, for work outside of the guest.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) quota: Shared,
    pub(crate) ledger: Arc<Ledger>,
}

impl Meter {
    /// Writes down that there were too few bytes.
    pub(crate) fn exhausted(&self) -> NetError {
        self.refusal(BYTES)
    }

    fn refusal(&self, quota: &str) -> NetError {
        self.ledger.hinder(Reason::LimitHit, quota);
        NetError::Limit(quota.to_owned())
    }
}

impl Quota for Meter {
    fn connect(&self) -> Result<(), NetError> {
        if self.quota.take_connect() {
            Ok(())
        } else {
            Err(self.refusal(CONNECTS))
        }
    }

    fn room(&self, wanted: usize) -> Result<usize, NetError> {
        match self.quota.bytes() {
            0 if wanted > 0 => Err(self.exhausted()),
            left => Ok(wanted.min(left)),
        }
    }

    fn count(&self, bytes: usize) {
        self.quota.use_bytes(bytes);
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
        let quota = Shared::new(10, 1, 1);
        let other = quota.clone();
        assert!(quota.take_bytes(7) && !other.take_bytes(4) && other.take_bytes(3));
        assert_eq!(quota.bytes(), 0);
        other.use_bytes(1);
        assert!(quota.take_connect() && !other.take_connect());
        let seat = quota.seat().unwrap();
        assert!(other.seat().is_none());
        drop(seat);
        assert!(other.seat().is_some());
    }
}
