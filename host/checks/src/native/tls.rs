//! Kind `tls`: what a TLS server presents, and how long it will last; at once, or after another protocol's STARTTLS.

mod starttls;

use crate::{
    Check, CheckError, Findings, ProbeContext,
    native::{
        http::TlsVersion,
        trust::{Trust, trust},
    },
    net::{
        Connection, Host, IpFamily, NetError,
        tls::{self, TlsOptions},
    },
    schema,
};
use lapwing_model::{Metric, Observation, Phase, Reason, TlsInfo};
use schemars::JsonSchema;
use serde::Deserialize;
use starttls::{Opening, Protocol};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Kind `tls`.
#[derive(Debug, Clone, Copy)]
pub struct Tls;

/// Configuration of kind `tls`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Name or address; an IPv6 address may be in brackets.
    #[schemars(length(min = 1))]
    pub host: String,
    /// Port, 1 to 65535. Default: 0, the port of `starttls`, or 443.
    #[serde(default)]
    pub port: u16,
    /// The protocol whose STARTTLS comes first. Default: `none`, TLS from the first byte on.
    #[serde(default)]
    pub starttls: Protocol,
    /// Name for SNI and for the certificate's verification. Default: `host`.
    #[serde(default)]
    pub server_name: String,
    /// Root certificates to trust instead of the system's, PEM. A server's own certificate may be among them.
    #[serde(default)]
    pub tls_ca: String,
    /// Client certificate, PEM; with `tls_key`.
    #[serde(default)]
    pub tls_cert: String,
    /// Key of `tls_cert`, PEM.
    #[serde(default)]
    pub tls_key: String,
    /// Oldest TLS version to speak. Default: `1.2`.
    #[serde(default)]
    pub min_tls_version: TlsVersion,
    /// Application protocols to offer (ALPN), most wanted first. Default: none.
    #[serde(default)]
    pub alpn: Vec<String>,
    /// Accept any certificate; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls_errors: bool,
    /// Below this many days until the server's certificate ends the target is degraded; 0 is never. Default: 14.
    #[serde(default = "fortnight")]
    pub cert_expiry_warn_days: u32,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
}

fn fortnight() -> u32 {
    14
}

impl Check for Tls {
    const KIND: &'static str = "tls";
    const SUMMARY: &'static str = "Does a TLS handshake and watches the certificate";
    const EXAMPLE: &'static str =
        r#"{"host": "mail.example.com", "starttls": "smtp", "port": 587, "cert_expiry_warn_days": 21}"#;
    const SENSITIVE: &'static [&'static str] = &["/tls_key"];
    type Config = TlsConfig;

    fn review(config: TlsConfig, found: &mut Findings) {
        found.of("host", Host::parse(&config.host));
        found.of("alpn", tls::protocols(&config.alpn));
        config.trust().review(found);
    }

    async fn probe(&self, config: TlsConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let options = config.options()?;
        let port = match config.port {
            0 => config.starttls.port(),
            port => port,
        };
        let connected = cx
            .net
            .connect(&config.host, port, config.ip_family, cx.deadline)
            .await;
        let Connection {
            mut stream,
            peer,
            resolve,
            connect,
        } = match connected {
            Ok(connection) => connection,
            Err(error) => return error.into_verdict(|error| format!("TLS check failed: {error}")),
        };
        let start = Instant::now();
        let opened = Opening::new(&mut stream, &config.host, cx.deadline)
            .hold(config.starttls, options.server_name.as_deref())
            .await;
        let (opening, start) = (start.elapsed(), Instant::now());
        let shaken = match opened {
            Ok(()) => {
                cx.net
                    .handshake(stream, &config.host, &options, cx.deadline)
                    .await
            }
            Err(error) => Err(error),
        };
        let handshake = start.elapsed();
        let mut seen = match shaken {
            Ok(session) => config.judge(session.info, cx),
            Err(error) => fault(error)?,
        };
        let phases = [
            ("resolve", resolve),
            ("connect", connect),
            ("starttls", opening),
            ("tls", handshake),
        ];
        let spent = phases.into_iter().filter(|(name, elapsed)| {
            !elapsed.is_zero() && (*name != "starttls" || config.starttls != Protocol::None)
        });
        seen.phases = spent
            .map(|(name, elapsed)| Phase {
                name: name.to_owned(),
                elapsed,
            })
            .collect();
        let latency: Duration = [resolve, connect, opening, handshake].iter().sum();
        Ok(seen
            .with_latency(latency)
            .with_attribute("peer", peer.to_string()))
    }
}

/// The verdict on a handshake that failed; what the peer presented is kept.
fn fault(error: NetError) -> Result<Observation, CheckError> {
    let info = match &error {
        NetError::Certificate { info, .. } => info.as_deref().cloned(),
        _ => None,
    };
    let mut seen = error.into_verdict(|error| format!("TLS check failed: {error}"))?;
    seen.tls = info;
    Ok(seen)
}

impl TlsConfig {
    fn trust(&self) -> Trust<'_> {
        Trust {
            min_version: self.min_tls_version,
            ..trust!(self, self.ignore_tls_errors)
        }
    }

    fn options(&self) -> Result<TlsOptions, schema::Fault> {
        Ok(TlsOptions {
            alpn: self.alpn.clone(),
            ..self.trust().options()?
        })
    }

    fn judge(&self, info: TlsInfo, cx: &ProbeContext) -> Observation {
        let days = info.days_left(cx.clock.now());
        let mut text = format!("{}, {}", info.protocol, info.cipher);
        if let Some(why) = &info.verify_error {
            text = format!("{text}; certificate not verified: {why}");
        }
        let warn = self.cert_expiry_warn_days;
        let mut seen = match days {
            Some(days) if warn > 0 && days < i64::from(warn) => {
                Observation::degraded(Reason::CertificateExpiring, format!("{text}; {}", expiry(days)))
            }
            Some(days) => Observation::up(format!("{text}; {}", expiry(days))),
            None => Observation::up(text),
        };
        seen.metrics = days.into_iter().filter_map(days_metric).collect();
        seen.tls = Some(info);
        seen
    }
}

/// An expired certificate comes as far as here only where it is accepted all the same.
pub(super) fn expiry(days: i64) -> String {
    if days < 0 {
        return format!("certificate expired {} days ago", -days);
    }
    format!("certificate expires in {days} days")
}

fn days_metric(days: i64) -> Option<Metric> {
    Some(Metric {
        name: "certificate_days_left".to_owned(),
        value: f64::from(i32::try_from(days).ok()?),
        unit: Some("days".to_owned()),
        labels: BTreeMap::new(),
    })
}
