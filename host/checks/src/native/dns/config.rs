//! What a user may set, and the plan one probe makes of it.

use super::records::Conditions;
use crate::{
    CheckError, Findings, ProbeContext,
    findings::invalid,
    native::{pattern::Pattern, trust::Trust},
    net::dns::{NameServer, Transport},
    schema::Fault,
};
use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use std::{fmt, net::IpAddr, str::FromStr};

/// Most servers that are asked at once.
const MAX_SERVERS: usize = 8;

/// Configuration of kind `dns`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsConfig {
    /// The name to ask about, taken as complete; an address where the records are `PTR`.
    #[schemars(length(min = 1))]
    pub host: String,
    /// The name server to ask: an address, or a name (looked up by the system's resolver). Default: the system's.
    #[serde(default)]
    pub resolver_server: String,
    /// More name servers, asked at the same time, each with its own port or that of `port`: `9.9.9.9`, `[::1]:5353`. The
    /// first answer wins. At most 8 in all.
    #[serde(default)]
    pub more_resolvers: Vec<String>,
    /// Their port, 1 to 65535. Default: 0, that of the transport (53, 853 or 443).
    #[serde(default)]
    pub port: u16,
    /// The records to ask for.
    pub resolve_type: RecordKind,
    /// How to ask. Default: `udp`.
    #[serde(default)]
    pub transport: By,
    /// `tls` and `https`: name for SNI and for the certificate's verification. Default: the server's.
    #[serde(default)]
    pub server_name: String,
    /// `tls` and `https`: root certificates to trust instead of the system's, PEM.
    #[serde(default)]
    pub tls_ca: String,
    /// `tls` and `https`: accept any certificate; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls_errors: bool,
    /// `https`: the path of the server's URL. Default: `/dns-query`.
    #[serde(default = "dns_query")]
    pub https_path: String,
    /// The response code that counts as good. Default: `NOERROR`.
    #[serde(default)]
    pub expected_rcode: Code,
    /// An answer without records is fine, too.
    #[serde(default)]
    pub allow_empty: bool,
    /// Records that must be there, as in a zone file: `192.0.2.1`, `10 mail.example.com`, `0 issue "ca.example"`. Case and
    /// the last dot of names do not matter.
    #[serde(default)]
    pub records_contain: Vec<String>,
    /// The records that must be there, and no others; written as for `records_contain`.
    #[serde(default)]
    pub records_equal: Vec<String>,
    /// A regular expression that at least one record must match, as in a zone file.
    #[serde(default)]
    pub records_match: Option<Pattern>,
    /// How many records there must be at least. Default: 0, no such condition.
    #[serde(default)]
    pub min_records: usize,
}

fn dns_query() -> String {
    "/dns-query".to_owned()
}

/// How to ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// UDP, and TCP where the answer does not fit.
    #[default]
    Udp,
    /// TCP.
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
}

/// Which records; case does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
pub enum RecordKind {
    A,
    Aaaa,
    Caa,
    /// Where the name leads; itself, if it has addresses of its own.
    Cname,
    Mx,
    Ns,
    Ptr,
    Soa,
    Srv,
    Txt,
}

impl RecordKind {
    const ALL: [Self; 10] = [
        Self::A,
        Self::Aaaa,
        Self::Caa,
        Self::Cname,
        Self::Mx,
        Self::Ns,
        Self::Ptr,
        Self::Soa,
        Self::Srv,
        Self::Txt,
    ];

    pub(super) fn rtype(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Caa => RecordType::CAA,
            Self::Cname => RecordType::CNAME,
            Self::Mx => RecordType::MX,
            Self::Ns => RecordType::NS,
            Self::Ptr => RecordType::PTR,
            Self::Soa => RecordType::SOA,
            Self::Srv => RecordType::SRV,
            Self::Txt => RecordType::TXT,
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rtype().fmt(f)
    }
}

impl<'de> Deserialize<'de> for RecordKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let upper = text.to_ascii_uppercase();
        let known = Self::ALL.into_iter().find(|kind| kind.to_string() == upper);
        known.ok_or_else(|| {
            let all = Self::ALL.map(|kind| kind.to_string()).join(", ");
            de::Error::custom(format!("unsupported record type: {text}; expected one of {all}"))
        })
    }
}

