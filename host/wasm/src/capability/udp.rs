//! `udp`: datagrams to one judged address. Connected sockets only, so that no plugin becomes an amplifier.

use super::{Answer, convert};
use crate::{
    abi::v1::wit::{
        net_types::{Endpoint, IpFamily},
        udp::{Host, HostSocket},
    },
    guest::Guest,
    quota::Seat,
    rights::Right,
};
use lapwing_checks::net::{Datagrams, NetError, Quota};
use std::{sync::Arc, time::Duration};
use wasmtime::{Result, component::Resource};

/// `open` and `send` have no time-out of their own: only a name look-up or a full send buffer can hold them up.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// One connected socket of a guest.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Socket {
    inner: Arc<Datagrams>,
    host: String,
    _seat: Seat,
}

impl Host for Guest {}

impl HostSocket for Guest {
    async fn open(&mut self, to: Endpoint, family: IpFamily) -> Answer<Resource<Socket>> {
        let begun = self.call_begins("udp.open", || format!("{}:{}", to.host, to.port));
        let answer = self.open_socket(to, family).await?;
        self.call_ends(begun, &answer, |_| "open".to_owned());
        Ok(answer)
    }

    async fn send(&mut self, this: Resource<Socket>, data: Vec<u8>) -> Answer<()> {
        let begun = self.call_begins("udp.send", || format!("{} bytes", data.len()));
        let answer = self.send_datagram(&this, data).await?;
        self.call_ends(begun, &answer, |()| "sent".to_owned());
        Ok(answer)
    }

    async fn receive(&mut self, this: Resource<Socket>, max: u32, timeout: u64) -> Answer<Vec<u8>> {
        let begun = self.call_begins("udp.receive", || format!("{max} bytes at most"));
        let answer = self.receive_datagram(&this, max, timeout).await?;
        self.call_ends(begun, &answer, |data| format!("{} bytes", data.len()));
        Ok(answer)
    }

    async fn drop(&mut self, this: Resource<Socket>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl Guest {
    async fn open_socket(&mut self, to: Endpoint, family: IpFamily) -> Answer<Resource<Socket>> {
        let (net, seat) = match self
            .permit(Right::Udp)
            .and_then(|net| Ok((net, self.take_connect()?)))
        {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (host, port, family) = (to.host.clone(), to.port, convert::family(family));
        let step = NetError::DnsTimeout(host.clone());
        let work = move |deadline| async move { net.datagrams(&host, port, family, deadline).await };
        let done = self
            .on_network(step, convert::nanoseconds(OPEN_TIMEOUT), work)
            .await?;
        self.ledger.spend("resolve", done.elapsed);
        match self.settle(done)? {
            Ok(socket) => {
                let socket = self.table.push(Socket {
                    inner: Arc::new(socket),
                    host: to.host,
                    _seat: seat,
                })?;
                Ok(Ok(socket))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn send_datagram(&mut self, this: &Resource<Socket>, data: Vec<u8>) -> Answer<()> {
        // An empty one counts, too.
        if let Err(refusal) = self.take_bytes(data.len().max(1)) {
            return Ok(Err(refusal));
        }
        let (socket, step) = self.socket(this)?;
        let work = move |deadline| async move { socket.send(&data, deadline).await };
        let done = self
            .on_network(step, convert::nanoseconds(OPEN_TIMEOUT), work)
            .await?;
        self.ledger.spend("send", done.elapsed);
        self.settle(done)
    }

    async fn receive_datagram(&mut self, this: &Resource<Socket>, max: u32, timeout: u64) -> Answer<Vec<u8>> {
        if let Err(refusal) = self.room_for(max) {
            return Ok(Err(refusal));
        }
        let (socket, step) = self.socket(this)?;
        let work = move |deadline| async move { socket.receive(deadline).await };
        let done = self.on_network(step, timeout, work).await?;
        self.ledger.spend("first_byte", done.elapsed);
        let data = self.settle(done)?;
        Ok(data.and_then(|mut data| {
            let counted = self.meter().message(data.len());
            counted.map_err(|error| convert::net_error(&error))?;
            data.truncate(usize::try_from(max).unwrap_or(usize::MAX));
            Ok(data)
        }))
    }

    fn socket(&self, this: &Resource<Socket>) -> Result<(Arc<Datagrams>, NetError)> {
        let socket = self.table.get(this)?;
        Ok((
            socket.inner.clone(),
            NetError::ResponseTimeout(socket.host.clone()),
        ))
    }
}
