//! Kind `snmp`: asks an agent for one object (GET) and judges its value; versions 1, 2c and 3 with users.

mod agent;
mod compare;
mod config;
mod message;
mod usm;

pub use config::SnmpConfig;

use crate::{Check, CheckError, Findings, ProbeContext};
use agent::{Agent, Fault};
use config::Plan;
use lapwing_model::{Observation, Reason};
use message::{Pdu, Value};
use tokio::time::Instant;

/// `error-status` of RFC 3416 §3, by number.
const ERRORS: [&str; 19] = [
    "noError",
    "tooBig",
    "noSuchName",
    "badValue",
    "readOnly",
    "genErr",
    "noAccess",
    "wrongType",
    "wrongLength",
    "wrongEncoding",
    "wrongValue",
    "noCreation",
    "inconsistentValue",
    "resourceUnavailable",
    "commitFailed",
    "undoFailed",
    "authorizationError",
    "notWritable",
    "inconsistentName",
];
/// Version 1's way to say that there is no such object.
const NO_SUCH_NAME: i64 = 2;

/// Kind `snmp`.
#[derive(Debug, Clone, Copy)]
pub struct Snmp;

impl Check for Snmp {
    const KIND: &'static str = "snmp";
    const SUMMARY: &'static str = "Asks an SNMP agent for an object and compares its value";
    const EXAMPLE: &'static str = r#"{"host": "switch.example.com", "port": 161, "community": "public", "snmp_version": "v2c", "oid": "1.3.6.1.2.1.1.3.0", "json_path": "$", "json_path_operator": "gt", "expected_value": "6000"}"#;
    const SENSITIVE: &'static [&'static str] = &["/community", "/auth_password", "/priv_password"];
    type Config = SnmpConfig;

    fn review(config: SnmpConfig, found: &mut Findings) {
        config.review(found);
    }

    async fn probe(&self, config: SnmpConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let plan = Plan::new(config)?;
        let start = Instant::now();
        let opened = cx
            .net
            .datagrams(&plan.host, plan.port, plan.family, cx.deadline)
            .await;
        let socket = match opened {
            Ok(socket) => socket,
            Err(error) => return error.into_verdict(|error| format!("SNMP connection failed: {error}")),
        };
        let peer = socket.peer;
        let asked = Agent::new(socket, cx).get(&plan).await;
        let seen = match asked {
            Ok(answer) => plan.judge(&answer),
            Err(Fault::Net(error)) => error.into_verdict(|error| format!("SNMP GET failed: {error}"))?,
            Err(Fault::Refused(why)) => {
                Observation::down(Reason::AuthFailed, format!("SNMP GET failed: {why}"))
            }
        };
        Ok(seen
            .with_latency(start.elapsed())
            .with_attribute("peer", peer.to_string()))
    }
}

impl Plan {
    fn judge(&self, answer: &Pdu) -> Observation {
        let oid = &self.shown;
        let down = |text: String| Observation::down(Reason::AssertionFailed, text);
        let no = |what: &str| {
            down(format!(
                "The SNMP query returned that no {what} exists for OID {oid}"
            ))
        };
        match answer.error_status {
            0 => {}
            NO_SUCH_NAME => return no("object"),
            status => {
                let name = usize::try_from(status).ok().and_then(|status| ERRORS.get(status));
                let name = name.map_or_else(|| format!("error {status}"), |&name| name.to_owned());
                return down(format!("SNMP GET failed: the agent answered {name}"));
            }
        }
        // What was not asked for is no answer.
        let value = answer.varbinds.iter().find(|(name, _)| *name == self.oid);
        match value.map(|(_, value)| value) {
            None => {
                let text = format!("No varbinds returned from SNMP session (OID: {oid})");
                Observation::down(Reason::ProtocolError, text)
            }
            Some(Value::NoSuchObject) => no("object"),
            // There is nothing at this name, as it is the last one.
            Some(Value::NoSuchInstance | Value::EndOfMib) => no("instance"),
            Some(value) => self.compare(&value.to_string()),
        }
    }

    fn compare(&self, value: &str) -> Observation {
        let Some((operator, expected)) = &self.condition else {
            return Observation::up(format!("SNMP query successful, received value: {value}"));
        };
        let shown = format!("(comparing {value} {operator} {expected})");
        if operator.holds(value, expected) {
            return Observation::up(format!("SNMP condition passes {shown}"));
        }
        let text = format!("SNMP condition does not pass {shown}");
        Observation::down(Reason::AssertionFailed, text)
    }
}
