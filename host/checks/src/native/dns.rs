//! Kind `dns`: asks name servers for records and judges what they answer.
//!
//! Only the servers named are asked: no hosts file, no search list, no cache. Several are asked at once, and the first that
//! gives an answer wins.

mod config;
mod records;

pub use config::DnsConfig;

use crate::{
    Check, CheckError, Findings, ProbeContext,
    net::{
        NetError,
        dns::{Answer, NameServer},
    },
};
use config::{Plan, RecordKind};
use futures_util::{StreamExt, stream::FuturesUnordered};
use hickory_resolver::proto::{op::ResponseCode, rr::RecordType};
use lapwing_model::{Observation, Reason};
use records::Records;
use tokio::time::Instant;

/// Kind `dns`.
#[derive(Debug, Clone, Copy)]
pub struct Dns;

impl Check for Dns {
    const KIND: &'static str = "dns";
    const SUMMARY: &'static str = "Asks DNS servers for records and judges the answer";
    const EXAMPLE: &'static str = r#"{"host": "example.com", "resolver_server": "1.1.1.1", "port": 53, "resolve_type": "MX", "records_contain": ["10 mail.example.com"]}"#;
    type Config = DnsConfig;

    fn review(config: DnsConfig, found: &mut Findings) {
        config.review(found);
    }

    async fn probe(&self, config: DnsConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let plan = Plan::new(config, cx)?;
        let start = Instant::now();
        let (server, heard) = plan.ask_all(cx).await;
        let mut seen = match heard {
            Ok(heard) => {
                let mut seen = plan.judge(&server, &heard);
                seen = seen
                    .with_attribute("dns.resolver", server)
                    .with_attribute("peer", heard.answer.from.to_string())
                    .with_attribute("dns.transport", heard.answer.transport)
                    .with_attribute("dns.rcode", config::code_name(heard.rcode()))
                    .with_attribute("dns.authoritative", heard.answer.message.metadata.authoritative)
                    .with_attribute("dns.records", heard.records.values());
                seen.tls = heard.answer.tls;
                seen
            }
            Err(error) => {
                let host = &plan.host;
                error
                    .into_verdict(|error| format!("DNS lookup failed: lookup {host} on {server}: {error}"))?
            }
        };
        seen.latency = Some(start.elapsed());
        Ok(seen)
    }
}

/// What one server said, and the records in it that were asked for.
struct Heard {
    answer: Answer,
    records: Records,
}

impl Heard {
    fn rcode(&self) -> ResponseCode {
        self.answer.message.metadata.response_code
    }
}

impl Plan {
    /// Asks every server at once. The first that says something of the name wins; else the first that said anything,
    /// else the first failure.
    async fn ask_all(&self, cx: &ProbeContext) -> (String, Result<Heard, NetError>) {
        let mut asked: FuturesUnordered<_> = self
            .servers
            .iter()
            .map(async |server| (shown(server), self.ask(server, cx).await))
            .collect();
        let mut best: Option<(String, Result<Heard, NetError>)> = None;
        while let Some((server, heard)) = asked.next().await {
            let rank = self.rank(&heard);
            if rank == CONCLUSIVE {
                return (server, heard);
            }
            if best.as_ref().is_none_or(|(_, best)| rank > self.rank(best)) {
                best = Some((server, heard));
            }
        }
        best.unwrap_or_else(|| {
            let none = NetError::Local("no name server to ask".to_owned());
            (String::new(), Err(none))
        })
    }

    /// How much an outcome says. A failure of our own says that we do not know what the server would have said.
    fn rank(&self, heard: &Result<Heard, NetError>) -> u8 {
        match heard {
            Ok(heard) if heard.rcode() == self.expected || is_conclusive(heard.rcode()) => CONCLUSIVE,
            Ok(_) => 2,
            Err(error) if !error.blames_target() => 1,
            Err(_) => 0,
        }
    }

    async fn ask(&self, server: &NameServer, cx: &ProbeContext) -> Result<Heard, NetError> {
        let first = match self.kind {
            RecordKind::Cname => RecordType::A,
            kind => kind.rtype(),
        };
        let mut answer = cx.net.ask(server, &self.name, first, cx.deadline).await?;
        let mut records = Records::of(self.kind, &self.name, &answer.message);
        // As in Go, whose look-up Peekaping uses: a canonical name is where the name's addresses are, of either family.
        let resolves = answer.message.metadata.response_code == ResponseCode::NoError;
        if self.kind == RecordKind::Cname && resolves && records.is_empty() {
            answer = cx
                .net
                .ask(server, &self.name, RecordType::AAAA, cx.deadline)
                .await?;
            records = Records::of(self.kind, &self.name, &answer.message);
        }
        Ok(Heard { answer, records })
    }

    fn judge(&self, server: &str, heard: &Heard) -> Observation {
        let (kind, host, rcode) = (self.kind, &self.host, heard.rcode());
        if rcode != self.expected {
            return self.unexpected_code(server, rcode);
        }
        if rcode != ResponseCode::NoError {
            return Observation::up(format!("{host}: {} as expected", config::code_name(rcode)));
        }
        if let Some(fault) = self.conditions.fault(&heard.records) {
            return Observation::down(
                Reason::AssertionFailed,
                format!("{kind} records of {host}: {fault}"),
            );
        }
        if heard.records.is_empty() {
            let text = format!("No {kind} records found for {host}");
            return if self.conditions.allow_empty {
                Observation::up(text)
            } else {
                Observation::down(Reason::DnsNotFound, text)
            };
        }
        Observation::up(heard.records.message(kind))
    }

    fn unexpected_code(&self, server: &str, rcode: ResponseCode) -> Observation {
        let (host, name) = (&self.host, config::code_name(rcode));
        let failed = |why: &str| format!("DNS lookup failed: lookup {host} on {server}: {why}");
        match (self.expected, rcode) {
            (ResponseCode::NoError, ResponseCode::NXDomain) => {
                Observation::down(Reason::DnsNotFound, failed("no such host"))
            }
            (ResponseCode::NoError, _) => {
                Observation::down(Reason::DnsFailed, failed(&format!("the server answered {name}")))
            }
            (expected, _) => Observation::down(
                Reason::AssertionFailed,
                failed(&format!("expected {}, got {name}", config::code_name(expected))),
            ),
        }
    }
}

/// The highest rank: nobody else can say more.
const CONCLUSIVE: u8 = 3;

/// Whether a code says something of the name, and not of the server.
fn is_conclusive(rcode: ResponseCode) -> bool {
    matches!(rcode, ResponseCode::NoError | ResponseCode::NXDomain)
}

fn shown(server: &NameServer) -> String {
    if server.host.contains(':') && !server.host.starts_with('[') {
        return format!("[{}]:{}", server.host, server.port);
    }
    format!("{}:{}", server.host, server.port)
}
