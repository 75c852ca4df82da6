//! A connection as a guest reads and writes it: two streams over one socket, every byte counted.
//!
//! Reading and writing are done where the guest asks for them, without a task beside it: a wait is a wait for the
//! peer, and is written down as one.

use crate::{
    ledger::Flight,
    quota::{Meter, Seat},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use lapwing_checks::net::{NetError, Quota};
use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, timeout},
};
use wasmtime_wasi::{
    async_trait,
    p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult},
};

/// Most that is read or written at once.
const CHUNK: usize = 64 << 10;

/// How long a peer that does not read holds up a guest that lets go of what it wrote. The kernel has taken much by
/// then, as it would of any program; the guest can `flush` to know more.
const LINGER: Duration = Duration::from_millis(250);

/// One open connection; closed when the socket and both of its streams are gone.
pub(super) struct Wire {
    stream: TcpStream,
    pub(super) peer: SocketAddr,
    /// The peer's name in messages.
    name: String,
    meter: Meter,
    heard: AtomicBool,
    deaf: AtomicBool,
    outbox: Mutex<Outbox>,
    _seat: Seat,
}

/// What the guest has written and the kernel has not taken.
#[derive(Debug, Default)]
struct Outbox {
    pending: Bytes,
    /// No more will be written.
    ended: bool,
    /// The end was sent.
    shut: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, name: String, meter: Meter, seat: Seat) -> Self {
        Self {
            stream,
            peer,
            name,
            meter,
            heard: AtomicBool::default(),
            deaf: AtomicBool::default(),
            outbox: Mutex::default(),
            _seat: seat,
        }
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Nothing more is read.
    pub(super) fn stop_reading(&self) {
        self.deaf.store(true, Relaxed);
    }

    /// Nothing more is written; the peer is told when the rest is out.
    pub(super) fn stop_writing(&self) {
        let mut outbox = self.outbox();
        outbox.ended = true;
        // How a broken connection ended shows when it is read.
        let _ = self.push_out(&mut outbox);
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the kernel as much as it takes.
    fn push_out(&self, outbox: &mut Outbox) -> io::Result<()> {
        while !outbox.pending.is_empty() {
            match self.stream.try_write(&outbox.pending) {
                Ok(written) => outbox.pending.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    outbox.pending.clear();
                    outbox.ended = true;
                    outbox.shut = true;
                    return Err(error);
                }
            }
        }
        if outbox.ended && !outbox.shut {
            outbox.shut = true;
            rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write)?;
        }
        Ok(())
    }

    fn read(&self, wanted: usize) -> StreamResult<Bytes> {
        if self.deaf.load(Relaxed) {
            return Err(StreamError::Closed);
        }
        let room = self.meter.room(wanted.min(CHUNK)).map_err(exhausted)?;
        if room == 0 {
            return Ok(Bytes::new());
        }
        let mut buffer = BytesMut::with_capacity(room).limit(room);
        match self.stream.try_read_buf(&mut buffer) {
            Ok(0) => {
                self.stop_reading();
                Err(StreamError::Closed)
            }
            Ok(read) => {
                self.heard.store(true, Relaxed);
                self.meter.count(read);
                self.trace("wasi-sockets.read", read);
                Ok(buffer.into_inner().freeze())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Bytes::new()),
            Err(error) => {
                self.stop_reading();
                Err(self.failed(&error))
            }
        }
    }

    fn write(&self, bytes: Bytes) -> StreamResult<()> {
        let mut outbox = self.outbox();
        if outbox.ended {
            return Err(StreamError::Closed);
        }
        if bytes.len() > CHUNK || !outbox.pending.is_empty() {
            return Err(StreamError::trap("more is written than `check-write` allows"));
        }
        if self.meter.room(bytes.len()).map_err(exhausted)? < bytes.len() {
            return Err(exhausted(self.meter.exhausted()));
        }
        self.meter.count(bytes.len());
        self.trace("wasi-sockets.write", bytes.len());
        outbox.pending = bytes;
        self.push_out(&mut outbox).map_err(|error| self.failed(&error))
    }

    fn room_to_write(&self) -> StreamResult<usize> {
        let mut outbox = self.outbox();
        self.push_out(&mut outbox).map_err(|error| self.failed(&error))?;
        match (outbox.ended, outbox.pending.is_empty()) {
            (true, _) => Err(StreamError::Closed),
            (false, true) => Ok(CHUNK),
            (false, false) => Ok(0),
        }
    }

    async fn readable(&self) {
        if self.deaf.load(Relaxed) {
            return;
        }
        let phase = if self.heard.load(Relaxed) {
            "receive"
        } else {
            "first_byte"
        };
        // A connection that cannot be waited for shows when it is read.
        self.wait(phase, self.stream.readable()).await;
    }

    async fn writable(&self) {
        // A broken connection is ready: the next write tells.
        while self.room_to_write().is_ok_and(|room| room == 0) {
            self.wait("send", self.stream.writable()).await;
        }
    }

    /// Waits for the peer, which is written down.
    async fn wait(&self, phase: &str, work: impl Future<Output = io::Result<()>>) {
        let step = NetError::ResponseTimeout(self.name.clone());
        let (begun, flight) = (Instant::now(), Flight::begin(&self.meter.ledger, step));
        let _ = work.await;
        flight.land();
        self.meter.ledger.spend(phase, begun.elapsed());
    }

    /// Writes down that so much was read or written. How a connection ends is told by its streams.
    fn trace(&self, call: &'static str, bytes: usize) {
        let begun = self.meter.ledger.call_begins(call, || self.name.clone());
        let moved = Ok::<_, NetError>(bytes);
        self.meter
            .ledger
            .call_ends(begun, &moved, |bytes| format!("{bytes} bytes"));
    }

    fn failed(&self, error: &io::Error) -> StreamError {
        let error = NetError::from_io(error, &self.name);
        self.meter.ledger.book_failure(&error);
        StreamError::LastOperationFailed(wasmtime::Error::msg(error.to_string()))
    }
}

fn exhausted(quota: NetError) -> StreamError {
    StreamError::LastOperationFailed(quota.into())
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.name)
    }
}

/// The guest's end to read from.
pub(super) struct Reader(pub(super) Arc<Wire>);

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.0.read(size)
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        self.0.readable().await;
    }
}

/// The guest's end to write to.
pub(super) struct Writer(pub(super) Arc<Wire>);

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.0.room_to_write().map(drop)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.room_to_write()
    }

    /// What was written is not lost with the stream, unless its peer leaves it lying.
    async fn cancel(&mut self) {
        let _ = timeout(LINGER, self.0.writable()).await;
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        self.0.writable().await;
    }
}
