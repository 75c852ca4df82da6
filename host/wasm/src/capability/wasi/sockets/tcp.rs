//! `wasi:sockets/tcp`: connections out. A connection is made on the worker's runtime and belongs to the socket.

use super::{
    code::{self, Code, Said},
    fits, no_peer,
    stream::{Reader, Wire, Writer},
    wit::{tcp, tcp_create_socket},
};
use crate::{abi::v1::wit::net_types::NetError as GuestError, guest::Guest, ledger::Flight, trace::Begun};
use futures_util::FutureExt;
use lapwing_checks::net::NetError;
use std::{
    mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};
use tokio::{net::TcpStream, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::{Result, component::Resource};
use wasmtime_wasi::{
    async_trait,
    p2::{
        DynInputStream, DynOutputStream, DynPollable, Pollable,
        bindings::sockets::network::{IpAddressFamily, IpSocketAddress, Network},
        subscribe,
    },
};

/// One socket of a guest. There is none of the kernel's behind it before it connects.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct TcpSocket {
    family: IpAddressFamily,
    state: State,
    hints: Hints,
}

#[derive(Debug)]
enum State {
    Fresh,
    Binding,
    Bound,
    Connecting(AbortOnDropHandle<Dialled>),
    Dialled(Dialled),
    Open(Arc<Wire>),
    Failed,
}

type Dialled = std::result::Result<Arc<Wire>, Code>;

/// Settings that are kept for who asks for them, and change nothing in a connection that lives for one run.
#[derive(Debug)]
struct Hints {
    keep_alive: bool,
    idle: u64,
    interval: u64,
    count: u32,
    hops: u8,
    receive: u64,
    send: u64,
}

impl Default for Hints {
    /// Linux's own.
    fn default() -> Self {
        Self {
            keep_alive: false,
            idle: 7_200_000_000_000,
            interval: 75_000_000_000,
            count: 9,
            hops: 64,
            receive: 131_072,
            send: 16_384,
        }
    }
}

impl tcp_create_socket::Host for Guest {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> Said<Resource<TcpSocket>> {
        if let Err(refusal) = self.admit_socket() {
            return Ok(Err(refusal));
        }
        Ok(Ok(self.table.push(TcpSocket {
            family,
            state: State::Fresh,
            hints: Hints::default(),
        })?))
    }
}

impl tcp::Host for Guest {}

impl tcp::HostTcpSocket for Guest {
    fn start_bind(
        &mut self,
        this: Resource<TcpSocket>,
        _: Resource<Network>,
        local: IpSocketAddress,
    ) -> Said<()> {
        let admitted = self.admit_bind(local.into());
        let socket = self.table.get_mut(&this)?;
        Ok(match (admitted, &socket.state) {
            (Err(refusal), _) => Err(refusal),
            (Ok(()), State::Fresh) => {
                socket.state = State::Binding;
                Ok(())
            }
            (Ok(()), _) => Err(Code::InvalidState),
        })
    }

    fn finish_bind(&mut self, this: Resource<TcpSocket>) -> Said<()> {
        let socket = self.table.get_mut(&this)?;
        if matches!(socket.state, State::Binding) {
            socket.state = State::Bound;
            return Ok(Ok(()));
        }
        Ok(Err(Code::NotInProgress))
    }

    fn start_connect(
        &mut self,
        this: Resource<TcpSocket>,
        _: Resource<Network>,
        remote: IpSocketAddress,
    ) -> Said<()> {
        let address = SocketAddr::from(remote);
        let socket = self.table.get(&this)?;
        match socket.state {
            State::Fresh | State::Bound if fits(socket.family, address) => {}
            State::Fresh | State::Bound => {
                self.unfit(&no_peer(address));
                return Ok(Err(Code::InvalidArgument));
            }
            State::Binding | State::Connecting(_) => return Ok(Err(Code::ConcurrencyConflict)),
            _ => return Ok(Err(Code::InvalidState)),
        }
        let begun = self.call_begins("wasi-sockets.connect", || address.to_string());
        let dial = match self.dial(address, begun) {
            Ok(dial) => dial,
            Err(refusal) => {
                self.call_ends(begun, &Err::<(), _>(&refusal), |()| String::new());
                return Ok(Err(code::of_refusal(&refusal)));
            }
        };
        self.table.get_mut(&this)?.state = State::Connecting(dial);
        Ok(Ok(()))
    }

