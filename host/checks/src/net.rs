//! The only door to the network: resolve, judge, dial, encrypt. Native checks and plugins go through it alike.

pub mod dns;
pub mod error;
pub mod http;
pub mod policy;
pub mod tls;

pub use error::NetError;
pub use policy::EgressPolicy;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, time::Instant};

/// Which addresses of a name to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpFamily {
    /// Both, raced (RFC 8305).
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// The network as checks may use it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    policy: EgressPolicy,
}

/// The addresses of a name that the policy lets through.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// At least one.
    pub addresses: Vec<IpAddr>,
    /// Time the look-up took; zero for a literal address.
    pub elapsed: Duration,
}

/// An open TCP connection.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub stream: TcpStream,
    /// The address the policy judged and the connection was made to.
    pub peer: SocketAddr,
    /// Time to resolve the name.
    pub resolve: Duration,
    /// Time to connect, the lost races of other addresses included.
    pub connect: Duration,
}

impl Net {
    /// A network under `policy`, with the system's resolver settings and trust roots.
    pub fn new(policy: EgressPolicy) -> Self {
        Self { inner: Arc::new(Inner { policy }) }
    }

    /// The policy in force.
    pub fn policy(&self) -> &EgressPolicy {
        &self.inner.policy
    }

    /// Resolves `host` (a name or a literal address) once and judges every address; those denied are left out.
    /// [`NetError::Denied`] when the name is denied or none is left.
    pub async fn resolve(&self, host: &str, family: IpFamily, deadline: Instant) -> Result<Resolved, NetError> {
        let _ = (host, family, deadline);
        todo!()
    }

    /// Resolves, judges and connects to the judged addresses (happy eyeballs). No packet leaves for a denied address.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        family: IpFamily,
        deadline: Instant,
    ) -> Result<Connection, NetError> {
        let _ = (host, port, family, deadline);
        todo!()
    }
}
