//! `udp`: a real socket.

use super::{
    host,
    tcp::{addresses, fault, span},
};
use crate::net::{Endpoint, Fault, IpFamily};
use std::net::UdpSocket;

/// A socket that speaks with one peer only.
#[derive(Debug)]
pub struct Socket(UdpSocket);

impl Socket {
    /// Opens a socket to the first address of the family.
    pub fn open(to: &Endpoint, family: IpFamily) -> Result<Self, Fault> {
        let host = host();
        host.called(format!("udp {}:{}", to.host, to.port));
        host.judge(&to.host, to.port)?;
        let peer = addresses(to, family)?
            .into_iter()
            .next()
            .ok_or(Fault::NameNotFound)?;
        let own = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        UdpSocket::bind(own)
            .and_then(|socket| socket.connect(peer).map(|()| Self(socket)))
            .map_err(|error| fault(&error, "connect"))
    }

    /// Sends one datagram.
    pub fn send(&self, data: &[u8]) -> Result<(), Fault> {
        self.0
            .send(data)
            .map(drop)
            .map_err(|error| fault(&error, "response"))
    }

    /// One datagram; what is longer than `max` is cut.
    pub fn receive(&self, max: u32, timeout: u64) -> Result<Vec<u8>, Fault> {
        let mut datagram = vec![0; usize::try_from(max).unwrap_or(usize::MAX).min(65_536)];
        let received = self
            .0
            .set_read_timeout(Some(span(timeout)))
            .and_then(|()| self.0.recv(&mut datagram));
        datagram.truncate(received.map_err(|error| fault(&error, "response"))?);
        Ok(datagram)
    }
}
