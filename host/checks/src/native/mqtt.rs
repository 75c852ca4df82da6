//! Kind `mqtt`: subscribes to a topic and waits for a message that fits (MQTT 3.1.1, QoS 0).

mod jsonata;
mod wire;

use crate::{
    Check, CheckError, Findings, ProbeContext,
    findings::invalid,
    native::{
        session::{Fault, Trace},
        trust::{Trust, trust},
    },
    net::{Host, IpFamily, tls::TlsOptions},
    schema,
};
use bytes::Bytes;
use lapwing_model::{Observation, Reason};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// Kind `mqtt`.
#[derive(Debug, Clone, Copy)]
pub struct Mqtt;

/// Configuration of kind `mqtt`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// Name or address of the broker; `mqtts://` before it speaks TLS, `mqtt://` or nothing plain text.
    #[schemars(length(min = 1))]
    pub hostname: String,
    /// Port, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Topic to subscribe to. Wildcards (`+`, `#`) take the first message of any topic they match.
    #[schemars(length(min = 1, max = 65535))]
    pub topic: String,
    /// User. Default: none.
    #[serde(default)]
    pub username: String,
    /// Password. Default: none.
    #[serde(default)]
    pub password: String,
    /// What is looked at in the message. Default: `none`, that there is one.
    #[serde(default)]
    pub check_type: CheckType,
    /// `keyword`: text that the message must contain, letter case included.
    #[serde(default)]
    pub success_keyword: String,
    /// `json-query`: a JSONata expression over the message, which is JSON; at most 1024 bytes.
    #[serde(default)]
    pub json_path: String,
    /// `json-query`: what the expression's result must be, as text.
    #[serde(default)]
    pub expected_value: String,
    /// Client identifier. Default: `lapwing_` and 8 random hexadecimal digits.
    #[serde(default)]
    pub client_id: String,
    /// `mqtts`: accept any certificate; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls_errors: bool,
    /// `mqtts`: name for SNI and for the certificate's verification. Default: the host.
    #[serde(default)]
    pub server_name: String,
    /// `mqtts`: root certificates to trust instead of the system's, PEM.
    #[serde(default)]
    pub tls_ca: String,
    /// `mqtts`: client certificate chain, PEM; with `tls_key`.
    #[serde(default)]
    pub tls_cert: String,
    /// `mqtts`: key of `tls_cert`, PEM.
    #[serde(default)]
    pub tls_key: String,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum CheckType {
    /// Not set: `none`.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// That there is a message, and that it is not empty.
    #[serde(rename = "none")]
    Any,
    /// A text in it.
    #[serde(rename = "keyword")]
    Keyword,
    /// A value in it.
    #[serde(rename = "json-query")]
    JsonQuery,
}

impl Check for Mqtt {
    const KIND: &'static str = "mqtt";
    const SUMMARY: &'static str = "Subscribes to a topic of an MQTT broker and waits for a message";
    const EXAMPLE: &'static str = r#"{"hostname": "mqtts://broker.example.com", "port": 8883, "topic": "site/heartbeat", "username": "monitor", "password": "secret", "check_type": "json-query", "json_path": "status", "expected_value": "ok"}"#;
    const SENSITIVE: &'static [&'static str] = &["/password", "/tls_key"];
    type Config = MqttConfig;

    fn review(config: MqttConfig, found: &mut Findings) {
        found.take(config.admit_topic());
        found.of("hostname", Host::parse(&config.host()));
        found.take(config.admit_check());
        if config.speaks_tls() {
            config.trust().review(found);
        }
    }

    async fn probe(&self, config: MqttConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        config.admit()?;
        let tls = config.tls()?;
        let mut trace = Trace::start(&[&config.password]);
        let heard = wire::first_message(&config, tls.as_ref(), cx, &mut trace).await;
        let verdict = match heard {
            Ok(message) => judge(&config, &message, &trace, cx).await,
            Err(fault) => Err(fault),
        };
        trace.finish(verdict)
    }
}

