//! From a name to its addresses, by the system's own settings: `resolv.conf`, its search list, and the hosts file.
//!
//! Nothing is cached: a check is to see what a visitor would see now.

use super::{IpFamily, NetError};
use futures_util::future::{self, Either};
use hickory_resolver::{
    Hosts, TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError as LookupError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
    system_conf::read_system_conf,
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::time;

/// How long the other family's answer is waited for once one is there (RFC 8305 §3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Addresses of one name that are looked at: a name with more is a mistake or an attack.
const MAX_ADDRESSES: usize = 16;

/// The system's resolver, or one that asks servers of its own.
#[derive(Debug)]
pub(super) struct Resolver {
    given: Option<Vec<SocketAddr>>,
    /// A failure to make it is not kept: the next look-up tries again.
    ready: OnceLock<Ready>,
}

#[derive(Debug)]
struct Ready {
    lookup: TokioResolver,
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// By the system's settings, read now if they can be. On a system without any it asks a server on this host, as C
    /// libraries do.
    pub(super) fn from_system() -> Self {
        Self::new(None)
    }

    /// Asks these servers and no others; the hosts file still comes first.
    pub(super) fn from_servers(servers: &[SocketAddr]) -> Self {
        Self::new(Some(servers.to_vec()))
    }

    fn new(given: Option<Vec<SocketAddr>>) -> Self {
        let resolver = Self {
            given,
            ready: OnceLock::new(),
        };
        if let Err(error) = resolver.ready() {
            tracing::warn!(%error, "names cannot be looked up yet");
        }
        resolver
    }

    fn ready(&self) -> Result<&Ready, NetError> {
        if let Some(ready) = self.ready.get() {
            return Ok(ready);
        }
        let made = Ready::new(self.given.as_deref())
            .map_err(|error| NetError::Local(format!("resolver settings: {error}")))?;
        Ok(self.ready.get_or_init(|| made))
    }

    /// The servers behind it, for questions asked one by one.
    pub(super) fn servers(&self) -> Result<&[SocketAddr], NetError> {
        self.ready().map(|ready| ready.servers.as_slice())
    }

    /// The addresses of `name`, IPv6 first; at least one. The caller bounds the time.
    pub(super) async fn addresses(&self, name: &str, family: IpFamily) -> Result<Vec<IpAddr>, NetError> {
        let (v4, v6) = (
            pin!(self.records(name, RecordType::A)),
            pin!(self.records(name, RecordType::AAAA)),
        );
        let found = match family {
            IpFamily::V4 => v4.await,
            IpFamily::V6 => v6.await,
            IpFamily::Any => match future::select(v4, v6).await {
                Either::Left((Ok(v4), v6)) => Ok(within_delay(v6).await.into_iter().chain(v4).collect()),
                Either::Right((Ok(v6), v4)) => Ok(v6.into_iter().chain(within_delay(v4).await).collect()),
                Either::Left((Err(error), v6)) => v6.await.map_err(|other| graver(error, other)),
                Either::Right((Err(error), v4)) => v4.await.map_err(|other| graver(error, other)),
            },
        };
        found.map(|mut addresses| {
            addresses.truncate(MAX_ADDRESSES);
            addresses
        })
    }

    /// The addresses of one family; at least one.
    async fn records(&self, name: &str, rtype: RecordType) -> Result<Vec<IpAddr>, NetError> {
        // Relaxed: names of services in containers have underscores, which international names must not.
        let asked = Name::from_str_relaxed(name)
            .map_err(|error| NetError::InvalidInput(format!("`{name}` is no name: {error}")))?;
        let reply = self
            .ready()?
            .lookup
            .lookup(asked, rtype)
            .await
            .map_err(|error| sort(&error, name))?;
        let address = |data: &RData| match data {
            RData::A(v4) => Some(IpAddr::V4(v4.0)),
            RData::AAAA(v6) => Some(IpAddr::V6(v6.0).to_canonical()),
            _ => None,
        };
        let found: Vec<IpAddr> = reply
            .answers()
            .iter()
            .filter_map(|record| address(&record.data))
            .collect();
        if found.is_empty() {
            Err(NetError::DnsNotFound(format!("`{name}` has no {rtype} record")))
        } else {
            Ok(found)
        }
    }
}

impl Ready {
    fn new(given: Option<&[SocketAddr]>) -> Result<Self, LookupError> {
        let (config, mut options) = match given {
            Some(servers) => (of_servers(servers), ResolverOpts::default()),
            None => settings(read_system_conf())?,
        };
        options.cache_size = 0;
        // Read here: the library takes a hosts file that it cannot read for an empty one.
        options.use_hosts_file = ResolveHosts::Never;
        let hosts = match Hosts::from_system() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            hosts => hosts.unwrap_or_default(),
        };
        let port = |server: &NameServerConfig| {
            let first = server.connections.first();
            first.map_or(53, |connection| connection.port)
        };
        let servers = config
            .name_servers()
            .iter()
            .map(|server| SocketAddr::new(server.ip, port(server)))
            .collect();
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let mut lookup = builder.with_options(options).build()?;
        lookup.set_hosts(Arc::new(hosts));
        Ok(Self { lookup, servers })
    }
}

