//! `tcp`: a connection to a judged address, upgraded to TLS in place, read by delimiter, count or availability.
//!
//! A connection's link (socket and read buffer) moves into the task that works on it and comes back with the result; a
//! run that is dropped in between drops the task, and with it the socket.

use super::{Answer, Done, convert, link::Link, secrets::IDENTITY};
use crate::{
    abi::v1::wit::{
        net_types::{Endpoint, IpFamily, NetError as GuestError, Peer, Timing, TlsOptions},
        tcp::{Host, HostConnection},
        types::TlsInfo,
    },
    guest::Guest,
    ledger::Ledger,
    quota::Seat,
    rights::Right,
};
use lapwing_checks::net::{Connection as Dialled, NetError, tls::TlsSession};
use std::{net::SocketAddr, time::Duration};
use tokio::time::Instant;
use wasmtime::{Result, component::Resource};

/// Longest delimiter of `read-until`: the search for it runs on the worker's own threads.
const DELIMITER_BYTES: usize = 256;

/// One connection of a guest.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Connection {
    /// `None` after a failed handshake.
    link: Option<Link>,
    host: String,
    peer: SocketAddr,
    begun: Instant,
    timing: Timing,
    _seat: Seat,
}

/// Up to where to read.
#[derive(Debug)]
pub(crate) enum Extent {
    /// Whatever comes first; nothing at the end of the stream.
    Some,
    /// Up to and with this.
    Until(Vec<u8>),
    /// Exactly as much as asked for.
    All,
}

impl Extent {
    /// The call that reads so far.
    fn call(&self) -> &'static str {
        match self {
            Self::Some => "tcp.read",
            Self::Until(_) => "tcp.read-until",
            Self::All => "tcp.read-exact",
        }
    }
}

impl Host for Guest {}

impl HostConnection for Guest {
    async fn connect(
        &mut self,
        to: Endpoint,
        family: IpFamily,
        timeout: u64,
    ) -> Answer<Resource<Connection>> {
        let begun = self.call_begins("tcp.connect", || format!("{}:{}", to.host, to.port));
        let answer = self.open_connection(to, family, timeout).await?;
        let peer = match &answer {
            Ok(connection) => self.table.get(connection)?.peer.to_string(),
            Err(_) => String::new(),
        };
        self.call_ends(begun, &answer, |_| peer);
        Ok(answer)
    }

    async fn start_tls(
        &mut self,
        this: Resource<Connection>,
        options: TlsOptions,
        timeout: u64,
    ) -> Answer<TlsInfo> {
        let begun = self.call_begins("tcp.start-tls", || {
            options.server_name.clone().unwrap_or_default()
        });
        let answer = self.encrypt(&this, options, timeout).await?;
        self.call_ends(begun, &answer, |info| {
            format!("{} {}", info.protocol, info.cipher)
        });
        Ok(answer)
    }

    async fn write_all(&mut self, this: Resource<Connection>, data: Vec<u8>, timeout: u64) -> Answer<()> {
        let begun = self.call_begins("tcp.write-all", || format!("{} bytes", data.len()));
        let answer = self.write_to(&this, data, timeout).await?;
        self.call_ends(begun, &answer, |()| "sent".to_owned());
        Ok(answer)
    }

    async fn read(&mut self, this: Resource<Connection>, max: u32, timeout: u64) -> Answer<Vec<u8>> {
        self.read_from(&this, Extent::Some, max, timeout).await
    }

    async fn read_until(
        &mut self,
        this: Resource<Connection>,
        delimiter: Vec<u8>,
        max: u32,
        timeout: u64,
    ) -> Answer<Vec<u8>> {
        if delimiter.len() > DELIMITER_BYTES {
            let quota = format!("a delimiter of more than {DELIMITER_BYTES} bytes");
            return Ok(Err(self.exhaust(&quota)));
        }
        self.read_from(&this, Extent::Until(delimiter), max, timeout)
            .await
    }

    async fn read_exact(&mut self, this: Resource<Connection>, n: u32, timeout: u64) -> Answer<Vec<u8>> {
        self.read_from(&this, Extent::All, n, timeout).await
    }

