//! What an operator can say about the Redis to use.

use std::{fmt, path::PathBuf, time::Duration};

/// Which Redis to speak to, and how. One of `url`, `sentinels.addresses` and `cluster` says where it is.
///
/// Printed with `{:?}`, it shows neither passwords nor the URL, which may contain some.
#[derive(Clone)]
pub struct ServerSettings {
    /// One server: `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, `unix:///path/of/socket`.
    /// Behind Sentinels: `redis-sentinel://[user:password@]host[:26379],host,…/master[/db]`, or `rediss-sentinel://…`.
    /// A cluster: `redis-cluster://[user:password@]host[:6379],host,…`, or `rediss-cluster://…`.
    ///
    /// User and password are those of Redis, never those of the Sentinels. Fields below win over what it says.
    pub url: String,
    /// The ACL user.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// The database's number; a cluster has only 0.
    pub db: Option<i64>,
    /// Encryption.
    pub tls: TlsSettings,
    /// Who knows the master.
    pub sentinels: SentinelSettings,
    /// Addresses (`host[:6379]`) of nodes of a cluster, from which the others are learnt.
    pub cluster: Vec<String>,
    /// Longest wait for one connection, in which it is authenticated too. 1 s.
    pub connect_timeout: Duration,
    /// Longest wait for the answer to one command. 2 s. What needs another wait (a blocking read) brings its own.
    pub command_timeout: Duration,
    /// How long a connection may be silent before the kernel asks whether the peer is still there; asked three times in
    /// half that time again, it is given up. Whole seconds, 2 s to an hour. 15 s.
    pub keepalive: Duration,
    /// How many connections may share one caller's commands, 1 to 64. The second one is opened when the first has
    /// commands under way. 1.
    pub connections: usize,
    /// What `CLIENT LIST` shows for our connections; not on a cluster.
    pub client_name: Option<String>,
}

/// How connections are encrypted. The files are read again for every connection, so renewed ones are taken up.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// Encrypts although the URL does not say so.
    pub enabled: bool,
    /// PEM file of the authorities that the server's certificate must come from; the system's own without it.
    pub ca: Option<PathBuf>,
    /// PEM file of the client's certificate and what leads up to its authority.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub key: Option<PathBuf>,
    /// The name the certificate must bear, where that is not the host's; not on a cluster, whose nodes announce theirs.
    pub server_name: Option<String>,
    /// Accepts any certificate: anybody on the way can read and change everything.
    pub insecure: bool,
}

/// The Sentinels that watch over a master.
#[derive(Clone, Default)]
pub struct SentinelSettings {
    /// Their addresses, `host[:26379]`.
    pub addresses: Vec<String>,
    /// What they call the master.
    pub master: Option<String>,
    /// The ACL user on the Sentinels.
    pub username: Option<String>,
    /// The password on the Sentinels.
    pub password: Option<String>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            username: None,
            password: None,
            db: None,
            tls: TlsSettings::default(),
            sentinels: SentinelSettings::default(),
            cluster: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(2),
            keepalive: Duration::from_secs(15),
            connections: 1,
            client_name: None,
        }
    }
}

impl ServerSettings {
    /// One server, or what else the URL names, with the defaults.
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..Self::default()
        }
    }
}

impl fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSettings")
            .field("username", &self.username)
            .field("db", &self.db)
            .field("tls", &self.tls)
            .field("sentinels", &self.sentinels)
            .field("cluster", &self.cluster)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SentinelSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentinelSettings")
            .field("addresses", &self.addresses)
            .field("master", &self.master)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Everything that is wrong with some settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ServerFaults(pub Vec<ServerFault>);

/// One thing that is wrong. Contains no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFault {
    /// The field, such as `tls.ca`.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for ServerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