    fn finish_connect(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> Said<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let socket = self.table.get_mut(&this)?;
        socket.look();
        let wire = match mem::replace(&mut socket.state, State::Failed) {
            State::Dialled(Ok(wire)) => wire,
            State::Dialled(Err(code)) => return Ok(Err(code)),
            other => {
                let connecting = matches!(other, State::Connecting(_));
                socket.state = other;
                return Ok(Err(if connecting {
                    Code::WouldBlock
                } else {
                    Code::NotInProgress
                }));
            }
        };
        socket.state = State::Open(wire.clone());
        let input: DynInputStream = Box::new(Reader(wire.clone()));
        let output: DynOutputStream = Box::new(Writer(wire));
        let input = self.table.push_child(input, &this)?;
        let output = self.table.push_child(output, &this)?;
        Ok(Ok((input, output)))
    }

    fn start_listen(&mut self, _: Resource<TcpSocket>) -> Said<()> {
        self.refuse("wasi:sockets: plugins do not listen");
        Ok(Err(Code::AccessDenied))
    }

    fn finish_listen(&mut self, _: Resource<TcpSocket>) -> Said<()> {
        Ok(Err(Code::NotInProgress))
    }

    fn accept(
        &mut self,
        _: Resource<TcpSocket>,
    ) -> Said<(
        Resource<TcpSocket>,
        Resource<DynInputStream>,
        Resource<DynOutputStream>,
    )> {
        Ok(Err(Code::InvalidState))
    }

    fn local_address(&mut self, this: Resource<TcpSocket>) -> Said<IpSocketAddress> {
        let socket = self.table.get(&this)?;
        Ok(match &socket.state {
            State::Open(wire) => wire.local().map(Into::into).map_err(|_| Code::Unknown),
            State::Bound => Ok(unspecified(socket.family).into()),
            _ => Err(Code::InvalidState),
        })
    }

    fn remote_address(&mut self, this: Resource<TcpSocket>) -> Said<IpSocketAddress> {
        Ok(match &self.table.get(&this)?.state {
            State::Open(wire) => Ok(wire.peer.into()),
            _ => Err(Code::InvalidState),
        })
    }

    fn is_listening(&mut self, _: Resource<TcpSocket>) -> Result<bool> {
        Ok(false)
    }

