//! What the connection string says.

use super::MongoDbConfig;
use crate::{
    Findings, ProbeContext,
    native::{
        connection::{ConnectionUrl, host_and_port},
        scram::Hash,
        trust::{Trust, trust},
    },
    net::{Host, NetError, tls::TlsOptions},
};
use std::collections::VecDeque;

const PORT: u16 = 27017;
/// Most servers to try: a DNS answer must not send us around the world.
pub(super) const MOST_SERVERS: usize = 16;

pub(super) const SCRAM_SHA_1: Mechanism = (Hash::Sha1, "SCRAM-SHA-1");
pub(super) const SCRAM_SHA_256: Mechanism = (Hash::Sha256, "SCRAM-SHA-256");
/// Options that are `true` or `false`.
const FLAGS: [&str; 7] = [
    "tls",
    "ssl",
    "tlsInsecure",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "directConnection",
    "loadBalanced",
];
/// The other options of the drivers' specification, most of them without an effect on one command.
const OPTIONS: [&str; 34] = [
    "appName",
    "authMechanism",
    "authMechanismProperties",
    "authSource",
    "compressors",
    "connectTimeoutMS",
    "heartbeatFrequencyMS",
    "journal",
    "localThresholdMS",
    "maxConnecting",
    "maxIdleTimeMS",
    "maxPoolSize",
    "maxStalenessSeconds",
    "minPoolSize",
    "proxyHost",
    "readConcernLevel",
    "readPreference",
    "readPreferenceTags",
    "replicaSet",
    "retryReads",
    "retryWrites",
    "serverMonitoringMode",
    "serverSelectionTimeoutMS",
    "socketTimeoutMS",
    "srvMaxHosts",
    "srvServiceName",
    "timeoutMS",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "uuidRepresentation",
    "w",
    "waitQueueTimeoutMS",
    "wtimeoutMS",
    "zlibCompressionLevel",
];

/// A way to log in, and its name.
pub(super) type Mechanism = (Hash, &'static str);

/// Where to go, and as whom.
pub(super) struct Target {
    pub(super) url: ConnectionUrl,
    pub(super) tls: Option<TlsOptions>,
    /// `None`: what the server prefers.
    pub(super) mechanism: Option<Mechanism>,
    /// Whether a server that is no primary will do.
    pub(super) any_member: bool,
}

impl Target {
    /// Notes all that is wrong with where to go.
    pub(super) fn review(config: &MongoDbConfig, found: &mut Findings) {
        let url = found.of("connectionString", Self::url(config));
        if let Some(url) = &url {
            let known = [&FLAGS[..], &OPTIONS].concat();
            found.of("connectionString", url.know_params(&known));
        }
        if let Some(trust) = url.and_then(|url| Self::trust(config, &url)) {
            trust.review(found);
        }
    }

    fn url(config: &MongoDbConfig) -> Result<ConnectionUrl, String> {
        let unfit = |why: &str| format!("connection string validation failed: {why}");
        let url = ConnectionUrl::parse(&config.connection_string).map_err(|why| unfit(&why))?;
        let srv = url.scheme == "mongodb+srv";
        if !srv && url.scheme != "mongodb" {
            return Err(unfit(
                "connection string must use mongodb:// or mongodb+srv:// scheme",
            ));
        }
        if url.host().is_none() {
            return Err(unfit("connection string must include host"));
        }
        if srv && (url.hosts.len() > 1 || url.hosts.iter().any(|(_, port)| port.is_some())) {
            return Err(unfit("mongodb+srv:// takes one host and no port"));
        }
        if url.database.is_empty() {
            return Err(unfit("connection string must include database name"));
        }
        if url.user.is_some() && url.password.is_none() {
            return Err(unfit("a username needs a password"));
        }
        let odd = |name: &&&str| !matches!(url.param(name), None | Some("true" | "false"));
        if let Some(name) = FLAGS.iter().find(odd) {
            return Err(unfit(&format!("`{name}` is neither `true` nor `false`")));
        }
        if is(&url, "tls")
            .zip(is(&url, "ssl"))
            .is_some_and(|(tls, ssl)| tls != ssl)
        {
            return Err(unfit("`tls` and `ssl` contradict each other"));
        }
        Self::mechanism(&url).map_err(unfit)?;
        Ok(url)
    }

    fn mechanism(url: &ConnectionUrl) -> Result<Option<Mechanism>, &'static str> {
        let Some(name) = url.param("authMechanism") else {
            return Ok(None);
        };
        let known = [SCRAM_SHA_256, SCRAM_SHA_1]
            .into_iter()
            .find(|known| known.1 == name);
        let why = "`authMechanism` is not one of SCRAM-SHA-256, SCRAM-SHA-1";
        known.map(Some).ok_or(why)
    }

    /// What is said of TLS, if that is spoken.
    fn trust<'a>(config: &'a MongoDbConfig, url: &ConnectionUrl) -> Option<Trust<'a>> {
        let secure = is(url, "tls").or_else(|| is(url, "ssl"));
        let careless = [
            "tlsInsecure",
            "tlsAllowInvalidCertificates",
            "tlsAllowInvalidHostnames",
        ];
        let careless = careless.iter().any(|name| is(url, name) == Some(true));
        let trust = Trust {
            names: ["tlsCa", "tlsCert", "tlsKey"],
            ..trust!(config, careless)
        };
        Some(trust).filter(|_| secure.unwrap_or(url.scheme == "mongodb+srv"))
    }

    /// The error is the message.
    pub(super) fn parse(config: &MongoDbConfig) -> Result<Self, String> {
        let url = Self::url(config)?;
        let srv = url.scheme == "mongodb+srv";
        let tls = Self::trust(config, &url).map(Trust::options).transpose();
        let tls = tls.map_err(|fault| fault.to_string())?;
        let preference = url.param("readPreference").unwrap_or("primary");
        let alone = url.hosts.len() == 1 && !srv && url.param("replicaSet").is_none();
        let any_member = alone || preference != "primary" || is(&url, "directConnection") == Some(true);
        let mechanism = Self::mechanism(&url)?;
        Ok(Self {
            url,
            tls,
            mechanism,
            any_member,
        })
    }

    /// The database that knows the user.
    pub(super) fn auth_source(&self) -> &str {
        self.url.param("authSource").unwrap_or("admin")
    }

    /// The servers to begin with.
    pub(super) async fn servers(&self, cx: &ProbeContext) -> Result<VecDeque<(String, u16)>, NetError> {
        if self.url.scheme != "mongodb+srv" {
            let hosts = self.url.hosts.iter();
            return Ok(hosts
                .map(|(host, port)| (host.clone(), port.unwrap_or(PORT)))
                .collect());
        }
        let (name, _) = self.url.host().cloned().unwrap_or_default();
        let question = format!("_mongodb._tcp.{name}");
        let reply = cx.net.query(&question, "SRV", None, cx.deadline).await?;
        // NOERROR and NXDOMAIN tell what there is; anything else tells nothing.
        if !matches!(reply.rcode, 0 | 3) {
            return Err(NetError::DnsFailed(format!(
                "the name server answers the SRV question for `{question}` with code {}",
                reply.rcode
            )));
        }
        let servers = reply.answers.iter().filter(|record| record.rtype == "SRV");
        let servers: VecDeque<_> = servers
            .filter_map(|record| service(&record.data, &name))
            .take(MOST_SERVERS)
            .collect();
        if servers.is_empty() {
            return Err(NetError::DnsNotFound(format!(
                "`{question}` has no SRV record that fits"
            )));
        }
        Ok(servers)
    }
}