macro_rules! codes {
    ($( $variant:ident = $word:literal => $code:ident, )*) => {
        /// Response codes of RFC 1035 and RFC 2136.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
        pub enum Code {
            #[default]
            $( #[serde(rename = $word)] $variant, )*
        }

        impl From<Code> for ResponseCode {
            fn from(code: Code) -> Self {
                match code {
                    $( Code::$variant => Self::$code, )*
                }
            }
        }

        /// The name that people know a code by; its number, if there is none.
        pub(super) fn code_name(code: ResponseCode) -> String {
            match code {
                $( ResponseCode::$code => $word.to_owned(), )*
                other => format!("code {}", u16::from(other)),
            }
        }
    };
}

codes! {
    NoError = "NOERROR" => NoError,
    FormErr = "FORMERR" => FormErr,
    ServFail = "SERVFAIL" => ServFail,
    NxDomain = "NXDOMAIN" => NXDomain,
    NotImp = "NOTIMP" => NotImp,
    Refused = "REFUSED" => Refused,
    NotAuth = "NOTAUTH" => NotAuth,
}

/// A configuration made ready.
pub(super) struct Plan {
    /// As the user wrote it.
    pub(super) host: String,
    pub(super) name: Name,
    pub(super) kind: RecordKind,
    pub(super) servers: Vec<NameServer>,
    pub(super) expected: ResponseCode,
    pub(super) conditions: Conditions,
}

impl Plan {
    pub(super) fn new(config: DnsConfig, cx: &ProbeContext) -> Result<Self, CheckError> {
        let name = asked(&config.host, config.resolve_type)?;
        Ok(Self {
            name,
            servers: config.servers(cx)?,
            kind: config.resolve_type,
            expected: config.expected_rcode.into(),
            conditions: Conditions {
                allow_empty: config.allow_empty,
                contain: config.records_contain,
                equal: config.records_equal,
                matching: config.records_match.map(|pattern| pattern.0),
                at_least: config.min_records,
            },
            host: config.host,
        })
    }
}

/// The name that a question about `host` is about.
fn asked(host: &str, kind: RecordKind) -> Result<Name, Fault> {
    let unfit = |why: &str| invalid("host", format_args!("`{host}` {why}"));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match (kind, bare.parse::<IpAddr>()) {
        (RecordKind::Ptr, Ok(address)) => Ok(Name::from(address)),
        (RecordKind::Ptr, Err(_)) => Err(unfit("is no address, which `PTR` needs")),
        (_, Ok(_)) => Err(unfit("is an address; only `PTR` records are asked for by one")),
        (_, Err(_)) => {
            let mut name = Name::from_utf8(host)
                .or_else(|_| Name::from_str(host))
                .map_err(|_| unfit("is no DNS name"))?;
            name.set_fqdn(true);
            Ok(name)
        }
    }
}

impl DnsConfig {
    fn servers(&self, cx: &ProbeContext) -> Result<Vec<NameServer>, CheckError> {
        let (transport, default_port) = self.transport();
        let port = if self.port == 0 { default_port } else { self.port };
        let given = std::iter::once(&self.resolver_server)
            .chain(&self.more_resolvers)
            .map(|server| server.trim())
            .filter(|server| !server.is_empty());
        let mut servers: Vec<NameServer> = given
            .map(|server| {
                let (host, port) = host_and_port(server, port);
                NameServer {
                    host: host.to_owned(),
                    port,
                    transport: transport.clone(),
                }
            })
            .collect();
        if servers.len() > MAX_SERVERS {
            let text = format!("`more_resolvers`: at most {MAX_SERVERS} name servers in all");
            return Err(CheckError::InvalidConfig(text));
        }
        if servers.is_empty() {
            let system = cx
                .net
                .name_servers()
                .map_err(|error| CheckError::Internal(error.to_string()))?;
            servers.extend(system.iter().take(MAX_SERVERS).map(|server| NameServer {
                host: server.ip().to_string(),
                port: if self.port == 0 && self.transport == By::Udp {
                    server.port()
                } else {
                    port
                },
                transport: transport.clone(),
            }));
        }
        Ok(servers)
    }

    pub(super) fn review(&self, found: &mut Findings) {
        found.take(asked(&self.host, self.resolve_type));
        if matches!(self.transport, By::Tls | By::Https) {
            self.trust().review(found);
        }
    }

    fn trust(&self) -> Trust<'_> {
        Trust {
            ignore_errors: self.ignore_tls_errors,
            ca: &self.tls_ca,
            server_name: &self.server_name,
            ..Trust::default()
        }
    }

    fn transport(&self) -> (Transport, u16) {
        let trust = self.trust();
        match self.transport {
            By::Udp => (Transport::Udp, 53),
            By::Tcp => (Transport::Tcp, 53),
            By::Tls => (Transport::Tls(trust.anonymous()), 853),
            By::Https => (Transport::Https(trust.anonymous(), self.https_path.clone()), 443),
        }
    }
}

/// `host`, `host:port`, `::1`, `[::1]` or `[::1]:port`.
fn host_and_port(server: &str, port: u16) -> (&str, u16) {
    let is_v6 = server.matches(':').count() > 1 && !server.contains(']');
    server
        .rsplit_once(':')
        .filter(|_| !is_v6)
        .and_then(|(host, port)| Some((host, port.parse().ok().filter(|port| *port > 0)?)))
        .unwrap_or((server, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_own_port_comes_before_that_of_all() {
        for (text, host, port) in [
            ("9.9.9.9", "9.9.9.9", 53),
            ("9.9.9.9:5353", "9.9.9.9", 5353),
            ("dns.example", "dns.example", 53),
            ("::1", "::1", 53),
            ("[::1]", "[::1]", 53),
            ("[::1]:5353", "[::1]", 5353),
        ] {
            assert_eq!(host_and_port(text, 53), (host, port));
        }
    }

    #[test]
    fn pointers_are_asked_for_by_address_and_all_else_by_name() {
        let name = |host: &str, kind| asked(host, kind).map(|name| name.to_ascii());
        assert_eq!(
            name("192.0.2.7", RecordKind::Ptr).unwrap(),
            "7.2.0.192.in-addr.arpa."
        );
        assert_eq!(name("example.com", RecordKind::Mx).unwrap(), "example.com.");
        assert_eq!(
            name("_sip._tcp.example.com.", RecordKind::Srv).unwrap(),
            "_sip._tcp.example.com."
        );
        assert_eq!(name("bücher.de", RecordKind::A).unwrap(), "xn--bcher-kva.de.");
        for (host, kind) in [
            ("example.com", RecordKind::Ptr),
            ("192.0.2.7", RecordKind::A),
            ("a..b", RecordKind::A),
        ] {
            assert!(asked(host, kind).is_err(), "{host}");
        }
    }
}