    fn address_family(&mut self, this: Resource<TcpSocket>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.family)
    }

    fn set_listen_backlog_size(&mut self, _: Resource<TcpSocket>, _: u64) -> Said<()> {
        Ok(Err(Code::NotSupported))
    }

    fn keep_alive_enabled(&mut self, this: Resource<TcpSocket>) -> Said<bool> {
        Ok(Ok(self.table.get(&this)?.hints.keep_alive))
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<TcpSocket>, value: bool) -> Said<()> {
        self.table.get_mut(&this)?.hints.keep_alive = value;
        Ok(Ok(()))
    }

    fn keep_alive_idle_time(&mut self, this: Resource<TcpSocket>) -> Said<u64> {
        Ok(Ok(self.table.get(&this)?.hints.idle))
    }

    fn set_keep_alive_idle_time(&mut self, this: Resource<TcpSocket>, value: u64) -> Said<()> {
        Ok(set(value, &mut self.table.get_mut(&this)?.hints.idle))
    }

    fn keep_alive_interval(&mut self, this: Resource<TcpSocket>) -> Said<u64> {
        Ok(Ok(self.table.get(&this)?.hints.interval))
    }

    fn set_keep_alive_interval(&mut self, this: Resource<TcpSocket>, value: u64) -> Said<()> {
        Ok(set(value, &mut self.table.get_mut(&this)?.hints.interval))
    }

    fn keep_alive_count(&mut self, this: Resource<TcpSocket>) -> Said<u32> {
        Ok(Ok(self.table.get(&this)?.hints.count))
    }

    fn set_keep_alive_count(&mut self, this: Resource<TcpSocket>, value: u32) -> Said<()> {
        Ok(set(value, &mut self.table.get_mut(&this)?.hints.count))
    }

    fn hop_limit(&mut self, this: Resource<TcpSocket>) -> Said<u8> {
        Ok(Ok(self.table.get(&this)?.hints.hops))
    }

    fn set_hop_limit(&mut self, this: Resource<TcpSocket>, value: u8) -> Said<()> {
        Ok(set(value, &mut self.table.get_mut(&this)?.hints.hops))
    }

    fn receive_buffer_size(&mut self, this: Resource<TcpSocket>) -> Said<u64> {
        Ok(Ok(self.table.get(&this)?.hints.receive))
    }

    fn set_receive_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Said<()> {
        Ok(set(value, &mut self.table.get_mut(&this)?.hints.receive))
    }

    fn send_buffer_size(&mut self, this: Resource<TcpSocket>) -> Said<u64> {
        Ok(Ok(self.table.get(&this)?.hints.send))
    }

    fn set_send_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Said<()> {
        Ok(set(value, &mut self.table.get_mut(&this)?.hints.send))
    }

    fn subscribe(&mut self, this: Resource<TcpSocket>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn shutdown(&mut self, this: Resource<TcpSocket>, how: tcp::ShutdownType) -> Said<()> {
        let State::Open(wire) = &self.table.get(&this)?.state else {
            return Ok(Err(Code::InvalidState));
        };
        if how != tcp::ShutdownType::Send {
            wire.stop_reading();
        }
        if how != tcp::ShutdownType::Receive {
            wire.stop_writing();
        }
        Ok(Ok(()))
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl Guest {
    /// Begins to connect to `address` once it is judged; the call `begun` ends with it.
    fn dial(
        &mut self,
        address: SocketAddr,
        begun: Option<Begun>,
    ) -> std::result::Result<AbortOnDropHandle<Dialled>, GuestError> {
        let name = self.admit_peer(address)?;
        let seat = self.take_connect()?;
        let (meter, Some(network)) = (self.meter(), &self.errand.network) else {
            return Err(self.refuse("no network"));
        };
        let flight = Flight::begin(&self.ledger, NetError::ConnectTimeout(name.clone()));
        let connect = async move {
            let since = Instant::now();
            let stream = TcpStream::connect(address).await;
            meter.ledger.spend("connect", since.elapsed());
            flight.land();
            let stream = stream.map_err(|error| NetError::from_io(&error, &name));
            meter.ledger.call_ends(begun, &stream, |_| name.clone());
            match stream {
                Ok(stream) => {
                    // As for every connection of the worker: small writes are not to wait for each other.
                    let _ = stream.set_nodelay(true);
                    Ok(Arc::new(Wire::new(stream, address, name, meter, seat)))
                }
                Err(error) => {
                    meter.ledger.book_failure(&error);
                    Err(code::of(&error))
                }
            }
        };
        Ok(AbortOnDropHandle::new(network.worker.spawn(connect)))
    }
}

impl TcpSocket {
    /// Whether the connection is there by now.
    fn look(&mut self) {
        if let State::Connecting(dial) = &mut self.state
            && let Some(dialled) = dial.now_or_never()
        {
            self.state = State::Dialled(dialled.unwrap_or(Err(Code::Unknown)));
        }
    }
}

#[async_trait]
impl Pollable for TcpSocket {
    async fn ready(&mut self) {
        if let State::Connecting(dial) = &mut self.state {
            let dialled = dial.await;
            self.state = State::Dialled(dialled.unwrap_or(Err(Code::Unknown)));
        }
    }
}

/// Zero makes no sense for any of them.
fn set<T: Default + PartialEq>(value: T, hint: &mut T) -> std::result::Result<(), Code> {
    if value == T::default() {
        return Err(Code::InvalidArgument);
    }
    *hint = value;
    Ok(())
}

/// What a socket is bound to before it connects.
pub(super) fn unspecified(family: IpAddressFamily) -> SocketAddr {
    match family {
        IpAddressFamily::Ipv4 => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddressFamily::Ipv6 => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
