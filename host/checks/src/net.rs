//! The only door to the network: resolve, judge, dial, encrypt. Native checks and plugins go through it alike.
//!
//! A name is resolved once, its addresses are judged, and only the judged addresses are dialled: what the policy saw is
//! what is reached. Nothing here reuses a connection, reads proxy variables of the environment, or outlives its deadline.

mod datagram;
mod dial;
pub mod dns;
pub mod error;
pub mod host;
pub mod http;
pub mod icmp;
pub mod policy;
mod proxy;
mod quota;
mod resolve;
pub mod scope;
pub mod tls;

pub use datagram::Datagrams;
pub use error::NetError;
pub use host::Host;
pub use policy::EgressPolicy;
pub(crate) use proxy::Stream;
pub use quota::{Counted, Quota};
pub use scope::Scope;

use quota::Toll;
use resolve::Resolver;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    sync::OnceCell,
    time::{self, Instant},
};

/// As `timeout_at`, but the clock is looked at first: a peer that always has something ready would otherwise be heard for
/// ever. Cancel safe if `work` is.
pub(crate) async fn by<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, TimeIsUp> {
    if Instant::now() >= deadline {
        return Err(TimeIsUp);
    }
    time::timeout_at(deadline, work).await.map_err(|_| TimeIsUp)
}

/// The deadline came first.
#[derive(Debug)]
pub(crate) struct TimeIsUp;

/// Which addresses of a name to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum IpFamily {
    /// Both, raced (RFC 8305).
    #[default]
    #[serde(rename = "any")]
    Any,
    /// IPv4 only.
    #[serde(rename = "4")]
    V4,
    /// IPv6 only.
    #[serde(rename = "6")]
    V6,
}

/// The network as checks may use it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Net {
    inner: Arc<Inner>,
    /// `None` is everywhere.
    scope: Option<Arc<Scope>>,
    toll: Toll,
}

#[derive(Debug)]
struct Inner {
    policy: EgressPolicy,
    resolver: Resolver,
    roots: OnceCell<tls::Roots>,
}

/// The addresses of a name that the policy lets through.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// At least one.
    pub addresses: Vec<IpAddr>,
    /// Time the look-up took; zero for a literal address.
    pub elapsed: Duration,
    /// The rule that others were left out for, if there were any.
    pub denied: Option<NetError>,
}

impl Resolved {
    /// What to tell when all the addresses ended in `error`. That this machine has no route to them tells nothing of the
    /// target where one that was left out might have led there.
    pub fn failure(&self, error: NetError) -> NetError {
        match (&self.denied, error) {
            (Some(denied), NetError::Unreachable(_)) => denied.clone(),
            (_, error) => error,
        }
    }
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
    /// A network under `policy`, with the system's resolver settings and trust roots. What cannot be read now is tried
    /// again when it is needed.
    pub fn new(policy: EgressPolicy) -> Self {
        Self::with(policy, Resolver::from_system())
    }

    /// As [`Net::new`], with these DNS servers instead of the system's. The hosts file still comes first.
    pub fn with_name_servers(policy: EgressPolicy, servers: &[SocketAddr]) -> Self {
        Self::with(policy, Resolver::from_servers(servers))
    }

    fn with(policy: EgressPolicy, resolver: Resolver) -> Self {
        let net = Self {
            inner: Arc::new(Inner {
                policy,
                resolver,
                roots: OnceCell::new(),
            }),
            scope: None,
            toll: Toll::default(),
        };
        // Off everyone's way, and before a busy worker runs short of descriptors. A failure comes up again when needed.
        if let Ok(runtime) = Handle::try_current() {
            let net = net.clone();
            runtime.spawn(async move { net.roots().await.map(|_| ()) });
        }
        net
    }

    /// The policy in force.
    pub fn policy(&self) -> &EgressPolicy {
        &self.inner.policy
    }

    /// This network for a run that may reach no more than `scope`; one given before is replaced.
    pub fn within(&self, scope: Arc<Scope>) -> Self {
        Self {
            scope: Some(scope),
            ..self.clone()
        }
    }

    /// This network for a run whose HTTP and DNS is taken from `quota`: the connections of [`Net::send`] and their bytes
    /// behind TLS, and the messages of [`Net::query`]. What [`Net::connect`] opens is its caller's to count; look-ups of
    /// names are not counted.
    pub fn metered(&self, quota: Arc<dyn Quota>) -> Self {
        Self {
            toll: Toll(Some(quota)),
            ..self.clone()
        }
    }

    /// Judges a connection to `address`, reached under the name `host`; `port` is `None` while it is not known yet.
    /// [`NetError::Denied`] with the rule that forbids it.
    pub fn judge(&self, host: &str, port: Option<u16>, address: IpAddr) -> Result<(), NetError> {
        if let Some(scope) = &self.scope {
            scope.judge(host, port, address).map_err(NetError::Denied)?;
        }
        self.inner.policy.judge(host, address).map_err(NetError::Denied)
    }