/// What the option `name` says, if it is there.
fn is(url: &ConnectionUrl, name: &str) -> Option<bool> {
    url.param(name).map(|value| value == "true")
}

/// Host and port of an SRV record's text (`priority weight port target`), whose target must be of the same domain as the
/// name asked for: the specification of `mongodb+srv` wants it so, lest DNS send credentials elsewhere.
fn service(text: &str, name: &str) -> Option<(String, u16)> {
    let mut parts = text.split_whitespace().skip(2);
    let (port, host) = (parts.next()?.parse().ok()?, parts.next()?.trim_end_matches('.'));
    let domain = match name.matches('.').count() {
        0 | 1 => name,
        _ => name.split_once('.')?.1,
    };
    let domain = format!(".{}", domain.to_ascii_lowercase());
    host.to_ascii_lowercase()
        .ends_with(&domain)
        .then(|| (host.to_owned(), port))
}

/// `host:port` as servers name each other.
pub(super) fn member(text: &str) -> Option<(String, u16)> {
    let (host, port) = host_and_port(text).ok()?;
    Host::parse(&host).ok()?;
    Some((host, port.unwrap_or(PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(url: &str) -> Result<Target, String> {
        with_certificate(url, "")
    }

    fn with_certificate(url: &str, certificate: &str) -> Result<Target, String> {
        let config = json!({ "connectionString": url, "tlsCert": certificate });
        Target::parse(&serde_json::from_value(config).unwrap())
    }

    #[test]
    fn a_certificate_is_judged_only_where_tls_is_spoken() {
        let error = with_certificate("mongodb://a/db?tls=true", "half").map(|_| ());
        assert!(error.unwrap_err().starts_with("`tlsKey`: `tlsCert` needs it"));
        assert!(with_certificate("mongodb://a/db", "half").unwrap().tls.is_none());
    }

    #[test]
    fn options_are_understood() {
        let target =
            parse("mongodb://u:p@a,b:2/db?authSource=x&tls=true&tlsInsecure=true&replicaSet=r").unwrap();
        assert_eq!((target.auth_source(), target.url.hosts.len()), ("x", 2));
        assert!(!target.tls.unwrap().verify && !target.any_member);
        let target = parse("mongodb+srv://u:p@cluster.example.net/db").unwrap();
        assert!(target.tls.unwrap().verify);
        let target = parse("mongodb://a/db").unwrap();
        assert!(target.tls.is_none() && target.any_member && target.auth_source() == "admin");
        assert!(
            parse("mongodb://a,b/db?readPreference=nearest")
                .unwrap()
                .any_member
        );
        for url in [
            "x://a/db",
            "mongodb:///db",
            "mongodb://a",
            "mongodb+srv://a.b.c:1/db",
            "mongodb://hunter2@a/db",
            "mongodb://a:0/db",
            "mongodb://a/db?tls=True",
            "mongodb+srv://a.b.c/db?ssl=maybe",
            "mongodb://a/db?directConnection=",
            "mongodb://a/db?tls=true&ssl=false",
            "mongodb://a/db?authMechanism=PLAIN",
        ] {
            let error = parse(url).map(|_| ()).unwrap_err();
            assert!(
                error.starts_with("connection string validation failed: ") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn srv_records_of_another_domain_are_not_followed() {
        let found = Some(("db1.example.net".to_owned(), 27018));
        assert_eq!(
            service("0 5 27018 db1.example.net.", "cluster.example.net"),
            found
        );
        assert_eq!(service("0 5 27018 db1.evil.net.", "cluster.example.net"), None);
        assert_eq!(service("0 5 27018 evilexample.net.", "cluster.example.net"), None);
        assert_eq!(service("0 5", "cluster.example.net"), None);
    }
}
