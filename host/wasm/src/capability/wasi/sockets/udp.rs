//! `wasi:sockets/udp`: datagrams to peers that are judged one by one, and from those peers only.

use super::{
    code::{self, Code, Fault, Said},
    fits, no_peer,
    tcp::unspecified,
    wit::{udp, udp_create_socket},
};
use crate::{
    guest::Guest,
    ledger::Flight,
    quota::{Meter, Seat},
};
use lapwing_checks::net::{NetError, Quota};
use std::{
    future,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Waker},
};
use tokio::{io::Interest, net::UdpSocket as Socket, runtime::Handle, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::{Result, component::Resource};
use wasmtime_wasi::{
    async_trait,
    p2::{
        DynPollable, Pollable,
        bindings::sockets::network::{IpAddressFamily, IpSocketAddress, Network},
        subscribe,
    },
};

/// Most datagrams in one call.
const BATCH: usize = 16;
/// Largest datagram.
const DATAGRAM: usize = 65_535;
/// Datagrams of strangers that are thrown away before the guest gets its turn.
const STRANGERS: usize = 64;

/// One socket of a guest. There is none of the kernel's behind it before it has a peer.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct UdpSocket {
    family: IpAddressFamily,
    state: State,
    port: Option<Arc<Port>>,
    hops: u8,
    receive: u64,
    send: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Binding,
    Bound,
}

/// What both streams of a socket share.
#[derive(Debug)]
struct Port {
    family: IpAddressFamily,
    /// The only peer there is.
    remote: Option<SocketAddr>,
    /// Whom the guest may write to, and hear.
    peers: Mutex<Vec<SocketAddr>>,
    socket: OnceLock<(Socket, Seat)>,
    /// Where waits go on that are none of the guest's work.
    worker: Handle,
    /// What the system said of the only peer, until the guest asks.
    fault: Mutex<Option<io::Error>>,
    meter: Meter,
}

/// The guest's end to receive from.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Incoming(Arc<Port>);

/// The guest's end to send to.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Outgoing {
    port: Arc<Port>,
    permitted: usize,
}

impl udp_create_socket::Host for Guest {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> Said<Resource<UdpSocket>> {
        if let Err(refusal) = self.admit_socket() {
            return Ok(Err(refusal));
        }
        Ok(Ok(self.table.push(UdpSocket {
            family,
            state: State::Fresh,
            port: None,
            hops: 64,
            receive: 212_992,
            send: 212_992,
        })?))
    }
}

impl udp::Host for Guest {}

impl udp::HostUdpSocket for Guest {
    fn start_bind(
        &mut self,
        this: Resource<UdpSocket>,
        _: Resource<Network>,
        local: IpSocketAddress,
    ) -> Said<()> {
        let admitted = self.admit_bind(local.into());
        let socket = self.table.get_mut(&this)?;
        Ok(match (admitted, socket.state) {
            (Err(refusal), _) => Err(refusal),
            (Ok(()), State::Fresh) => {
                socket.state = State::Binding;
                Ok(())
            }
            (Ok(()), _) => Err(Code::InvalidState),
        })
    }

    fn finish_bind(&mut self, this: Resource<UdpSocket>) -> Said<()> {
        let socket = self.table.get_mut(&this)?;
        if socket.state == State::Binding {
            socket.state = State::Bound;
            return Ok(Ok(()));
        }
        Ok(Err(Code::NotInProgress))
    }

