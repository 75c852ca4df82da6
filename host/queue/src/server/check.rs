//! Finding everything that is wrong with settings.

use super::{
    SentinelSettings, ServerFault, ServerFaults, ServerSettings, TlsSettings,
    address::{self, Address, Host, Place},
    plan::with_user,
};
use redis::RedisConnectionInfo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{fs, path::Path};

/// What was found wrong so far.
#[derive(Default)]
pub(super) struct Faults(Vec<ServerFault>);

impl Faults {
    fn add(&mut self, field: &'static str, message: &str) {
        self.0.push(ServerFault {
            field,
            message: message.to_owned(),
        });
    }

    /// `value`, if nothing was found wrong; without one, something was.
    pub(super) fn none<T>(self, value: Option<T>) -> Result<T, ServerFaults> {
        value.filter(|_| self.0.is_empty()).ok_or(ServerFaults(self.0))
    }

    /// Where the settings say Redis is, and who we are there.
    pub(super) fn address(&mut self, settings: &ServerSettings) -> Option<Address> {
        let mut address = self.named(settings)?;
        if let Place::Sentinels { master, .. } = &mut address.place {
            if let Some(name) = &settings.sentinels.master {
                master.clone_from(name);
            }
            if master.is_empty() {
                self.add("sentinels.master", "is missing");
            }
        } else {
            let SentinelSettings {
                master,
                username,
                password,
                ..
            } = &settings.sentinels;
            if [master, username, password].into_iter().any(Option::is_some) {
                self.add("sentinels.addresses", "is missing");
            }
        }
        let info = with_user(
            address.redis,
            settings.username.as_deref(),
            settings.password.as_deref(),
        );
        address.redis = match settings.db {
            Some(db) => info.set_db(db),
            None => info,
        };
        match (address.redis.db(), &address.place) {
            (1.., Place::Cluster(_)) => self.add("db", "is not 0: a cluster has no other"),
            (..=-1, _) => self.add("db", "is negative"),
            _ => {}
        }
        Some(address)
    }

    /// The address as the one setting gives it that names one.
    fn named(&mut self, settings: &ServerSettings) -> Option<Address> {
        let (sentinels, cluster) = (&settings.sentinels.addresses, &settings.cluster);
        let place = match (settings.url.is_empty(), sentinels.is_empty(), cluster.is_empty()) {
            (false, true, true) => {
                let read = address::parse(&settings.url);
                return read.map_err(|why| self.add("url", &why)).ok();
            }
            (true, false, true) => Place::Sentinels {
                hosts: self.hosts("sentinels.addresses", sentinels, address::SENTINEL_PORT),
                master: String::new(),
            },
            (true, true, false) => Place::Cluster(self.hosts("cluster", cluster, address::REDIS_PORT)),
            (true, true, true) => {
                self.add("url", "is missing");
                return None;
            }
            (_, _, true) => {
                self.add("sentinels.addresses", "Redis is named by `url` already");
                return None;
            }
            (..) => {
                self.add("cluster", "Redis is named by another setting already");
                return None;
            }
        };
        Some(Address {
            place,
            tls: false,
            insecure: false,
            redis: RedisConnectionInfo::default(),
        })
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

    /// What stands by itself.
    pub(super) fn check_limits(&mut self, settings: &ServerSettings) {
        for (field, time) in [
            ("connect_timeout", settings.connect_timeout),
            ("command_timeout", settings.command_timeout),
        ] {
            if time.is_zero() {
                self.add(field, "is zero");
            }
        }
        if !(2..=3600).contains(&settings.keepalive.as_secs()) {
            self.add("keepalive", "is not within 2 s and an hour");
        }
        if !(1..=64).contains(&settings.connections) {
            self.add("connections", "is not within 1 and 64");
        }
        // What Redis takes for a name.
        let fit = |name: &String| name.bytes().all(|byte| byte.is_ascii_graphic());
        if settings.client_name.as_ref().is_some_and(|name| !fit(name)) {
            self.add(
                "client_name",
                "has characters other than printable ASCII without spaces",
            );
        }
    }

    /// The files must be there and fit each other; nothing may be said of TLS where there is none.
    pub(super) fn check_tls(&mut self, tls: &TlsSettings, place: Option<&Place>) {
        let given = [
            ("tls.ca", tls.ca.is_some()),
            ("tls.certificate", tls.certificate.is_some()),
            ("tls.key", tls.key.is_some()),
            ("tls.server_name", tls.server_name.is_some()),
            ("tls.insecure", tls.insecure),
        ];
        for (field, given) in given {
            // Where the URL could not be read, it may have asked for TLS.
            if given && !tls.enabled && place.is_some() {
                self.add(
                    field,
                    "has no use without TLS: write rediss:// or set `tls.enabled`",
                );
            }
        }
        if tls.enabled && matches!(place, Some(Place::Unix(_))) {
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
