//! Datagrams to and from one peer.

mod exchange;

use crate::{
    net::{Endpoint, IpFamily, NetError, timeout},
    sys::udp as host,
};
use std::time::Duration;

/// A socket that speaks with one peer only; closed when dropped.
#[derive(Debug)]
pub struct Socket {
    inner: host::Socket,
    limit: Option<Duration>,
}

impl Socket {
    /// Resolves `host` and connects a socket to it. No packet is sent.
    pub fn open(host: &str, port: u16) -> Result<Self, NetError> {
        let to = Endpoint {
            host: host.to_owned(),
            port,
        };
        Ok(Self {
            inner: host::Socket::open(&to, IpFamily::Any)?,
            limit: None,
        })
    }

    /// No wait takes longer than `limit`, nor longer than the run has left.
    #[must_use]
    pub fn with_timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// From now on no wait takes longer than `limit`, nor longer than the run has left.
    pub fn set_timeout(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    /// Sends one datagram.
    pub fn send(&self, datagram: &[u8]) -> Result<(), NetError> {
        Ok(self.inner.send(datagram)?)
    }

    /// Waits for one datagram; what is longer than `max` bytes is cut.
    pub fn receive(&self, max: u32) -> Result<Vec<u8>, NetError> {
        Ok(self.inner.receive(max, timeout(self.limit))?)
    }
}
