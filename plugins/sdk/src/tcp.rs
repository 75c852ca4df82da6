//! Connections, in plain text or with TLS.

use crate::{
    net::{Endpoint, IpFamily, NetError, Peer, Timing, TlsInfo, TlsOptions, timeout},
    sys::tcp as host,
};
use std::time::Duration;

/// An open connection; closed when dropped.
///
/// Calls wait as long as the run has time left, or as [`Connection::set_timeout`] says.
#[derive(Debug)]
pub struct Connection {
    inner: host::Connection,
    limit: Option<Duration>,
}

impl Connection {
    /// Resolves `host` (a name or an address) and connects.
    pub fn connect(host: &str, port: u16) -> Result<Self, NetError> {
        Self::connect_with(host, port, IpFamily::Any, None)
    }

    /// As [`Connection::connect`], to an address of `family`; no call on the connection, this one included, takes
    /// longer than `limit`.
    pub fn connect_with(
        host: &str,
        port: u16,
        family: IpFamily,
        limit: Option<Duration>,
    ) -> Result<Self, NetError> {
        let to = Endpoint {
            host: host.to_owned(),
            port,
        };
        let inner = host::Connection::connect(&to, family, timeout(limit))
            .map_err(|fault| NetError::from(fault).during(format!("{host}:{port}")))?;
        Ok(Self { inner, limit })
    }

    /// From now on no call takes longer than `limit`, nor longer than the run has left.
    pub fn set_timeout(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    /// Handshakes: at the start, or after the protocol's own STARTTLS.
    ///
    /// Bytes the peer sent before the handshake and that were not read are an error: they would pass for encrypted
    /// ones (CVE-2011-0411).
    pub fn start_tls(&mut self, options: TlsOptions) -> Result<TlsInfo, NetError> {
        Ok(self.inner.start_tls(&options.into(), timeout(self.limit))?)
    }

    /// Sends all of `bytes`.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        Ok(self.inner.write_all(bytes, timeout(self.limit))?)
    }

    /// Waits for some bytes, at most `max`; empty when the peer has closed its side.
    pub fn read(&mut self, max: u32) -> Result<Vec<u8>, NetError> {
        Ok(self.inner.read(max, timeout(self.limit))?)
    }

    /// Waits for exactly `n` bytes.
    pub fn read_exact(&mut self, n: u32) -> Result<Vec<u8>, NetError> {
        Ok(self.inner.read_exact(n, timeout(self.limit))?)
    }

    /// Waits for bytes up to and with `delimiter`; more than `max` bytes without it break the protocol.
    pub fn read_until(&mut self, delimiter: &[u8], max: u32) -> Result<Vec<u8>, NetError> {
        Ok(self.inner.read_until(delimiter, max, timeout(self.limit))?)
    }

    /// Waits for one line of at most `max` bytes, and returns it without its LF or CR LF. Bytes that are not UTF-8
    /// are replaced by U+FFFD.
    pub fn read_line(&mut self, max: u32) -> Result<String, NetError> {
        Ok(line(&self.read_until(b"\n", max)?))
    }

    /// Tells the peer that nothing more will be sent.
    pub fn shutdown_write(&mut self) {
        self.inner.shutdown_write();
    }

    /// The address the connection was made to.
    pub fn peer(&self) -> Peer {
        self.inner.peer()
    }

    /// Time spent until now, as the host measured it.
    pub fn timing(&self) -> Timing {
        self.inner.timing().into()
    }
}

fn line(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_loses_its_end_and_nothing_else() {
        assert_eq!(line(b"220 ready\r\n"), "220 ready");
        assert_eq!(line(b"220 ready\n"), "220 ready");
        assert_eq!(line(b"\r\r\n"), "\r");
        assert_eq!(line(b" caf\xe9 \n"), " caf\u{fffd} ");
    }
}