    /// As [`Net::judge`], of a name before it is looked up, or one that somebody else will look up.
    pub fn judge_name(&self, host: &str, port: Option<u16>) -> Result<(), NetError> {
        if let Some(scope) = &self.scope {
            scope.judge_name(host, port).map_err(NetError::Denied)?;
        }
        self.inner.policy.judge_name(host).map_err(NetError::Denied)
    }

    /// Judges a connection to a Unix socket, called `socket` in the error. Which sockets there are to open is the file
    /// system's to say; here, whether checks may leave the network at all.
    fn judge_socket(&self, socket: &str) -> Result<(), NetError> {
        if let Some(scope) = &self.scope {
            scope.judge_name(socket, None).map_err(NetError::Denied)?;
        }
        self.inner.policy.judge_socket(socket).map_err(NetError::Denied)
    }

    /// As [`Net::judge_name`], of a name that is asked about and not connected to.
    fn judge_question(&self, name: &str) -> Result<(), NetError> {
        if let Some(scope) = &self.scope {
            scope.judge_question(name).map_err(NetError::Denied)?;
        }
        self.inner.policy.judge_name(name).map_err(NetError::Denied)
    }

    /// Resolves `host` (a name or a literal address) once and judges every address; those denied are left out.
    ///
    /// [`NetError::Denied`] when the name is denied or no address is left, [`NetError::InvalidInput`] when `host` is
    /// neither name nor address, [`NetError::DnsTimeout`] at the deadline.
    pub async fn resolve(
        &self,
        host: &str,
        port: Option<u16>,
        family: IpFamily,
        deadline: Instant,
    ) -> Result<Resolved, NetError> {
        if port == Some(0) {
            return Err(NetError::InvalidInput(format!("`{host}`: there is no port 0")));
        }
        let start = Instant::now();
        let (name, found, elapsed) = match Host::parse(host)? {
            Host::Address(address) if family.admits(address) => {
                (address.to_string(), vec![address], Duration::ZERO)
            }
            Host::Address(address) => {
                return Err(NetError::InvalidInput(format!(
                    "`{address}` is no {family} address"
                )));
            }
            Host::Name(name) => {
                self.judge_name(&name, port)?;
                // The dot says "this very name": without it the system's search list applies.
                let asked = if host.ends_with('.') {
                    format!("{name}.")
                } else {
                    name.clone()
                };
                let lookup = self.inner.resolver.addresses(&asked, family);
                let found = time::timeout_at(deadline, lookup).await;
                let found = found.map_err(|_| NetError::DnsTimeout(format!("`{name}`")))??;
                (name, found, start.elapsed())
            }
        };
        let mut denied = None;
        let judge = |address: &IpAddr| match self.judge(&name, port, *address) {
            Ok(()) => true,
            Err(rule) => {
                denied.get_or_insert(rule);
                false
            }
        };
        let addresses: Vec<IpAddr> = found.into_iter().filter(judge).collect();
        match denied {
            Some(denied) if addresses.is_empty() => Err(denied),
            denied => Ok(Resolved {
                addresses,
                elapsed,
                denied,
            }),
        }
    }

    /// Resolves, judges and connects to the judged addresses (happy eyeballs). No packet leaves for a denied address.
    ///
    /// Ends by `deadline` with the phase's own timeout. Cancel safe: dropping the future abandons every attempt.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        family: IpFamily,
        deadline: Instant,
    ) -> Result<Connection, NetError> {
        let found = self.resolve(host, Some(port), family, deadline).await?;
        let start = Instant::now();
        let stream = dial::race(&found, port, deadline).await?;
        let peer = stream
            .peer_addr()
            .map_err(|error| NetError::from_io(&error, host))?;
        Ok(Connection {
            stream,
            peer,
            resolve: found.elapsed,
            connect: start.elapsed(),
        })
    }
}

impl IpFamily {
    /// Whether `address` (canonical) is of this family.
    pub fn admits(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "IP",
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[test]
    fn no_route_tells_nothing_where_a_rule_left_addresses_out() {
        let found = |denied: Option<&str>| Resolved {
            addresses: Vec::new(),
            elapsed: Duration::ZERO,
            denied: denied.map(|rule| NetError::Denied(rule.to_owned())),
        };
        let (no_route, refused) = (
            NetError::Unreachable("a".to_owned()),
            NetError::Refused("a".to_owned()),
        );
        assert_eq!(found(None).failure(no_route.clone()), no_route);
        assert_eq!(
            found(Some("rule")).failure(no_route),
            NetError::Denied("rule".to_owned())
        );
        assert_eq!(found(Some("rule")).failure(refused.clone()), refused);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_wins_over_a_peer_that_always_has_something_ready() {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(1);
        let mut heard = 0;
        while by(deadline, ready(())).await.is_ok() {
            heard += 1;
            assert!(heard <= 10, "heard for ever");
            time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!((heard, start.elapsed()), (10, Duration::from_secs(1)));
        assert!(
            by(deadline + Duration::from_secs(1), pending::<()>())
                .await
                .is_err()
        );
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
}
