//! Kind `tcp`: the port accepts connections, and, where steps are given, holds the expected conversation.

mod steps;

use crate::{
    Check, CheckError, Findings, ProbeContext,
    native::{http::TlsVersion, tls::expiry, trust::Trust},
    net::{Connection, Host, IpFamily},
};
use lapwing_model::{Observation, Phase, Reason};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use steps::{Step, Talk};

/// Kind `tcp`.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

/// Configuration of kind `tcp`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpConfig {
    /// Name or address; an IPv6 address may be in brackets.
    #[schemars(length(min = 1))]
    pub host: String,
    /// Port, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Whether the ingester watches the certificate's end; no effect on the check.
    #[serde(default)]
    pub check_cert_expiry: bool,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
    /// What to say and what to hear once connected, in this order. Default: nothing.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// `starttls`: accept any certificate; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls_errors: bool,
    /// `starttls`: name for SNI and for the certificate's verification. Default: `host`.
    #[serde(default)]
    pub server_name: String,
    /// `starttls`: root certificates to trust instead of the system's, PEM.
    #[serde(default)]
    pub tls_ca: String,
    /// `starttls`: oldest TLS version to speak. Default: `1.2`.
    #[serde(default)]
    pub min_tls_version: TlsVersion,
    /// `starttls`: below this many days until the server's certificate ends the target is degraded. Default: 0, never.
    #[serde(default)]
    pub cert_expiry_warn_days: u32,
}

impl TcpConfig {
    fn trust(&self) -> Trust<'_> {
        Trust {
            ignore_errors: self.ignore_tls_errors,
            ca: &self.tls_ca,
            server_name: &self.server_name,
            min_version: self.min_tls_version,
            ..Trust::default()
        }
    }
}

impl Check for Tcp {
    const KIND: &'static str = "tcp";
    const SUMMARY: &'static str = "Connects to a TCP port, and may hold a conversation there";
    const EXAMPLE: &'static str =
        r#"{"host": "mail.example.com", "port": 25, "steps": [{"expect": "^220 "}]}"#;
    type Config = TcpConfig;

    fn review(config: TcpConfig, found: &mut Findings) {
        found.of("host", Host::parse(&config.host));
        if config.steps.iter().any(|step| matches!(step, Step::StartTls)) {
            config.trust().review(found);
        }
    }

    async fn probe(&self, config: TcpConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let port = config.port;
        let connected = cx
            .net
            .connect(&config.host, port, config.ip_family, cx.deadline)
            .await;
        let Connection {
            stream,
            peer,
            resolve,
            connect,
        } = match connected {
            Ok(connection) => connection,
            Err(error) => return error.into_verdict(|error| format!("TCP connection failed: {error}")),
        };
        let mut talk = Talk::new(stream, &config.host, config.trust().anonymous(), cx);
        let mut seen = match talk.hold(&config.steps).await {
            Ok(()) => {
                let text = format!("TCP port {port} is open");
                let days = talk.tls.as_ref().and_then(|tls| tls.days_left(cx.clock.now()));
                match days.filter(|days| *days < i64::from(config.cert_expiry_warn_days)) {
                    Some(days) => Observation::degraded(
                        Reason::CertificateExpiring,
                        format!("{text}; {}", expiry(days)),
                    ),
                    None => Observation::up(text),
                }
            }
            Err(fault) => fault.verdict()?,
        };
        let phases = [
            ("resolve", resolve),
            ("connect", connect),
            ("tls", talk.handshake),
            ("receive", talk.waited),
        ];
        let spent = phases
            .into_iter()
            .filter(|(_, elapsed)| *elapsed > Duration::ZERO);
        seen.phases = spent
            .map(|(name, elapsed)| Phase {
                name: name.to_owned(),
                elapsed,
            })
            .collect();
        seen.tls = talk.tls;
        Ok(seen
            .with_latency(resolve + connect)
            .with_attribute("peer", peer.to_string()))
    }
}