type Settings = (ResolverConfig, ResolverOpts);

/// The system's settings as read; a server on this host when there are none. What the kernel kept from us is no such
/// case: it is an error.
fn settings(read: Result<Settings, LookupError>) -> Result<Settings, LookupError> {
    match read {
        Err(LookupError::Io(error))
            if error.raw_os_error().is_some() && error.kind() != io::ErrorKind::NotFound =>
        {
            Err(LookupError::Io(error))
        }
        Err(error) => {
            tracing::warn!(%error, "no usable resolver settings on this system; asking 127.0.0.1:53");
            let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53);
            Ok((of_servers(&[local]), ResolverOpts::default()))
        }
        settings => settings,
    }
}

fn of_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let at = |server: &SocketAddr| {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        config
            .connections
            .iter_mut()
            .for_each(|connection| connection.port = server.port());
        config
    };
    ResolverConfig::from_name_servers(servers.iter().map(at).collect())
}

async fn within_delay(other: impl Future<Output = Result<Vec<IpAddr>, NetError>>) -> Vec<IpAddr> {
    time::timeout(RESOLUTION_DELAY, other)
        .await
        .ok()
        .and_then(Result::ok)
        .unwrap_or_default()
}

/// Of two failures the one that says more: ours hides what the target did, and a name is only "not found" when both
/// families said so.
fn graver(one: NetError, other: NetError) -> NetError {
    match (&one, &other) {
        (_, NetError::Local(_)) | (NetError::DnsNotFound(_), _) => other,
        _ => one,
    }
}

fn sort(error: &LookupError, name: &str) -> NetError {
    let what = format!("`{name}`");
    match error {
        LookupError::Timeout => NetError::DnsTimeout(what),
        LookupError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => NetError::DnsNotFound(format!("{what} does not exist")),
            ResponseCode::NoError => NetError::DnsNotFound(format!("{what} has no address")),
            code => NetError::DnsFailed(format!("{what}: {code}")),
        },
        LookupError::Dns(DnsError::ResponseCode(code)) => NetError::DnsFailed(format!("{what}: {code}")),
        _ => {
            let own = match error {
                LookupError::Io(io) => Some(NetError::from_io(io, &what)),
                // Without a cause to look at ("no connections available"): ours if we cannot open a socket at all.
                _ => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
                    .err()
                    .map(|io| NetError::from_io(&io, &what)),
            };
            own.filter(|own| matches!(own, NetError::Local(_)))
                .unwrap_or_else(|| NetError::DnsFailed(format!("{what}: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(code: i32) -> LookupError {
        io::Error::from_raw_os_error(code).into()
    }

    #[test]
    fn a_look_up_that_our_own_kernel_refused_is_our_failure() {
        for (name, code) in [("EACCES", 13), ("ENFILE", 23), ("EMFILE", 24), ("ENOBUFS", 105)] {
            let error = sort(&kernel(code), "x.example");
            assert!(matches!(error, NetError::Local(_)), "{name}: {error:?}");
        }
        for error in [kernel(111), LookupError::NoConnections] {
            let error = sort(&error, "x.example");
            assert!(matches!(error, NetError::DnsFailed(_)), "{error:?}");
        }
    }

    #[test]
    fn our_failure_in_one_family_hides_what_the_other_said() {
        let local = || NetError::Local("l".into());
        let (gone, failed) = (
            || NetError::DnsNotFound("g".into()),
            || NetError::DnsFailed("f".into()),
        );
        for (one, other, graver_one) in [
            (local(), failed(), local()),
            (failed(), local(), local()),
            (gone(), local(), local()),
            (gone(), failed(), failed()),
            (failed(), gone(), failed()),
        ] {
            assert_eq!(graver(one, other), graver_one);
        }
    }

    #[test]
    fn settings_that_cannot_be_read_are_not_settings_that_are_not_there() {
        let (enoent, eacces, emfile) = (2, 13, 24);
        for code in [eacces, emfile] {
            assert!(settings(Err(kernel(code))).is_err());
        }
        for error in [
            kernel(enoent),
            io::Error::other("no nameservers found in config").into(),
        ] {
            let (config, _) = settings(Err(error)).unwrap();
            assert_eq!(config.name_servers()[0].ip, Ipv4Addr::LOCALHOST);
        }
    }
}
