//! ICMP echo with one peer, IPv4 and IPv6, without a program's help.
//!
//! Two sorts of socket can do it. The unprivileged one (Linux: datagram ICMP) is open to the groups of
//! `net.ipv4.ping_group_range`; the kernel picks the identifier and hands it no one else's replies. The raw one needs
//! CAP_NET_RAW and sees every ICMP packet of its peer. On both, a reply counts only when it comes from the peer asked and
//! carries the identifier, a sequence number that was sent, and the very bytes that were sent.

mod packet;

use super::{IpFamily, Net, NetError, by, datagram::first};
use packet::Family;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{net::UdpSocket, time::Instant};

/// Most bytes after the ICMP header in one packet.
pub const MAX_PAYLOAD: usize = 65_507;

/// A socket for echoes with one peer.
#[derive(Debug)]
pub struct Echoes {
    socket: UdpSocket,
    family: Family,
    /// With an unprivileged socket, the kernel writes and checks the identifier.
    raw: bool,
    identifier: u16,
    payload: Vec<u8>,
    buffer: Vec<u8>,
    /// The address the policy judged.
    pub peer: IpAddr,
    /// Time to resolve the name.
    pub resolve: Duration,
}

/// Why there are no echoes.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    /// Neither sort of socket is permitted.
    #[error("{0}")]
    NotPermitted(String),
    /// Anything else.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl Net {
    /// Resolves, judges, and opens a socket to the first of the judged addresses there is a route to. No packet leaves.
    ///
    /// `size` is the number of bytes after the ICMP header, at most [`MAX_PAYLOAD`].
    pub async fn echoes(
        &self,
        host: &str,
        size: usize,
        family: IpFamily,
        deadline: Instant,
    ) -> Result<Echoes, EchoError> {
        let found = self.resolve(host, None, family, deadline).await?;
        let opened = first(&found.addresses, open);
        let (peer, (socket, raw)) = opened.map_err(|error| match error {
            EchoError::Net(error) => found.failure(error).into(),
            error @ EchoError::NotPermitted(_) => error,
        })?;
        let mut payload = vec![0; size.min(MAX_PAYLOAD)];
        fastrand::Rng::new().fill(&mut payload);
        Ok(Echoes {
            buffer: vec![0; payload.len() + packet::MAX_HEADERS],
            socket,
            family: Family::of(peer),
            raw,
            identifier: fastrand::u16(..),
            payload,
            peer,
            resolve: found.elapsed,
        })
    }
}

/// A socket that is connected to `peer`, and whether it is a raw one.
fn open(peer: IpAddr) -> Result<(UdpSocket, bool), EchoError> {
    let fault = |error: io::Error| NetError::from_io(&error, &peer.to_string());
    let (socket, raw) = match unconnected(peer, Type::DGRAM) {
        Ok(socket) => (socket, false),
        Err(first) => match unconnected(peer, Type::RAW) {
            Ok(socket) => (socket, true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(EchoError::NotPermitted(format!(
                    "this worker may open neither an unprivileged ICMP socket ({first}) nor a raw one ({error}): let its \
                     group into the sysctl `net.ipv4.ping_group_range`, or give it CAP_NET_RAW"
                )));
            }
            Err(error) => return Err(fault(error).into()),
        },
    };
    socket.set_nonblocking(true).map_err(fault)?;
    socket
        .connect(&SockAddr::from(SocketAddr::new(peer, 0)))
        .map_err(fault)?;
    Ok((UdpSocket::from_std(socket.into()).map_err(fault)?, raw))
}

fn unconnected(peer: IpAddr, kind: Type) -> io::Result<Socket> {
    match peer {
        IpAddr::V4(_) => Socket::new(Domain::IPV4, kind, Some(Protocol::ICMPV4)),
        IpAddr::V6(_) => Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6)),
    }
}

impl Echoes {
    /// `datagram` or `raw`.
    pub fn socket(&self) -> &'static str {
        if self.raw { "raw" } else { "datagram" }
    }

    /// Sends the echo request of this number; [`NetError::ResponseTimeout`] where there is no room for it until
    /// `deadline`. Cancel safe.
    pub async fn send(&self, sequence: u16, deadline: Instant) -> Result<(), NetError> {
        let request = packet::request(self.family, self.identifier, sequence, &self.payload);
        match by(deadline, self.socket.send(&request)).await {
            Ok(sent) => sent.map(|_| ()).map_err(|error| self.fault(&error)),
            Err(_) => Err(NetError::ResponseTimeout(format!(
                "{}: what was sent before has not left",
                self.peer
            ))),
        }
    }

    /// The number of the next reply of the peer to a request of ours; or what the way to it said (no route). Waits for
    /// ever. Cancel safe.
    pub async fn receive(&mut self) -> Result<u16, NetError> {
        loop {
            let received = self.socket.recv(&mut self.buffer).await;
            let length = received.map_err(|error| self.fault(&error))?;
            let bytes = self.buffer.get(..length).unwrap_or_default();
            let identifier = self.raw.then_some(self.identifier);
            if let Some(sequence) = packet::reply(self.family, self.raw, bytes, identifier, &self.payload) {
                return Ok(sequence);
            }
        }
    }

    fn fault(&self, error: &io::Error) -> NetError {
        NetError::from_io(error, &self.peer.to_string())
    }
}
