//! What a user may set.

use super::call::{Call, admit};
use crate::{
    Findings,
    findings::invalid,
    native::{
        http::{TlsVersion, fields::Headers},
        trust::{Trust, trust},
    },
    net::{Host, IpFamily},
    schema::Fault,
};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of kind `grpc`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcConfig {
    /// Name or address; an IPv6 address may be in brackets.
    #[schemars(length(min = 1))]
    pub host: String,
    /// Port, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The service to ask about, `package.Service`. Default: the server as a whole.
    #[serde(default)]
    pub service: String,
    /// Speak TLS. Default: plain text.
    #[serde(default)]
    pub tls: bool,
    /// Metadata to send along: an object of strings.
    #[serde(default)]
    pub metadata: Headers,
    /// Accept any certificate; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls_errors: bool,
    /// Root certificates to trust instead of the system's, PEM. A server's own certificate may be among them.
    #[serde(default)]
    pub tls_ca: String,
    /// Client certificate, PEM; needs `tls_key`.
    #[serde(default)]
    pub tls_cert: String,
    /// Key of `tls_cert`, PEM.
    #[serde(default)]
    pub tls_key: String,
    /// Name for SNI and for the certificate's verification. Default: `host`.
    #[serde(default)]
    pub server_name: String,
    /// Oldest TLS version to speak. Default: `1.2`.
    #[serde(default)]
    pub min_tls_version: TlsVersion,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
}

/// Configuration of kind `grpc-keyword`. Peekaping's fields have Peekaping's names and meanings.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcKeywordConfig {
    /// Where to call: `host:port`.
    #[serde(rename = "grpcUrl")]
    #[schemars(length(min = 1))]
    pub url: String,
    /// The service's definition: the text of a `.proto` file, at most 256 KiB. It may import the well-known types
    /// (`google/protobuf/…`), nothing else.
    #[serde(rename = "grpcProtobuf")]
    #[schemars(length(min = 1, max = 262_144))]
    pub protobuf: String,
    /// The service, with or without its package.
    #[serde(rename = "grpcServiceName")]
    #[schemars(length(min = 1))]
    pub service: String,
    /// The method; a unary one.
    #[serde(rename = "grpcMethod")]
    #[schemars(length(min = 1))]
    pub method: String,
    /// Speak TLS. Default: plain text.
    #[serde(default, rename = "grpcEnableTls")]
    pub tls: bool,
    /// The request as JSON (proto3's mapping). Default: `{}`.
    #[serde(default, rename = "grpcBody")]
    pub body: String,
    /// Text the answer must contain as JSON (case matters; fields that have their default value are left out).
    #[serde(default)]
    pub keyword: String,
    /// Turns `keyword` around: the answer must not contain it.
    #[serde(default, rename = "invertKeyword")]
    pub invert: bool,
    /// Metadata to send along: an object of strings.
    #[serde(default)]
    pub metadata: Headers,
    /// Accept any certificate; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls_errors: bool,
    /// Root certificates to trust instead of the system's, PEM. A server's own certificate may be among them.
    #[serde(default)]
    pub tls_ca: String,
    /// Client certificate, PEM; needs `tls_key`.
    #[serde(default)]
    pub tls_cert: String,
    /// Key of `tls_cert`, PEM.
    #[serde(default)]
    pub tls_key: String,
    /// Name for SNI and for the certificate's verification. Default: the host of `grpcUrl`.
    #[serde(default)]
    pub server_name: String,
    /// Oldest TLS version to speak. Default: `1.2`.
    #[serde(default)]
    pub min_tls_version: TlsVersion,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
}

macro_rules! trust_of {
    ($config:expr) => {
        Trust {
            min_version: $config.min_tls_version,
            ..trust!($config, $config.ignore_tls_errors)
        }
    };
}

macro_rules! call {
    ($config:expr, $authority:expr) => {{
        let config = $config;
        let trust = trust_of!(config);
        Ok(Call {
            authority: $authority,
            tls: config.tls.then(|| trust.options()).transpose()?,
            family: config.ip_family,
            path: String::new(),
            metadata: admit(config.metadata.0.clone(), "metadata")?,
            message: Bytes::new(),
        })
    }};
}

/// Notes what is wrong with the fields that both kinds have, and with the call's own.
macro_rules! review {
    ($config:expr, $found:expr) => {{
        let (config, found) = ($config, $found);
        found.take(config.authority());
        if config.tls {
            trust_of!(config).review(found);
        }
        found.take(admit(config.metadata.0.clone(), "metadata"));
    }};
}

impl GrpcConfig {
    /// Notes all that keeps it from being called.
    pub(super) fn review(&self, found: &mut Findings) {
        review!(self, found);
    }

    /// `host:port`.
    fn authority(&self) -> Result<String, Fault> {
        match Host::parse(&self.host) {
            Ok(Host::Address(address)) if address.is_ipv6() => Ok(format!("[{address}]:{}", self.port)),
            Ok(host) => Ok(format!("{host}:{}", self.port)),
            Err(error) => Err(invalid("host", error)),
        }
    }

    /// The call but for what is called.
    pub(super) fn call(&self) -> Result<Call, Fault> {
        call!(self, self.authority()?)
    }
}

impl GrpcKeywordConfig {
    /// As [`GrpcConfig::review`].
    pub(super) fn review(&self, found: &mut Findings) {
        review!(self, found);
    }

    fn authority(&self) -> Result<String, Fault> {
        let place = self.url.trim();
        let port = place
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) || place.contains(['/', '@', '?', '#']) {
            return Err(invalid("grpcUrl", "expected `host:port`"));
        }
        Ok(place.to_owned())
    }

    /// As [`GrpcConfig::call`].
    pub(super) fn call(&self) -> Result<Call, Fault> {
        call!(self, self.authority()?)
    }
}
