//! UDP with one peer: the socket is connected, so that the kernel drops what others send and tells of a port that nobody
//! listens on.

use super::{IpFamily, Net, NetError, by};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{net::UdpSocket, time::Instant};

/// The largest payload of a datagram, in bytes.
const LARGEST: usize = 65_535;

/// A UDP socket that only its peer can reach.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    /// The address the policy judged.
    pub peer: SocketAddr,
    /// Time to resolve the name.
    pub resolve: Duration,
}

impl Net {
    /// Resolves, judges, and opens a socket to the first of the judged addresses there is a route to. No packet leaves.
    pub async fn datagrams(
        &self,
        host: &str,
        port: u16,
        family: IpFamily,
        deadline: Instant,
    ) -> Result<Datagrams, NetError> {
        let found = self.resolve(host, Some(port), family, deadline).await?;
        let opened = first(&found.addresses, |address| {
            let peer = SocketAddr::new(address, port);
            open(peer).map_err(|error| NetError::from_io(&error, &peer.to_string()))
        });
        let (peer, socket) = opened.map_err(|error| found.failure(error))?;
        Ok(Datagrams {
            socket,
            peer: SocketAddr::new(peer, port),
            resolve: found.elapsed,
        })
    }
}

/// The first of `addresses` that `open` opens something to. When there is none, the last failure: IPv6 is tried first,
/// and of a machine without it the other family's story is the telling one.
pub(super) fn first<T, E: From<NetError>>(
    addresses: &[IpAddr],
    open: impl Fn(IpAddr) -> Result<T, E>,
) -> Result<(IpAddr, T), E> {
    let mut failure = NetError::Unreachable("no address".to_owned()).into();
    for &address in addresses {
        match open(address) {
            Ok(opened) => return Ok((address, opened)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A socket that is connected to `peer`.
pub(super) fn open(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if peer.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(peer)?;
    UdpSocket::from_std(socket)
}

impl Datagrams {
    /// Sends one datagram; [`NetError::ResponseTimeout`] where there is no room for it until `deadline`. Cancel safe.
    pub async fn send(&self, payload: &[u8], deadline: Instant) -> Result<(), NetError> {
        match by(deadline, self.socket.send(payload)).await {
            Ok(sent) => sent.map(|_| ()).map_err(|error| self.fault(&error)),
            Err(_) => Err(NetError::ResponseTimeout(format!(
                "{}: what was sent before has not left",
                self.peer
            ))),
        }
    }

    /// The peer's next datagram; [`NetError::ResponseTimeout`] at `deadline`. Cancel safe.
    pub async fn receive(&self, deadline: Instant) -> Result<Vec<u8>, NetError> {
        let mut buffer = Vec::with_capacity(LARGEST);
        let receiving = self.socket.recv_buf(&mut buffer);
        match by(deadline, receiving).await {
            Ok(Ok(_)) => Ok(buffer),
            Ok(Err(error)) => Err(self.fault(&error)),
            Err(_) => Err(NetError::ResponseTimeout(format!(
                "{} does not answer",
                self.peer
            ))),
        }
    }

    fn fault(&self, error: &io::Error) -> NetError {
        NetError::from_io(error, &self.peer.to_string())
    }
}