    fn stream(
        &mut self,
        this: Resource<UdpSocket>,
        remote: Option<IpSocketAddress>,
    ) -> Said<(Resource<Incoming>, Resource<Outgoing>)> {
        let remote = remote.map(SocketAddr::from);
        let family = self.table.get(&this)?.family;
        let Some(network) = &self.errand.network else {
            return Ok(Err(Code::AccessDenied));
        };
        let port = Arc::new(Port {
            family,
            remote,
            peers: Mutex::default(),
            socket: OnceLock::new(),
            worker: network.worker.clone(),
            fault: Mutex::default(),
            meter: self.meter(),
        });
        if let Some(remote) = remote {
            let begun = self.call_begins("wasi-sockets.peer", || remote.to_string());
            let befriended = self.befriend(&port, remote);
            self.call_ends(begun, &befriended, |()| "may be sent to".to_owned());
            if let Err(fault) = befriended {
                return Ok(Err(fault.code));
            }
        }
        self.table.get_mut(&this)?.port = Some(port.clone());
        let incoming = self.table.push_child(Incoming(port.clone()), &this)?;
        let outgoing = self.table.push_child(Outgoing { port, permitted: 0 }, &this)?;
        Ok(Ok((incoming, outgoing)))
    }

    fn local_address(&mut self, this: Resource<UdpSocket>) -> Said<IpSocketAddress> {
        let socket = self.table.get(&this)?;
        let open = socket.port.as_ref().and_then(|port| port.socket.get());
        Ok(match open {
            Some((open, _)) => open.local_addr().map(Into::into).map_err(|_| Code::Unknown),
            None if socket.state == State::Bound => Ok(unspecified(socket.family).into()),
            None => Err(Code::InvalidState),
        })
    }

    fn remote_address(&mut self, this: Resource<UdpSocket>) -> Said<IpSocketAddress> {
        let port = &self.table.get(&this)?.port;
        let remote = port.as_ref().and_then(|port| port.remote);
        Ok(remote.map(Into::into).ok_or(Code::InvalidState))
    }

