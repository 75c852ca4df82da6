//! How to reach Redis: `[redis]` in the file, and the variables of the seeds.

use super::{Environment, Faults, HumanDuration, Secret};
use lapwing_queue::{
    Server,
    server::{SentinelSettings, ServerFault, ServerFaults, ServerSettings, TlsSettings},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

/// Where Peekaping's worker looks when nothing says where Redis is.
const PEEKAPINGS: &str = "redis";

/// Redis.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RedisFile {
    /// `redis://[user:password@]host[:port][/db]`, encrypted `rediss://…`, `unix:///path/to/socket`,
    /// `redis-sentinel://host,host/master/db` or `redis-cluster://host,host`. `REDIS_URL` and `REDIS_HOST` win.
    pub(crate) url: Option<Secret>,
    /// The ACL user, where the URL names none. `REDIS_USERNAME` wins.
    pub(crate) username: Option<String>,
    /// The password, where the URL names none. `REDIS_PASSWORD` wins.
    pub(crate) password: Option<Secret>,
    /// The database, where the URL names none. `REDIS_DB` wins.
    #[schemars(range(max = 65_535))]
    pub(crate) db: Option<u32>,
    /// Encryption.
    pub(crate) tls: RedisTls,
    /// The Sentinels that know the master, in place of `url`.
    pub(crate) sentinels: RedisSentinels,
    /// Addresses (`host[:6379]`) of some nodes of a cluster, in place of `url`.
    pub(crate) cluster: Vec<String>,
    /// Longest wait for a connection. `REDIS_CONNECTION_TIMEOUT` (seconds) wins.
    pub(crate) connect_timeout: HumanDuration,
    /// Longest wait for the answer to one command.
    pub(crate) command_timeout: HumanDuration,
    /// How long a connection may be silent before the peer is asked whether it is still there, `2s` to `1h`.
    pub(crate) keepalive: HumanDuration,
    /// How many connections may share the commands of one queue, 1 to 64. `REDIS_MAX_CONNECTIONS` wins (more than 64 count as 64).
    #[schemars(range(max = 64))]
    pub(crate) max_connections: NonZeroUsize,
}

/// Encryption of the connections to Redis.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RedisTls {
    /// Encrypt although the URL does not say so. `REDIS_SSL` wins.
    pub(crate) enabled: bool,
    /// PEM file of the authorities that the server's certificate must come from. Default: the system's.
    pub(crate) ca: Option<PathBuf>,
    /// PEM file of the client's certificate and what leads up to its authority.
    pub(crate) certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub(crate) key: Option<PathBuf>,
    /// The name that the certificate must bear, where it is not the host's.
    pub(crate) server_name: Option<String>,
    /// Accept any certificate: anybody on the way can read and change everything.
    pub(crate) insecure: bool,
}

/// Redis Sentinels.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RedisSentinels {
    /// `host[:26379]`.
    pub(crate) addresses: Vec<String>,
    /// What they call the master.
    pub(crate) master: Option<String>,
    /// The ACL user on the Sentinels.
    pub(crate) username: Option<String>,
    /// The password on the Sentinels.
    pub(crate) password: Option<Secret>,
}

impl Default for RedisFile {
    fn default() -> Self {
        let settings = ServerSettings::at("");
        Self {
            url: None,
            username: None,
            password: None,
            db: None,
            tls: RedisTls::default(),
            sentinels: RedisSentinels::default(),
            cluster: Vec::new(),
            connect_timeout: HumanDuration(settings.connect_timeout),
            command_timeout: HumanDuration(settings.command_timeout),
            keepalive: HumanDuration(settings.keepalive),
            max_connections: NonZeroUsize::MIN,
        }
    }
}

/// Which Redis, and whether anybody said so.
#[derive(Debug, Clone)]
pub(crate) struct Redis {
    /// The server.
    pub(crate) server: Server,
    /// The same for logs: no credentials.
    pub(crate) shown: String,
    /// Whether any setting names it; if none does, it is where Peekaping's worker looks.
    pub(crate) is_named: bool,
}

