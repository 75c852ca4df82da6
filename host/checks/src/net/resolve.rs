//! From a name to its addresses, by the system's own settings: `resolv.conf`, its search list, and the hosts file.
//!
//! Nothing is cached: a check is to see what a visitor would see now.

use super::{IpFamily, NetError};
use futures_util::future::{self, Either};
use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError as LookupError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{RData, RecordType},
    },
    system_conf::read_system_conf,
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    time::Duration,
};
use tokio::time;

/// How long the other family's answer is waited for once one is there (RFC 8305 §3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Addresses of one name that are looked at: a name with more is a mistake or an attack.
const MAX_ADDRESSES: usize = 16;

/// The system's resolver.
#[derive(Debug)]
pub(super) struct Resolver {
    lookup: Result<TokioResolver, String>,
    /// The servers behind it, for questions asked one by one.
    pub(super) servers: Vec<SocketAddr>,
}

impl Resolver {
    /// Reads the system's settings. Without readable ones it asks a server on this host, as C libraries do.
    pub(super) fn from_system() -> Self {
        let (config, options) = read_system_conf().unwrap_or_else(|error| {
            tracing::warn!(%error, "no usable resolver settings on this system; asking 127.0.0.1:53");
            let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            (
                ResolverConfig::from_name_servers(vec![local]),
                ResolverOpts::default(),
            )
        });
        Self::new(config, options)
    }

    /// Asks these servers and no others; the hosts file still comes first.
    pub(super) fn from_servers(servers: &[SocketAddr]) -> Self {
        let at = |server: &SocketAddr| {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            config
                .connections
                .iter_mut()
                .for_each(|connection| connection.port = server.port());
            config
        };
        Self::new(
            ResolverConfig::from_name_servers(servers.iter().map(at).collect()),
            ResolverOpts::default(),
        )
    }

    fn new(config: ResolverConfig, mut options: ResolverOpts) -> Self {
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Always;
        let port = |server: &NameServerConfig| {
            server
                .connections
                .first()
                .map_or(53, |connection| connection.port)
        };
        let servers = config
            .name_servers()
            .iter()
            .map(|server| SocketAddr::new(server.ip, port(server)))
            .collect();
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let lookup = builder
            .with_options(options)
            .build()
            .map_err(|error| error.to_string());
        Self { lookup, servers }
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
        let lookup = self
            .lookup
            .as_ref()
            .map_err(|error| NetError::Local(format!("resolver: {error}")))?;
        let reply = lookup
            .lookup(name, rtype)
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

async fn within_delay(other: impl Future<Output = Result<Vec<IpAddr>, NetError>>) -> Vec<IpAddr> {
    time::timeout(RESOLUTION_DELAY, other)
        .await
        .ok()
        .and_then(Result::ok)
        .unwrap_or_default()
}

/// Of two failures the one that says more: a name is only "not found" when both families said so.
fn graver(one: NetError, other: NetError) -> NetError {
    if matches!(one, NetError::DnsNotFound(_)) {
        other
    } else {
        one
    }
}

fn sort(error: &LookupError, name: &str) -> NetError {
    match error {
        LookupError::Timeout => NetError::DnsTimeout(format!("`{name}`")),
        LookupError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => NetError::DnsNotFound(format!("`{name}` does not exist")),
            ResponseCode::NoError => NetError::DnsNotFound(format!("`{name}` has no address")),
            code => NetError::DnsFailed(format!("`{name}`: {code}")),
        },
        LookupError::Dns(DnsError::ResponseCode(code)) => NetError::DnsFailed(format!("`{name}`: {code}")),
        _ => NetError::DnsFailed(format!("`{name}`: {error}")),
    }
}
