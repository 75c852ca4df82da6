//! From URLs and `host:port` to addresses. Errors never repeat what was read: it may contain a password.

use redis::{ConnectionAddr, ConnectionInfo, RedisConnectionInfo};
use std::path::PathBuf;

/// A host, or an address without brackets, and a port.
pub(super) type Host = (String, u16);

/// Where Redis is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    Host(Host),
    Unix(PathBuf),
    Sentinels { hosts: Vec<Host>, master: String },
    Cluster(Vec<Host>),
}

/// What a URL says.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) place: Place,
    pub(super) tls: bool,
    pub(super) insecure: bool,
    pub(super) redis: RedisConnectionInfo,
}

/// The ports of Sentinel and Redis where none is given.
pub(super) const SENTINEL_PORT: u16 = 26379;
pub(super) const REDIS_PORT: u16 = 6379;

/// Reads a URL.
pub(super) fn parse(url: &str) -> Result<Address, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err("is no URL, such as redis://host:6379".to_owned());
    };
    let tls = scheme.starts_with("rediss");
    match scheme {
        "redis-sentinel" | "rediss-sentinel" => sentinels(rest, tls),
        "redis-cluster" | "rediss-cluster" => cluster(rest, tls),
        _ => single(url),
    }
}

fn single(url: &str) -> Result<Address, String> {
    let info: ConnectionInfo = url
        .parse()
        .map_err(|error: redis::RedisError| error.to_string())?;
    let (place, tls, insecure) = match info.addr() {
        ConnectionAddr::Tcp(host, port) => (Place::Host((host.clone(), *port)), false, false),
        ConnectionAddr::TcpTls {
            host, port, insecure, ..
        } => (Place::Host((host.clone(), *port)), true, *insecure),
        ConnectionAddr::Unix(path) => (Place::Unix(path.clone()), false, false),
        _ => return Err("names an unknown sort of address".to_owned()),
    };
    Ok(Address {
        place,
        tls,
        insecure,
        redis: info.redis_settings().clone(),
    })
}

fn sentinels(rest: &str, tls: bool) -> Result<Address, String> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (master, db) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() || path.contains(['?', '#']) {
        return Err("names no master: redis-sentinel://host,host/master/0".to_owned());
    }
    let (hosts, redis) = several(authority, db, SENTINEL_PORT)?;
    let place = Place::Sentinels {
        hosts,
        master: master.to_owned(),
    };
    Ok(Address {
        place,
        tls,
        insecure: false,
        redis,
    })
}

fn cluster(rest: &str, tls: bool) -> Result<Address, String> {
    let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
    let (hosts, redis) = several(authority, db, REDIS_PORT)?;
    Ok(Address {
        place: Place::Cluster(hosts),
        tls,
        insecure: false,
        redis,
    })
}

/// Hosts with the user and database that they share.
fn several(authority: &str, db: &str, port: u16) -> Result<(Vec<Host>, RedisConnectionInfo), String> {
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let redis = single(&format!("redis://{user}@localhost/{db}"))?.redis;
    let read = hosts.split(',').enumerate().map(|(index, text)| {
        host(text, port).ok_or_else(|| format!("its {}. address is not host[:port]", index + 1))
    });
    Ok((read.collect::<Result<_, _>>()?, redis))
}

/// Reads `host`, `host:port`, `[address]` or `[address]:port`.
pub(super) fn host(text: &str, port: u16) -> Option<Host> {
    let text = text.trim();
    let bare = !text.is_empty() && !text.contains(['/', '@', '?', '#', '%', ' ']);
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let url = if has_port {
        format!("redis://{text}")
    } else {
        format!("redis://{text}:{port}")
    };
    match single(&url) {
        Ok(Address {
            place: Place::Host(host),
            ..
        }) if bare => Some(host),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Host {
        (host.to_owned(), port)
    }

    #[test]
    fn a_host_is_read_with_and_without_a_port() {
        for (text, read) in [
            ("h", at("h", 1)),
            (" h:2", at("h", 2)),
            ("10.0.0.1:3", at("10.0.0.1", 3)),
            ("[::1]", at("::1", 1)),
            ("[::1]:4", at("::1", 4)),
        ] {
            assert_eq!(host(text, 1), Some(read), "{text}");
        }
        for text in [
            "",
            ":2",
            "h:99999",
            "u:p@h:1",
            "h/1",
            "redis://h",
            "::1",
            "h:x",
            "0.0.0.0:1",
        ] {
            assert_eq!(host(text, 1), None, "{text}");
        }
    }

    #[test]
    fn sentinels_are_read_with_master_database_and_user() {
        let address = parse("redis-sentinel://lap:p%2Fw@h1,h2:5/main/3").unwrap();
        let hosts = vec![at("h1", SENTINEL_PORT), at("h2", 5)];
        let master = "main".to_owned();
        assert_eq!(address.place, Place::Sentinels { hosts, master });
        assert_eq!(address.redis.username(), Some("lap"));
        assert_eq!(address.redis.password(), Some("p/w"));
        assert_eq!(address.redis.db(), 3);
        assert!(!address.tls);
        assert!(parse("rediss-sentinel://h/main").unwrap().tls);
    }

    #[test]
    fn a_cluster_is_read_with_its_nodes() {
        let address = parse("rediss-cluster://:pw@h1:1,[::1]").unwrap();
        assert_eq!(
            address.place,
            Place::Cluster(vec![at("h1", 1), at("::1", REDIS_PORT)])
        );
        assert_eq!(address.redis.password(), Some("pw"));
        assert!(address.tls);
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        for url in [
            "sesame",
            "http://u:sesame@h",
            "redis://u:sesame@h:port",
            "redis://u:sesame@h/x",
            "redis-sentinel://u:sesame@h",
            "redis-sentinel://u:sesame@h:x/main",
            "redis-cluster://u:sesame@",
            "redis-cluster://u:sesame@h/x",
        ] {
            let why = parse(url).unwrap_err();
            assert!(!why.contains("sesame"), "{url}: {why}");
        }
    }
}