    fn address_family(&mut self, this: Resource<UdpSocket>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.family)
    }

    fn unicast_hop_limit(&mut self, this: Resource<UdpSocket>) -> Said<u8> {
        Ok(Ok(self.table.get(&this)?.hops))
    }

    fn set_unicast_hop_limit(&mut self, this: Resource<UdpSocket>, value: u8) -> Said<()> {
        self.table.get_mut(&this)?.hops = value;
        Ok(Ok(()))
    }

    fn receive_buffer_size(&mut self, this: Resource<UdpSocket>) -> Said<u64> {
        Ok(Ok(self.table.get(&this)?.receive))
    }

    fn set_receive_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> Said<()> {
        self.table.get_mut(&this)?.receive = value;
        Ok(Ok(()))
    }

    fn send_buffer_size(&mut self, this: Resource<UdpSocket>) -> Said<u64> {
        Ok(Ok(self.table.get(&this)?.send))
    }

    fn set_send_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> Said<()> {
        self.table.get_mut(&this)?.send = value;
        Ok(Ok(()))
    }

    fn subscribe(&mut self, this: Resource<UdpSocket>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn drop(&mut self, this: Resource<UdpSocket>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl udp::HostIncomingDatagramStream for Guest {
    fn receive(&mut self, this: Resource<Incoming>, most: u64) -> Said<Vec<udp::IncomingDatagram>> {
        let port = &self.table.get(&this)?.0;
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(BATCH);
        let received = port.receive(most);
        for datagram in received.iter().flatten() {
            let begun = self.call_begins("wasi-sockets.receive", || {
                SocketAddr::from(datagram.remote_address).to_string()
            });
            let length = datagram.data.len();
            self.call_ends(begun, &Ok::<_, Fault>(length), |length| format!("{length} bytes"));
        }
        Ok(received)
    }

    fn subscribe(&mut self, this: Resource<Incoming>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn drop(&mut self, this: Resource<Incoming>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl udp::HostOutgoingDatagramStream for Guest {
    fn check_send(&mut self, this: Resource<Outgoing>) -> Said<u64> {
        let outgoing = self.table.get_mut(&this)?;
        let ready = outgoing.port.socket.get().is_none_or(|(socket, _)| {
            let mut context = Context::from_waker(Waker::noop());
            socket.poll_send_ready(&mut context).is_ready()
        });
        outgoing.permitted = if ready { BATCH } else { 0 };
        Ok(Ok(outgoing.permitted as u64))
    }

    fn send(&mut self, this: Resource<Outgoing>, datagrams: Vec<udp::OutgoingDatagram>) -> Said<u64> {
        let outgoing = self.table.get_mut(&this)?;
        if datagrams.len() > outgoing.permitted {
            wasmtime::bail!("more datagrams than `check-send` allows");
        }
        if !datagrams.is_empty() {
            outgoing.permitted = 0;
        }
        let port = outgoing.port.clone();
        let mut sent = 0;
        for datagram in datagrams {
            let to = datagram.remote_address.map(SocketAddr::from).or(port.remote);
            let begun = self.call_begins("wasi-sockets.send", || {
                to.map_or_else(String::new, |to| to.to_string())
            });
            let taken = self.send_one(&port, &datagram);
            self.call_ends(begun, &taken, |taken| {
                if *taken {
                    format!("{} bytes", datagram.data.len())
                } else {
                    "not now".to_owned()
                }
            });
            match taken {
                Ok(true) => sent += 1,
                Err(fault) if sent == 0 => return Ok(Err(fault.code)),
                Ok(false) | Err(_) => break,
            }
        }
        Ok(Ok(sent))
    }

    fn subscribe(&mut self, this: Resource<Outgoing>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn drop(&mut self, this: Resource<Outgoing>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl Guest {
    /// Sends one datagram. Whether the kernel took it.
    fn send_one(
        &mut self,
        port: &Port,
        datagram: &udp::OutgoingDatagram,
    ) -> std::result::Result<bool, Fault> {
        let to = match (port.remote, datagram.remote_address.map(SocketAddr::from)) {
            (Some(remote), None) => remote,
            (Some(remote), Some(to)) if to == remote => remote,
            (None, Some(to)) => to,
            _ => {
                let why = "a datagram for nobody, or for another than the socket's own peer";
                return Err(self.senseless(Code::InvalidArgument, why));
            }
        };
        self.befriend(port, to)?;
        let Some((socket, _)) = port.socket.get() else {
            return Err(Code::Unknown.into());
        };
        if datagram.data.len() > DATAGRAM {
            let why = format!("a datagram of {} bytes", datagram.data.len());
            return Err(self.senseless(Code::DatagramTooLarge, &why));
        }
        self.take_bytes(datagram.data.len().max(1))
            .map_err(|refusal| Fault {
                code: Code::AccessDenied,
                why: refusal.to_string(),
            })?;
        let sent = match port.remote {
            Some(_) => socket.try_send(&datagram.data),
            None => socket.try_send_to(&datagram.data, to),
        };
        match sent {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(port.failed(&error, to).into()),
        }
    }

    /// What could never be sent, which no plugin may take for its target's doing.
    fn senseless(&self, code: Code, why: &str) -> Fault {
        let why = self.unfit(why).to_string();
        Fault { code, why }
    }

    /// Makes `peer` one of the socket's peers if it may be, and opens the socket for the first.
    fn befriend(&mut self, port: &Port, peer: SocketAddr) -> std::result::Result<(), Fault> {
        if port.is_peer(peer) {
            return Ok(());
        }
        if !fits(port.family, peer) {
            return Err(self.senseless(Code::InvalidArgument, &no_peer(peer)));
        }
        self.admit_peer(peer)?;
        let seat = self.take_connect()?;
        if port.socket.get().is_none() {
            let socket = Self::open(port).map_err(|error| port.failed(&error, peer))?;
            // Nobody else opens it: a guest does one thing at a time.
            let _ = port.socket.set((socket, seat));
        }
        port.peers().push(peer);
        Ok(())
    }

    /// Opens the socket on the worker's runtime, where its readiness is watched.
    fn open(port: &Port) -> io::Result<Socket> {
        let _worker = port.worker.enter();
        let socket = std::net::UdpSocket::bind(unspecified(port.family))?;
        if let Some(remote) = port.remote {
            socket.connect(remote)?;
        }
        socket.set_nonblocking(true)?;
        Socket::from_std(socket)
    }
}

impl Port {
    fn peers(&self) -> std::sync::MutexGuard<'_, Vec<SocketAddr>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Datagrams of peers, as many as there are; those of strangers are thrown away.
    fn receive(&self, most: usize) -> std::result::Result<Vec<udp::IncomingDatagram>, Code> {
        let mut datagrams = Vec::new();
        let Some((socket, _)) = self.socket.get() else {
            return Ok(datagrams);
        };
        let mut buffer = vec![0; DATAGRAM];
        for _ in 0..STRANGERS {
            if datagrams.len() >= most {
                break;
            }
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) if self.is_peer(from) => {
                    self.meter.message(length).map_err(|_| Code::AccessDenied)?;
                    datagrams.push(udp::IncomingDatagram {
                        data: buffer.get(..length).unwrap_or_default().to_vec(),
                        remote_address: from.into(),
                    });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) if !datagrams.is_empty() => break,
                Err(error) => {
                    return Err(self.failed(&error, self.remote.unwrap_or(unspecified(self.family))));
                }
            }
        }
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        match fault.filter(|_| datagrams.is_empty()) {
            Some(error) => Err(self.failed(&error, self.remote.unwrap_or(unspecified(self.family)))),
            None => Ok(datagrams),
        }
    }

    /// An address has a scope and a flow besides, by which it is still the same peer.
    fn is_peer(&self, from: SocketAddr) -> bool {
        let same = |peer: &SocketAddr| (peer.ip(), peer.port()) == (from.ip(), from.port());
        self.peers().iter().any(same)
    }

    /// Waits until there is something to receive, or the way to the only peer has failed.
    async fn heard(&self, socket: &Socket) -> io::Result<()> {
        if self.remote.is_some() {
            let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
            if ready.is_error() {
                let fault = socket.take_error()?;
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
                // Seen: it would be ready for ever.
                let _ = socket.try_io(Interest::ERROR, || Err::<(), _>(ErrorKind::WouldBlock.into()));
            }
            return Ok(());
        }
        loop {
            socket.readable().await?;
            match socket.try_peek_sender() {
                Ok(from) if self.is_peer(from) => return Ok(()),
                Ok(_) => drop(socket.try_recv(&mut [])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn failed(&self, error: &io::Error, peer: SocketAddr) -> Code {
        let error = NetError::from_io(error, &peer.to_string());
        self.meter.ledger.book_failure(&error);
        code::of(&error)
    }

    /// Waits for the peer, which is written down.
    async fn wait(&self, phase: &str, work: impl Future<Output = io::Result<()>>) {
        let peer = self.peers().last().map_or_else(String::new, ToString::to_string);
        let step = NetError::ResponseTimeout(peer);
        let (begun, flight) = (Instant::now(), Flight::begin(&self.meter.ledger, step));
        // How the wait failed shows in the next call.
        let _ = work.await;
        flight.land();
        self.meter.ledger.spend(phase, begun.elapsed());
    }
}

#[async_trait]
impl Pollable for UdpSocket {
    async fn ready(&mut self) {}
}

#[async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        if self.0.socket.get().is_none() {
            // Who has written to nobody hears nobody.
            return future::pending().await;
        }
        let port = self.0.clone();
        // Strangers can write as much as they like: that neither wakes the guest nor takes of its time.
        let heard = async move {
            match port.socket.get() {
                Some((socket, _)) => port.heard(socket).await,
                None => Ok(()),
            }
        };
        let heard = AbortOnDropHandle::new(self.0.worker.spawn(heard));
        let heard = async move { heard.await.unwrap_or_else(|error| Err(io::Error::other(error))) };
        self.0.wait("first_byte", heard).await;
    }
}

#[async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        if let Some((socket, _)) = self.port.socket.get() {
            self.port.wait("send", socket.writable()).await;
        }
    }
}
