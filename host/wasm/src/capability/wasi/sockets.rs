//! `wasi:sockets`: outgoing connections and datagrams of unmodified programs (`std::net`, Python's `socket`).
//!
//! None of the stock implementation but its streams' resource types: it has no place to judge an address by the name it
//! was looked up for, to count bytes, or to tell whom a blocked guest waits for. A name is resolved by the worker's
//! resolver and judged; its addresses are pinned in the run, and a connection is judged again, with its port, under
//! the names its address was found for. Nobody listens, and no descriptor is opened for what is refused.

mod code;
mod stream;
mod tcp;
mod udp;

use super::super::Answer;
use crate::{abi::v1::wit::net_types::NetError as GuestError, guest::Guest, rights::Right, text};
use code::{Code, Said};
use lapwing_checks::net::{Host, IpFamily, NetError};
use std::{
    any::Any,
    net::{IpAddr, SocketAddr},
    vec,
};
use wasmtime::{
    Result,
    component::{HasSelf, Linker, Resource},
};
use wasmtime_wasi::{
    async_trait,
    p2::{
        DynPollable, Pollable,
        bindings::sockets::network::{IpAddress, IpAddressFamily, Network},
        subscribe,
    },
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/sockets.wit",
        world: "lapwing:wasi/sockets",
        imports: {
            "wasi:sockets/ip-name-lookup.resolve-addresses": async | trappable,
            default: trappable,
        },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:sockets/network": wasmtime_wasi::p2::bindings::sockets::network,
            "wasi:sockets/ip-name-lookup.resolve-address-stream": super::Answers,
            "wasi:sockets/tcp.tcp-socket": super::tcp::TcpSocket,
            "wasi:sockets/udp.udp-socket": super::udp::UdpSocket,
            "wasi:sockets/udp.incoming-datagram-stream": super::udp::Incoming,
            "wasi:sockets/udp.outgoing-datagram-stream": super::udp::Outgoing,
        },
    });
}

use bindings::wasi::sockets as wit;
use wit::ip_name_lookup;

/// The addresses this run has looked up, each with the name it was found for.
pub(crate) type Pins = Vec<(IpAddr, String)>;

/// What a look-up found, handed out one by one.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Answers(vec::IntoIter<IpAddr>);

/// Whether it is a socket, opened or not.
pub(crate) fn is_socket(held: &(dyn Any + Send)) -> bool {
    held.is::<tcp::TcpSocket>()
        || held.is::<udp::UdpSocket>()
        || held.is::<udp::Incoming>()
        || held.is::<udp::Outgoing>()
}

/// Replaces the stock sockets in a linker that has all of WASI.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    linker.allow_shadowing(true);
    ip_name_lookup::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    wit::tcp::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    wit::tcp_create_socket::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    wit::udp::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    wit::udp_create_socket::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl ip_name_lookup::Host for Guest {
    async fn resolve_addresses(&mut self, _: Resource<Network>, name: String) -> Said<Resource<Answers>> {
        let begun = self.call_begins("wasi-sockets.resolve", || name.clone());
        let found = self.look_up(&name).await?;
        self.call_ends(begun, &found, |addresses| {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            addresses.join(", ")
        });
        match found {
            Ok(addresses) => {
                // As it is judged: a name in other letters than ASCII has two spellings.
                let name = match Host::parse(&name) {
                    Ok(host) => host.to_string(),
                    Err(_) => name,
                };
                let pins = addresses.iter().map(|address| (*address, name.clone()));
                self.pins.extend(pins);
                Ok(Ok(self.table.push(Answers(addresses.into_iter()))?))
            }
            Err(error) => Ok(Err(code::of_look_up(&error))),
        }
    }
}

impl ip_name_lookup::HostResolveAddressStream for Guest {
    fn resolve_next_address(&mut self, this: Resource<Answers>) -> Said<Option<IpAddress>> {
        Ok(Ok(self.table.get_mut(&this)?.0.next().map(IpAddress::from)))
    }

    fn subscribe(&mut self, this: Resource<Answers>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn drop(&mut self, this: Resource<Answers>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// They are all there.
#[async_trait]
impl Pollable for Answers {
    async fn ready(&mut self) {}
}

impl Guest {
    async fn look_up(&mut self, name: &str) -> Answer<Vec<IpAddr>> {
        let net = match self
            .permit(Right::WasiSockets)
            .and_then(|net| self.take_question().map(|()| net))
        {
            Ok(net) => net,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let step = NetError::DnsTimeout(text::line(name, 100));
        let asked = name.to_owned();
        let work = async move |deadline| net.resolve(&asked, None, IpFamily::Any, deadline).await;
        let done = self.on_network(step, u64::MAX, work).await?;
        self.ledger.spend("resolve", done.elapsed);
        Ok(self.settle(done)?.map(|found| {
            // To the guest it is not there.
            let rule = found.denied.map(|denied| denied.to_string());
            let mut entries = self.ledger.entries();
            entries.left_out = rule.or(entries.left_out.take());
            found.addresses
        }))
    }

    /// Whether sockets of WASI are for this run at all; asked before one is made.
    fn admit_socket(&self) -> std::result::Result<(), Code> {
        self.permit(Right::WasiSockets)
            .map(drop)
            .map_err(|refusal| code::of_refusal(&refusal))
    }

    /// Judges `address` as a peer: under the names this run found it for, or as the literal address it is. What to
    /// call it.
    fn admit_peer(&self, address: SocketAddr) -> std::result::Result<String, GuestError> {
        let net = self.permit(Right::WasiSockets)?;
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let names = self.pins.iter().filter(|(pinned, _)| *pinned == ip);
        let literal = ip.to_string();
        let mut denied = None;
        for name in names.map(|(_, name)| name).chain([&literal]) {
            match net.judge(name, Some(port), ip) {
                Ok(()) => return Ok(format!("{name}:{port}")),
                Err(rule) => denied.get_or_insert(rule),
            };
        }
        let rule = denied.map_or_else(|| literal.clone(), |rule| rule.to_string());
        Err(self.refuse(&rule))
    }

    /// A socket gets its local address when it connects; to ask for one is to ask to be reached.
    fn admit_bind(&self, local: SocketAddr) -> std::result::Result<(), Code> {
        if local.ip().is_unspecified() && local.port() == 0 {
            return Ok(());
        }
        self.refuse(&format!(
            "wasi:sockets: bind to {local}: plugins do not choose local addresses"
        ));
        Err(Code::AccessDenied)
    }
}

/// Said of an address that [`fits`] none.
fn no_peer(address: SocketAddr) -> String {
    format!("wasi:sockets: {address} cannot be the peer of such a socket")
}

/// Whether `address` can be a peer of a socket of this family: IPv4-mapped addresses belong to neither.
fn fits(family: IpAddressFamily, address: SocketAddr) -> bool {
    let of_family = match address.ip() {
        IpAddr::V4(_) => family == IpAddressFamily::Ipv4,
        IpAddr::V6(v6) => family == IpAddressFamily::Ipv6 && v6.to_ipv4_mapped().is_none(),
    };
    of_family && address.port() != 0 && !address.ip().is_unspecified()
}
