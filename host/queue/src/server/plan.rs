//! Settings that were checked, in the form in which connections are made of them.

use super::{
    ServerFault, ServerFaults, ServerSettings, TlsSettings,
    address::{self, Host, Place},
};
use redis::{
    ClientTlsConfig, RedisConnectionInfo, TlsCertificates,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{fs, io, path::Path, path::PathBuf, time::Duration};

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
    pub(super) fn new(settings: ServerSettings) -> Result<Self, ServerFaults> {
        let mut faults = Faults(Vec::new());
        let (place, mut tls_wanted, insecure, mut redis) = place(&settings, &mut faults);
        let mut tls = settings.tls;
        tls_wanted |= tls.enabled;
        tls.insecure |= insecure;
        faults.check_tls(&tls, tls_wanted, place.as_ref());
        if let Some(username) = &settings.username {
            redis = redis.set_username(username);
        }
        if let Some(password) = &settings.password {
            redis = redis.set_password(password);
        }
        if let Some(db) = settings.db {
            redis = redis.set_db(db);
        }
        let clustered = matches!(place, Some(Place::Cluster(_)));
        if redis.db() < 0 || (clustered && redis.db() != 0) {
            faults.add(
                "db",
                if clustered {
                    "a cluster has only database 0"
                } else {
                    "is negative"
                },
            );
        }
        let mut sentinel = RedisConnectionInfo::default();
        if let Some(username) = &settings.sentinels.username {
            sentinel = sentinel.set_username(username);
        }
        if let Some(password) = &settings.sentinels.password {
            sentinel = sentinel.set_password(password);
        }
        faults.check_limits(
            settings.client_name.as_deref(),
            settings.connections,
            [
                ("connect_timeout", settings.connect_timeout),
                ("command_timeout", settings.command_timeout),
            ],
        );
        let seconds = settings.keepalive.as_secs();
        if !(2..=3600).contains(&seconds) {
            faults.add("keepalive", "is not within 2 s and an hour");
        }
        let library = |info: RedisConnectionInfo| info.set_lib_name("lapwing", env!("CARGO_PKG_VERSION"));
        match place {
            Some(place) if faults.0.is_empty() => Ok(Self {
                place,
                redis: library(redis),
                sentinel: library(sentinel),
                tls: tls_wanted.then_some(tls),
                tcp: tcp(Duration::from_secs(seconds)),
                connect_timeout: settings.connect_timeout,
                command_timeout: settings.command_timeout,
                connections: settings.connections,
                client_name: settings.client_name,
            }),
            _ => Err(ServerFaults(faults.0)),
        }
    }
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

/// Where the settings say Redis is, whether and how loosely the URL wants TLS, and what it says of user and database.
fn place(settings: &ServerSettings, faults: &mut Faults) -> (Option<Place>, bool, bool, RedisConnectionInfo) {
    let nothing = (None, false, false, RedisConnectionInfo::default());
    let by_field = [
        !settings.sentinels.addresses.is_empty(),
        !settings.cluster.is_empty(),
    ];
    let (mut place, tls, insecure, redis) = match (settings.url.is_empty(), by_field) {
        (false, [false, false]) => match address::parse(&settings.url) {
            Ok(address) => (Some(address.place), address.tls, address.insecure, address.redis),
            Err(why) => {
                faults.add("url", &why);
                return nothing;
            }
        },
        (true, [true, false]) => {
            let hosts = faults.hosts(
                "sentinels.addresses",
                &settings.sentinels.addresses,
                address::SENTINEL_PORT,
            );
            let master = String::new();
            (Some(Place::Sentinels { hosts, master }), false, false, nothing.3)
        }
        (true, [false, true]) => {
            let nodes = faults.hosts("cluster", &settings.cluster, address::REDIS_PORT);
            (Some(Place::Cluster(nodes)), false, false, nothing.3)
        }
        (true, [false, false]) => {
            faults.add("url", "is missing");
            return nothing;
        }
        (url, [_, cluster]) => {
            let field = if cluster { "cluster" } else { "sentinels.addresses" };
            let other = if url { "`sentinels.addresses`" } else { "`url`" };
            faults.add(field, &format!("Redis is named by {other} already"));
            return nothing;
        }
    };
    let sentinels = &settings.sentinels;
    if let Some(Place::Sentinels { master, .. }) = &mut place {
        if let Some(name) = &sentinels.master {
            master.clone_from(name);
        }
        if master.is_empty() {
            faults.add("sentinels.master", "is missing");
        }
    } else if sentinels.master.is_some() || sentinels.username.is_some() || sentinels.password.is_some() {
        faults.add("sentinels.addresses", "is missing");
    }
    (place, tls, insecure, redis)
}

struct Faults(Vec<ServerFault>);

impl Faults {
    fn add(&mut self, field: &'static str, message: &str) {
        self.0.push(ServerFault {
            field,
            message: message.to_owned(),
        });
    }

    fn hosts(&mut self, field: &'static str, texts: &[String], port: u16) -> Vec<Host> {
        let mut hosts = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match address::host(text, port) {
                Some(host) => hosts.push(host),
                None => self.add(field, &format!("its {}. address is not host[:port]", index + 1)),
            }
        }
        hosts
    }

    fn check_limits(&mut self, name: Option<&str>, connections: usize, times: [(&'static str, Duration); 2]) {
        for (field, time) in times {
            if time.is_zero() {
                self.add(field, "is zero");
            }
        }
        if !(1..=64).contains(&connections) {
            self.add("connections", "is not within 1 and 64");
        }
        // What Redis takes for a name.
        if name.is_some_and(|name| !name.bytes().all(|byte| byte.is_ascii_graphic())) {
            self.add(
                "client_name",
                "has characters other than printable ASCII without spaces",
            );
        }
    }

    fn check_tls(&mut self, tls: &TlsSettings, wanted: bool, place: Option<&Place>) {
        let given = [
            ("tls.ca", tls.ca.is_some()),
            ("tls.certificate", tls.certificate.is_some()),
            ("tls.key", tls.key.is_some()),
            ("tls.server_name", tls.server_name.is_some()),
            ("tls.insecure", tls.insecure),
        ];
        for (field, given) in given {
            // Where the URL could not be read, it may have asked for TLS.
            if given && !wanted && place.is_some() {
                self.add(
                    field,
                    "has no use without TLS: write rediss:// or set `tls.enabled`",
                );
            }
        }
        if wanted && matches!(place, Some(Place::Unix(_))) {
            self.add("tls.enabled", "a local socket has no TLS");
        }
        if let Some(name) = &tls.server_name {
            if ServerName::try_from(name.as_str()).is_err() {
                self.add("tls.server_name", "is neither a host's name nor an address");
            }
            if matches!(place, Some(Place::Cluster(_))) {
                self.add(
                    "tls.server_name",
                    "cannot be set for a cluster: each node's certificate bears its own",
                );
            }
        }
        if let Some(path) = &tls.ca {
            let _ = self.certificates("tls.ca", path);
        }
        match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => self.check_pair(certificate, key),
            (Some(_), None) => self.add("tls.key", "is missing: `tls.certificate` needs it"),
            (None, Some(_)) => self.add("tls.certificate", "is missing: `tls.key` belongs to one"),
            (None, None) => {}
        }
    }

    fn check_pair(&mut self, certificate: &Path, key: &Path) {
        let chain = self.certificates("tls.certificate", certificate);
        let key = self.read("tls.key", key).and_then(|pem| {
            let key = PrivateKeyDer::from_pem_slice(&pem);
            key.map_err(|_| self.add("tls.key", "contains no private key in PEM"))
                .ok()
        });
        let (Some(chain), Some(key)) = (chain, key) else {
            return;
        };
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map(|config| config.with_root_certificates(RootCertStore::empty()))
            .and_then(|config| config.with_client_auth_cert(chain, key));
        if let Err(error) = config {
            self.add("tls.key", &format!("does not fit `tls.certificate`: {error}"));
        }
    }

    fn certificates(&mut self, field: &'static str, path: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let pem = self.read(field, path)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Some(certificates),
            _ => {
                self.add(field, "contains no certificates in PEM");
                None
            }
        }
    }

    fn read(&mut self, field: &'static str, path: &Path) -> Option<Vec<u8>> {
        let content = fs::read(path);
        content
            .map_err(|error| self.add(field, &format!("{} cannot be read: {error}", path.display())))
            .ok()
    }
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