impl MqttConfig {
    /// What Peekaping only finds when a message has come.
    fn admit(&self) -> Result<(), schema::Fault> {
        match () {
            () if blank(&self.host()) => Err(invalid("hostname", "expected a name or an address")),
            () => self.admit_topic().and_then(|()| self.admit_check()),
        }
    }

    /// MQTT 3.1.1 §4.7: wildcards stand alone between slashes, `#` at the end.
    fn admit_topic(&self) -> Result<(), schema::Fault> {
        if blank(&self.topic) {
            return Err(invalid("topic", "expected a topic"));
        }
        let mut levels = self.topic.split('/').rev();
        let last = levels.next().unwrap_or_default();
        let alone = |level: &str| level == "+" || !level.contains(['+', '#']);
        if self.topic.contains('\0') || !(last == "#" || alone(last)) || !levels.all(alone) {
            let why = "expected a topic filter: `+` fills a whole level between slashes, `#` the last one";
            return Err(invalid("topic", why));
        }
        Ok(())
    }

    fn admit_check(&self) -> Result<(), schema::Fault> {
        match self.check_type {
            CheckType::Keyword if blank(&self.success_keyword) => {
                Err(invalid("success_keyword", "Success keyword is empty or invalid"))
            }
            CheckType::JsonQuery if blank(&self.json_path) => {
                Err(invalid("json_path", "JSON path is empty or invalid"))
            }
            CheckType::JsonQuery if blank(&self.expected_value) => {
                Err(invalid("expected_value", "Expected value is empty or invalid"))
            }
            CheckType::JsonQuery => jsonata::review(&self.json_path)
                .map_err(|why| invalid("json_path", format_args!("Invalid JSONata expression: {why}"))),
            _ => Ok(()),
        }
    }

    fn speaks_tls(&self) -> bool {
        self.hostname.trim().starts_with("mqtts://")
    }

    fn trust(&self) -> Trust<'_> {
        trust!(self, self.ignore_tls_errors)
    }

    fn tls(&self) -> Result<Option<TlsOptions>, schema::Fault> {
        let trust = self.speaks_tls().then(|| self.trust().options());
        trust.transpose()
    }

    fn host(&self) -> String {
        let host = self.hostname.trim();
        let host = host
            .strip_prefix("mqtt://")
            .or_else(|| host.strip_prefix("mqtts://"))
            .unwrap_or(host);
        host.trim_end_matches('/').to_owned()
    }
}

fn blank(text: &str) -> bool {
    text.trim().is_empty()
}

async fn judge(
    config: &MqttConfig,
    message: &Bytes,
    trace: &Trace,
    cx: &ProbeContext,
) -> Result<Observation, Fault> {
    let topic = &config.topic;
    let payload = String::from_utf8_lossy(message);
    let fail = |text: String| Err(Fault::Told(Reason::AssertionFailed, text));
    match config.check_type {
        CheckType::Unset | CheckType::Any if message.is_empty() => {
            fail(format!("Topic: {topic}; No message received"))
        }
        CheckType::Unset | CheckType::Any => Ok(Observation::up(format!("Topic: {topic}; Message received"))),
        CheckType::Keyword if payload.contains(&config.success_keyword) => Ok(Observation::up(format!(
            "Topic: {topic}; Message: {}",
            shown(&trace.redact(&payload))
        ))),
        CheckType::Keyword => fail(format!(
            "Message Mismatch - Topic: {topic}; Message: {}",
            shown(&payload)
        )),
        CheckType::JsonQuery => {
            let left = cx.remaining().min(LONGEST_QUERY);
            match jsonata::evaluate(&config.json_path, payload.into_owned(), left).await? {
                Err(text) => fail(text),
                Ok(value) if value == config.expected_value => {
                    Ok(Observation::up("Message received, expected value is found"))
                }
                Ok(value) => fail(format!(
                    "Message received but value is not equal to expected value, value was: [{}]",
                    shown(&value)
                )),
            }
        }
    }
}

/// Longest time an expression may take: no message is worth more of a processor.
const LONGEST_QUERY: Duration = Duration::from_secs(2);

/// As much of a text as a message has room for.
fn shown(text: &str) -> String {
    text.chars().take(1000).collect()
}
