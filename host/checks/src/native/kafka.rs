//! Kind `kafka-producer`: finds the leader of one of a topic's partitions and has it store a message, acknowledged by
//! all in-sync replicas (Kafka 0.11 and later).

mod codec;
mod record;
mod sasl;
mod wire;

use crate::{
    Check, CheckError, Findings, ProbeContext,
    findings::invalid,
    native::{
        connection::host_and_port,
        session::{Fault, Trace},
        trust::{Trust, trust},
    },
    net::{IpFamily, NetError, tls::TlsOptions},
    schema,
};
use lapwing_model::{Observation, Reason};
use sasl::Mechanism;
use schemars::JsonSchema;
use serde::Deserialize;

/// Kind `kafka-producer`.
#[derive(Debug, Clone, Copy)]
pub struct KafkaProducer;

/// Configuration of kind `kafka-producer`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaProducerConfig {
    /// Brokers to begin with, each `host:port`; the first that answers tells of the others.
    #[schemars(length(min = 1))]
    pub brokers: Vec<String>,
    /// Topic to write to; one of its partitions, by chance.
    #[schemars(length(min = 1))]
    pub topic: String,
    /// The message, without a key; at most 1 MiB.
    #[schemars(length(min = 1))]
    pub message: String,
    /// Whether the broker may create the topic, where its own settings allow that.
    #[serde(default)]
    pub allow_auto_topic_creation: bool,
    /// Speak TLS.
    #[serde(default)]
    pub ssl: bool,
    /// How to log in. Default: not at all.
    #[serde(default)]
    pub sasl_options: SaslOptions,
    /// `ssl`: accept any certificate; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls_errors: bool,
    /// `ssl`: name for SNI and for the certificate's verification. Default: each broker's host.
    #[serde(default)]
    pub server_name: String,
    /// `ssl`: root certificates to trust instead of the system's, PEM.
    #[serde(default)]
    pub tls_ca: String,
    /// `ssl`: client certificate chain, PEM; with `tls_key`.
    #[serde(default)]
    pub tls_cert: String,
    /// `ssl`: key of `tls_cert`, PEM.
    #[serde(default)]
    pub tls_key: String,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
}

/// How to log in.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SaslOptions {
    /// `None` (the default), `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// User; needed unless the mechanism is `None`.
    pub username: String,
    /// Password; needed unless the mechanism is `None`.
    pub password: String,
}

impl Check for KafkaProducer {
    const KIND: &'static str = "kafka-producer";
    const ALIASES: &'static [&'static str] = &["kafka"];
    const SUMMARY: &'static str = "Writes a message to a topic of a Kafka cluster";
    const EXAMPLE: &'static str = r#"{"topic": "uptime-probe", "brokers": ["kafka1.example.com:9092", "kafka2.example.com:9092"], "message": "{\"status\": \"up\"}", "ssl": true, "sasl_options": {"mechanism": "SCRAM-SHA-512", "username": "monitor", "password": "secret"}}"#;
    const SENSITIVE: &'static [&'static str] = &["/sasl_options/password", "/tls_key"];
    type Config = KafkaProducerConfig;

    fn review(config: KafkaProducerConfig, found: &mut Findings) {
        found.take(config.places());
        found.take(config.admit_topic());
        found.take(config.admit_message());
        found.take(Mechanism::parse(&config.sasl_options));
        if config.ssl {
            config.trust().review(found);
        }
    }

    async fn probe(&self, config: KafkaProducerConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let plan = Plan::new(&config)?;
        let mut trace = Trace::start(&[&config.sasl_options.password]);
        let sent = wire::send(&config, &plan, cx, &mut trace).await;
        let verdict = sent.map_err(|fault| told(fault, cx)).map(|(partition, offset)| {
            Observation::up(format!(
                "Message sent successfully to topic '{}' (partition: {partition}, offset: {offset})",
                config.topic
            ))
        });
        trace.finish(verdict)
    }
}

/// What a configuration comes to.
struct Plan {
    brokers: Vec<(String, u16)>,
    tls: Option<TlsOptions>,
    mechanism: Option<Mechanism>,
}

impl Plan {
    fn new(config: &KafkaProducerConfig) -> Result<Self, schema::Fault> {
        let brokers = config.places()?;
        config.admit_topic()?;
        config.admit_message()?;
        let mechanism = Mechanism::parse(&config.sasl_options)?;
        let tls = config.trust().options()?;
        Ok(Self {
            brokers,
            tls: Some(tls).filter(|_| config.ssl),
            mechanism,
        })
    }
}

impl KafkaProducerConfig {
    fn places(&self) -> Result<Vec<(String, u16)>, schema::Fault> {
        let broker = |text: &String| match host_and_port(text.trim()) {
            Ok((host, Some(port))) if !host.is_empty() => Ok((host, port)),
            _ => Err(invalid("brokers", "expected `host:port`")),
        };
        let brokers: Vec<_> = self.brokers.iter().map(broker).collect::<Result<_, _>>()?;
        if brokers.is_empty() {
            return Err(invalid("brokers", "expected at least one `host:port`"));
        }
        Ok(brokers)
    }

    /// As Kafka's own `Topic.validate` has it.
    fn admit_topic(&self) -> Result<(), schema::Fault> {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        let odd = self.topic.is_empty() || matches!(self.topic.as_str(), "." | "..");
        if odd || self.topic.len() > 249 || !self.topic.chars().all(fits) {
            return Err(invalid(
                "topic",
                "expected 1 to 249 letters (a to z, A to Z), digits, `.`, `_` and `-`",
            ));
        }
        Ok(())
    }

    fn admit_message(&self) -> Result<(), schema::Fault> {
        if self.message.trim().is_empty() {
            return Err(invalid("message", "expected a text that is not blank"));
        }
        if self.message.len() > 1 << 20 {
            return Err(invalid("message", "expected at most 1 MiB"));
        }
        Ok(())
    }

    fn trust(&self) -> Trust<'_> {
        trust!(self, self.ignore_tls_errors)
    }
}

/// Silence after the message was sent has words of its own.
fn told(fault: Fault, cx: &ProbeContext) -> Fault {
    match fault {
        Fault::Net {
            stage: wire::SEND,
            error: NetError::ResponseTimeout(_),
        } => Fault::Told(
            Reason::ResponseTimeout,
            format!(
                "Message send timeout after {}s",
                cx.task.monitor.timeout.as_secs()
            ),
        ),
        fault => fault,
    }
}