/// Joins file and variables. What is wrong goes to `faults`; then there is no Redis.
pub(crate) fn resolve(file: RedisFile, environment: &Environment, faults: &mut Faults) -> Option<Redis> {
    let told = environment.redis(faults);
    let (field, url) = match (&told.url, &told.host, &file.url) {
        (Some((name, url)), _, _) => (*name, url.clone()),
        (None, Some(host), _) => ("REDIS_HOST", at(host, told.port)),
        (None, None, Some(url)) => ("redis.url", url.reveal().to_owned()),
        (None, None, None) => ("redis.url", String::new()),
    };
    let elsewhere = !file.sentinels.addresses.is_empty() || !file.cluster.is_empty();
    let is_named = !url.is_empty() || elsewhere;
    let url = if is_named { url } else { at(PEEKAPINGS, told.port) };
    // Variables that say where Redis is say it all: what the file has of another must not mix with it.
    let of_file = field == "redis.url" && is_named;
    let from_file = |value: Option<String>| value.filter(|_| of_file);
    let RedisTls {
        enabled,
        ca,
        certificate,
        key,
        server_name,
        insecure,
    } = file.tls;
    let settings = ServerSettings {
        username: told.username.or(from_file(file.username)),
        password: told.password.or(from_file(
            file.password.map(|password| password.reveal().to_owned()),
        )),
        db: told.db.or(file.db.filter(|_| of_file).map(i64::from)),
        tls: TlsSettings {
            enabled: told.ssl.unwrap_or(enabled),
            ca,
            certificate,
            key,
            server_name,
            insecure,
        },
        sentinels: if of_file {
            SentinelSettings {
                addresses: file.sentinels.addresses,
                master: file.sentinels.master,
                username: file.sentinels.username,
                password: file
                    .sentinels
                    .password
                    .map(|password| password.reveal().to_owned()),
            }
        } else {
            SentinelSettings::default()
        },
        cluster: if of_file { file.cluster } else { Vec::new() },
        connect_timeout: told.connect_timeout.unwrap_or(file.connect_timeout.0),
        command_timeout: file.command_timeout.0,
        keepalive: file.keepalive.0,
        connections: told.connections.unwrap_or(file.max_connections.get()),
        client_name: Some("lapwing".to_owned()),
        ..ServerSettings::at(&url)
    };
    match Server::new(settings) {
        Ok(server) => Some(Redis {
            shown: server.to_string(),
            server,
            is_named,
        }),
        Err(ServerFaults(all)) => {
            for ServerFault { field: of, message } in all {
                let of = if of == "url" {
                    field.to_owned()
                } else {
                    format!("redis.{of}")
                };
                faults.push(of, message);
            }
            None
        }
    }
}

fn at(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("redis://[{host}]:{port}")
    } else {
        format!("redis://{host}:{port}")
    }
}

/// What variables say of Redis.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The variable, and the URL.
    pub(crate) url: Option<(&'static str, String)>,
    pub(crate) host: Option<String>,
    /// 6379 if not set.
    pub(crate) port: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) db: Option<i64>,
    pub(crate) ssl: Option<bool>,
    pub(crate) connections: Option<usize>,
    pub(crate) connect_timeout: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, variables: &[(&str, &str)]) -> (Option<Redis>, String) {
        let environment = variables
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut faults = Faults::default();
        let redis = resolve(toml::from_str(file).unwrap(), &environment, &mut faults);
        let told = if faults.is_empty() {
            String::new()
        } else {
            faults.to_string()
        };
        (redis, told)
    }

    fn shown(file: &str, variables: &[(&str, &str)]) -> String {
        let (redis, faults) = read(file, variables);
        redis.map_or(faults, |redis| redis.shown)
    }

    #[test]
    fn variables_win_over_the_file_and_peekapings_host_is_the_last_resort() {
        let file = "url = 'redis://file:1/2'";
        let host = [
            ("REDIS_HOST", "cache"),
            ("REDIS_PASSWORD", "p@ss/w%"),
            ("REDIS_DB", "3"),
        ];
        assert_eq!(shown(file, &host), "cache:6379/3");
        assert_eq!(
            shown(file, &[("REDIS_URL", "redis://url:7/4"), host[0]]),
            "url:7/4"
        );
        assert_eq!(shown(file, &[]), "file:1/2");
        let (redis, _) = read("", &[("REDIS_PORT", "1234")]);
        let redis = redis.unwrap();
        assert_eq!((redis.shown.as_str(), redis.is_named), ("redis:1234/0", false));
        assert!(!format!("{:?}", read(file, &host).0).contains("p@ss"));
    }

    #[test]
    fn a_local_url_counts_outside_of_containers_alone() {
        let both = [
            ("REDIS_URL", "redis://redis:6379/0"),
            ("REDIS_URL_LOCAL", "redis://localhost:6379/0"),
        ];
        let inside = [&both[..], &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]].concat();
        assert_eq!(shown("", &inside), "redis:6379/0");
        if !std::path::Path::new("/.dockerenv").exists()
            && !std::path::Path::new("/run/.containerenv").exists()
        {
            assert_eq!(shown("", &both), "localhost:6379/0");
        }
    }

    #[test]
    fn what_is_wrong_names_the_variable_or_the_field() {
        for (file, variables, says) in [
            ("url = 'http://h'", &[][..], "redis.url"),
            ("", &[("REDIS_URL", "nonsense")], "REDIS_URL"),
            (
                "url = 'rediss://h'\ntls.ca = '/no/such/file'",
                &[],
                "redis.tls.ca",
            ),
            ("sentinels.addresses = ['h']", &[], "redis.sentinels"),
            ("keepalive = '0s'", &[("REDIS_HOST", "h")], "redis.keepalive"),
        ] {
            let (redis, faults) = read(file, variables);
            assert!(
                redis.is_none() && faults.contains(says),
                "{file} {variables:?}: {faults}"
            );
        }
    }
}