    async fn shutdown_write(&mut self, this: Resource<Connection>) -> Result<()> {
        let work = |mut link: Link, deadline| async move {
            let result = link.shutdown(deadline).await;
            (link, result)
        };
        // The interface has no error here; a broken connection shows at the next read.
        self.on_link(&this, u64::MAX, work).await?;
        Ok(())
    }

    async fn peer(&mut self, this: Resource<Connection>) -> Result<Peer> {
        Ok(convert::peer(self.table.get(&this)?.peer))
    }

    async fn timing(&mut self, this: Resource<Connection>) -> Result<Timing> {
        let connection = self.table.get(&this)?;
        Ok(Timing {
            total: convert::nanoseconds(connection.begun.elapsed()),
            ..connection.timing
        })
    }

    async fn drop(&mut self, this: Resource<Connection>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl Guest {
    async fn open_connection(
        &mut self,
        to: Endpoint,
        family: IpFamily,
        timeout: u64,
    ) -> Answer<Resource<Connection>> {
        let (net, seat) = match self
            .permit(Right::Tcp)
            .and_then(|net| Ok((net, self.take_connect()?)))
        {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let begun = Instant::now();
        let (host, port, family) = (to.host.clone(), to.port, convert::family(family));
        let step = NetError::ConnectTimeout(format!("{host}:{port}"));
        let work = move |deadline| async move { net.connect(&host, port, family, deadline).await };
        let done = self.on_network(step, timeout, work).await?;
        book_dial(&self.ledger, &done.value, done.elapsed);
        match self.settle(done)? {
            Ok(dialled) => Ok(Ok(self.keep(dialled, to.host, begun, seat)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn encrypt(
        &mut self,
        this: &Resource<Connection>,
        options: TlsOptions,
        timeout: u64,
    ) -> Answer<TlsInfo> {
        let connection = self.table.get(this)?;
        let (host, port) = (connection.host.clone(), connection.peer.port());
        let identity = match &options.client_identity {
            Some(name) => match self
                .fill_in(name, IDENTITY, (&convert::host(&host), port), false)
                .await
            {
                Ok(identity) => Some(identity),
                Err(refusal) => return Ok(Err(refusal)),
            },
            None => None,
        };
        let connection = self.table.get_mut(this)?;
        let stream = match connection.link.take().map(Link::into_plain) {
            None => return Ok(Err(GuestError::Closed)),
            Some(Ok(stream)) => stream,
            Some(Err(unfit)) if unfit.is_encrypted() => {
                wasmtime::bail!("`start-tls` on a connection that is encrypted already")
            }
            Some(Err(unread)) => {
                connection.link = Some(unread);
                return Ok(Err(GuestError::Protocol(
                    "unread bytes before the TLS handshake".to_owned(),
                )));
            }
        };
        let step = NetError::TlsTimeout(host.clone());
        let options = convert::tls_options(options, identity.as_deref());
        let net = match self.permit(Right::Tcp) {
            Ok(net) => net,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let work = move |deadline| async move {
            net.handshake(stream, &host, &options, deadline)
                .await
                .map(Box::new)
        };
        let done = self.on_network(step, timeout, work).await?;
        self.ledger.spend("tls", done.elapsed);
        match self.settle(done)? {
            Ok(session) => Ok(Ok(self.secure(this, *session)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn keep(
        &mut self,
        dialled: Dialled,
        host: String,
        begun: Instant,
        seat: Seat,
    ) -> Result<Resource<Connection>> {
        let timing = Timing {
            dns: Some(convert::nanoseconds(dialled.resolve)),
            connect: Some(convert::nanoseconds(dialled.connect)),
            tls: None,
            first_byte: None,
            total: 0,
        };
        let link = Some(Link::plain(dialled.stream));
        Ok(self.table.push(Connection {
            link,
            host,
            peer: dialled.peer,
            begun,
            timing,
            _seat: seat,
        })?)
    }

    fn secure(
        &mut self,
        this: &Resource<Connection>,
        session: TlsSession<tokio::net::TcpStream>,
    ) -> Result<TlsInfo> {
        let connection = self.table.get_mut(this)?;
        connection.timing.tls = Some(convert::nanoseconds(session.elapsed));
        connection.link = Some(Link::tls(session.stream));
        let info = convert::tls_info(&session.info);
        self.ledger.entries().tls = Some(session.info);
        Ok(info)
    }

    async fn write_to(&mut self, this: &Resource<Connection>, data: Vec<u8>, timeout: u64) -> Answer<()> {
        if let Err(refusal) = self.take_bytes(data.len()) {
            return Ok(Err(refusal));
        }
        let work = move |mut link: Link, deadline| async move {
            let result = link.write_all(&data, deadline).await;
            (link, result)
        };
        let Some(done) = self.on_link(this, timeout, work).await? else {
            return Ok(Err(GuestError::Closed));
        };
        self.ledger.spend("send", done.elapsed);
        self.settle(done)
    }

    async fn read_from(
        &mut self,
        this: &Resource<Connection>,
        extent: Extent,
        max: u32,
        timeout: u64,
    ) -> Answer<Vec<u8>> {
        let begun = self.call_begins(extent.call(), || format!("{max} bytes at most"));
        let answer = self.receive_from(this, extent, max, timeout).await?;
        self.call_ends(begun, &answer, |data| format!("{} bytes", data.len()));
        Ok(answer)
    }

    async fn receive_from(
        &mut self,
        this: &Resource<Connection>,
        extent: Extent,
        max: u32,
        timeout: u64,
    ) -> Answer<Vec<u8>> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let room = self.quotas.shared.bytes();
        let mut quota = room;
        let work = move |mut link: Link, deadline| async move {
            let result = link.read(&extent, max, &mut quota, deadline).await;
            (link, (quota, result))
        };
        let Some(done) = self.on_link(this, timeout, work).await? else {
            return Ok(Err(GuestError::Closed));
        };
        let done = done.map(|(left, result)| {
            self.quotas.shared.use_bytes(room.saturating_sub(left));
            result
        });
        self.book_read(this, done.elapsed, done.value.is_ok())?;
        let data = self.settle(done)?;
        Ok(data.and_then(|data| data.ok_or_else(|| self.exhaust_bytes())))
    }

    /// The first answer is `first_byte`, the rest is `receive`.
    fn book_read(&mut self, this: &Resource<Connection>, elapsed: Duration, arrived: bool) -> Result<()> {
        let timing = &mut self.table.get_mut(this)?.timing;
        let first = timing.first_byte.is_none();
        if first && arrived {
            timing.first_byte = Some(convert::nanoseconds(elapsed));
        }
        self.ledger
            .spend(if first { "first_byte" } else { "receive" }, elapsed);
        Ok(())
    }

    /// Lends the connection's link to `work`. `None` when the connection has none any more.
    async fn on_link<T, F>(
        &mut self,
        this: &Resource<Connection>,
        timeout: u64,
        work: impl FnOnce(Link, Instant) -> F + Send + 'static,
    ) -> Result<Option<Done<T>>>
    where
        T: Send + 'static,
        F: Future<Output = (Link, T)> + Send,
    {
        let connection = self.table.get_mut(this)?;
        let Some(link) = connection.link.take() else {
            return Ok(None);
        };
        let step = NetError::ResponseTimeout(connection.host.clone());
        let done = self
            .on_network(step, timeout, move |deadline| work(link, deadline))
            .await?;
        let table = &mut self.table;
        let place = &mut table.get_mut(this)?.link;
        Ok(Some(done.map(|(link, result)| {
            *place = Some(link);
            result
        })))
    }
}

/// Writes the time of a dial into the book: resolving and connecting apart where both are known.
pub(crate) fn book_dial(
    ledger: &Ledger,
    dialled: &std::result::Result<Dialled, NetError>,
    elapsed: Duration,
) {
    match dialled {
        Ok(dialled) => {
            ledger.spend("resolve", dialled.resolve);
            ledger.spend("connect", dialled.connect);
        }
        Err(NetError::Denied(_)) => {}
        Err(NetError::DnsNotFound(_) | NetError::DnsTimeout(_) | NetError::DnsFailed(_)) => {
            ledger.spend("resolve", elapsed);
        }
        Err(_) => ledger.spend("connect", elapsed),
    }
}
