//! `tcp`: a real connection.

use super::{host, nanos, unanswered};
use crate::{
    bindings::lapwing::plugin::net_types::{Timing, TlsOptions},
    net::{Endpoint, Fault, IpFamily, Peer, TlsInfo},
};
use std::{
    cell::RefCell,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

/// An open connection. What was received and not handed out stays for the next read.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: RefCell<Vec<u8>>,
    begun: Instant,
    peer: SocketAddr,
}

impl Connection {
    /// Connects to the first address of the family that accepts.
    pub fn connect(to: &Endpoint, family: IpFamily, timeout: u64) -> Result<Self, Fault> {
        let host = host();
        host.called(format!("tcp {}:{}", to.host, to.port));
        host.judge(&to.host, to.port)?;
        let begun = Instant::now();
        let mut failed = Fault::NameNotFound;
        for peer in addresses(to, family)? {
            match TcpStream::connect_timeout(&peer, span(timeout)) {
                Ok(stream) => {
                    let unread = RefCell::default();
                    return Ok(Self {
                        stream,
                        unread,
                        begun,
                        peer,
                    });
                }
                Err(error) => failed = fault(&error, "connect"),
            }
        }
        Err(failed)
    }

    /// The scripted handshake.
    pub fn start_tls(&self, options: &TlsOptions, _: u64) -> Result<TlsInfo, Fault> {
        let host = host();
        host.called(format!("tls {}", options.server_name.as_deref().unwrap_or("-")));
        if !self.unread.borrow().is_empty() {
            return Err(Fault::Protocol("unread bytes before the handshake".to_owned()));
        }
        host.tls
            .as_ref()
            .map_or_else(|| unanswered("TLS handshakes"), |answer| answer(options))
    }

    /// Sends all of it.
    pub fn write_all(&self, data: &[u8], timeout: u64) -> Result<(), Fault> {
        let mut stream = &self.stream;
        stream
            .set_write_timeout(Some(span(timeout)))
            .and_then(|()| stream.write_all(data))
            .map_err(|error| fault(&error, "response"))
    }

    /// Some bytes; none at the end.
    pub fn read(&self, max: u32, timeout: u64) -> Result<Vec<u8>, Fault> {
        if self.unread.borrow().is_empty() {
            self.fill(Instant::now() + span(timeout))?;
        }
        let length = self.unread.borrow().len().min(size(max));
        Ok(self.take(length))
    }

    /// Up to and with the delimiter.
    pub fn read_until(&self, delimiter: &[u8], max: u32, timeout: u64) -> Result<Vec<u8>, Fault> {
        let until = Instant::now() + span(timeout);
        loop {
            let found = self
                .unread
                .borrow()
                .windows(delimiter.len().max(1))
                .position(|window| window == delimiter);
            match found.map(|at| at + delimiter.len()) {
                Some(end) if end <= size(max) => return Ok(self.take(end)),
                None if self.unread.borrow().len() < size(max) => {
                    if self.fill(until)? == 0 {
                        return Err(Fault::Closed);
                    }
                }
                _ => return Err(Fault::Protocol(format!("no delimiter within {max} bytes"))),
            }
        }
    }

    /// Exactly `n` bytes.
    pub fn read_exact(&self, n: u32, timeout: u64) -> Result<Vec<u8>, Fault> {
        let until = Instant::now() + span(timeout);
        while self.unread.borrow().len() < size(n) {
            if self.fill(until)? == 0 {
                return Err(Fault::Closed);
            }
        }
        Ok(self.take(size(n)))
    }

    /// Ends the sending side.
    pub fn shutdown_write(&self) {
        // A peer that has gone already is no trouble.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The address connected to.
    pub fn peer(&self) -> Peer {
        Peer {
            address: self.peer.ip().to_string(),
            port: self.peer.port(),
        }
    }

    /// The time since the connection was begun.
    pub fn timing(&self) -> Timing {
        let total = nanos(self.begun.elapsed());
        Timing {
            dns: None,
            connect: None,
            tls: None,
            first_byte: None,
            total,
        }
    }

    fn take(&self, length: usize) -> Vec<u8> {
        self.unread.borrow_mut().drain(..length).collect()
    }

    fn fill(&self, until: Instant) -> Result<usize, Fault> {
        let mut chunk = [0; 4096];
        let left = until
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        let mut stream = &self.stream;
        let length = stream
            .set_read_timeout(Some(left))
            .and_then(|()| stream.read(&mut chunk))
            .map_err(|error| fault(&error, "response"))?;
        self.unread.borrow_mut().extend(chunk.iter().take(length));
        Ok(length)
    }
}

/// The addresses of a name, of one family.
pub(super) fn addresses(to: &Endpoint, family: IpFamily) -> Result<Vec<SocketAddr>, Fault> {
    let fits = |address: &SocketAddr| match family {
        IpFamily::Any => true,
        IpFamily::V4 => address.is_ipv4(),
        IpFamily::V6 => address.is_ipv6(),
    };
    let found = (to.host.as_str(), to.port).to_socket_addrs();
    let found: Vec<_> = found.map_err(|_| Fault::NameNotFound)?.filter(fits).collect();
    if found.is_empty() {
        Err(Fault::NameNotFound)
    } else {
        Ok(found)
    }
}

/// A span for the sockets of std, which take none of zero.
pub(super) fn span(nanos: u64) -> Duration {
    Duration::from_nanos(nanos).max(Duration::from_millis(1))
}

fn size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// An error as the worker would tell it.
pub(super) fn fault(error: &io::Error, step: &str) -> Fault {
    match error.kind() {
        ErrorKind::ConnectionRefused => Fault::Refused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Fault::Reset,
        ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Fault::Closed,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Fault::Unreachable,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Fault::Timeout(format!("{step}: {error}")),
        _ => Fault::Other(error.to_string()),
    }
}
