//! Settings that were checked, in the form in which connections are made of them.

use super::{
    ServerFaults, ServerSettings, TlsSettings,
    address::{Address, Host, Place},
    check::Faults,
};
use redis::{
    ClientTlsConfig, RedisConnectionInfo, TlsCertificates,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use std::{fmt, io, path::PathBuf, time::Duration};

/// What is needed to connect. Prints no secrets: the `redis` crate's settings hide them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) place: Place,
    /// User, password and database of Redis.
    pub(super) redis: RedisConnectionInfo,
    /// User and password of the Sentinels.
    pub(super) sentinel: RedisConnectionInfo,
    pub(super) tls: Option<TlsSettings>,
    pub(super) tcp: TcpSettings,
    pub(super) connect_timeout: Duration,
    pub(super) command_timeout: Duration,
    pub(super) connections: usize,
    pub(super) client_name: Option<String>,
}

impl Plan {
    /// Checks settings, and reads the files they name to see that they can be used.
    pub(super) fn new(mut settings: ServerSettings) -> Result<Self, ServerFaults> {
        let mut faults = Faults::default();
        faults.check_limits(&settings);
        let address = faults.address(&settings);
        if let Some(Address { tls, insecure, .. }) = address {
            settings.tls.enabled |= tls;
            settings.tls.insecure |= insecure;
        }
        faults.check_tls(&settings.tls, address.as_ref().map(|address| &address.place));
        let address = faults.none(address)?;
        let info = RedisConnectionInfo::default().set_lib_name("lapwing", env!("CARGO_PKG_VERSION"));
        let sentinels = settings.sentinels;
        Ok(Self {
            place: address.place,
            redis: with_user(
                info.clone().set_db(address.redis.db()),
                address.redis.username(),
                address.redis.password(),
            ),
            sentinel: with_user(info, sentinels.username.as_deref(), sentinels.password.as_deref()),
            tls: settings.tls.enabled.then_some(settings.tls),
            tcp: tcp(settings.keepalive),
            connect_timeout: settings.connect_timeout,
            command_timeout: settings.command_timeout,
            connections: settings.connections,
            client_name: settings.client_name,
        })
    }
}

/// Where it is, without who we are: for logs.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |hosts: &[Host]| {
            let each: Vec<_> = hosts
                .iter()
                .map(|(host, port)| format!("{host}:{port}"))
                .collect();
            each.join(",")
        };
        let db = self.redis.db();
        match &self.place {
            Place::Host((host, port)) if host.contains(':') => write!(f, "[{host}]:{port}/{db}"),
            Place::Host((host, port)) => write!(f, "{host}:{port}/{db}"),
            Place::Unix(path) => write!(f, "{} ({db})", path.display()),
            Place::Sentinels { hosts, master } => {
                write!(f, "the master `{master}` of {} /{db}", listed(hosts))
            }
            Place::Cluster(hosts) => write!(f, "the cluster of {}", listed(hosts)),
        }
    }
}

/// Adds who we are, as far as that is said.
pub(super) fn with_user(
    mut info: RedisConnectionInfo,
    username: Option<&str>,
    password: Option<&str>,
) -> RedisConnectionInfo {
    if let Some(username) = username {
        info = info.set_username(username);
    }
    if let Some(password) = password {
        info = info.set_password(password);
    }
    info
}

/// Answers are small and waited for, so nothing is held back to fill a packet; a peer that is gone without a word (a
/// machine cut off, a forgetful firewall) is noticed even on a connection that only listens.
fn tcp(silence: Duration) -> TcpSettings {
    let interval = (silence / 6).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new()
        .with_time(silence)
        .with_interval(interval)
        .with_retries(3);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    // The same for what was sent and is not taken in; without it the kernel tries for a quarter of an hour.
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(silence + interval * 3);
    settings
}

impl TlsSettings {
    /// The files' present contents.
    pub(super) async fn load(&self) -> io::Result<TlsCertificates> {
        let client_tls = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(ClientTlsConfig {
                client_cert: load(certificate).await?,
                client_key: load(key).await?,
            }),
            _ => None,
        };
        let root_cert = match &self.ca {
            Some(path) => Some(load(path).await?),
            None => None,
        };
        Ok(TlsCertificates {
            client_tls,
            root_cert,
        })
    }
}

async fn load(path: &PathBuf) -> io::Result<Vec<u8>> {
    let content = tokio::fs::read(path).await;
    content.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
