//! Kind `mongodb`: finds a server of the deployment that will do, authenticates, runs one command and looks at its reply
//! (OP_MSG, MongoDB 3.6.21 and later; SCRAM-SHA-1 and SCRAM-SHA-256).
//!
//! Not with MongoDB's own driver: that one dials by itself, in the background, and goes on after its answer.

mod command;
mod path;
mod target;
mod wire;

use crate::{
    Check, CheckError, Findings, ProbeContext,
    native::session::{Fault, Trace},
    net::IpFamily,
};
use lapwing_model::{Observation, Reason};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use target::Target;

/// Kind `mongodb`.
#[derive(Debug, Clone, Copy)]
pub struct MongoDb;

/// Configuration of kind `mongodb`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MongoDbConfig {
    /// `mongodb://[user:password@]host[:27017][,host…]/database[?options]`, or `mongodb+srv://` with one name that SRV
    /// records are looked up for. Options with an effect: `authSource` (default: `admin`), `authMechanism`
    /// (`SCRAM-SHA-256`, `SCRAM-SHA-1`; default: what the server prefers), `tls` or `ssl`, `tlsInsecure`,
    /// `tlsAllowInvalidCertificates`, `replicaSet`, `readPreference`, `directConnection`.
    #[schemars(length(min = 1))]
    pub connection_string: String,
    /// The command, a JSON object whose first key is its name; run on the connection string's database. Extended JSON is
    /// understood. Default: `{"ping": 1}`.
    #[serde(default)]
    pub command: String,
    /// Path to a value of the reply: keys with dots between them, `\.` for a dot in a key; a leading `$` is the reply.
    /// Default: nothing is looked at.
    #[serde(default)]
    pub json_path: String,
    /// What the value at `jsonPath` must be: equal as text or as a number. Default: anything but null.
    #[serde(default)]
    pub expected_value: String,
    /// Allow commands that are not known to only read.
    #[serde(default)]
    pub allow_writes: bool,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
    /// Name for SNI and for the certificate's verification. Default: the host.
    #[serde(default)]
    pub server_name: String,
    /// Root certificates to trust instead of the system's, PEM.
    #[serde(default)]
    pub tls_ca: String,
    /// Client certificate chain, PEM; with `tlsKey`.
    #[serde(default)]
    pub tls_cert: String,
    /// Key of `tlsCert`, PEM.
    #[serde(default)]
    pub tls_key: String,
}

impl Check for MongoDb {
    const KIND: &'static str = "mongodb";
    const SUMMARY: &'static str = "Logs in to a MongoDB server, runs a command and looks at its reply";
    const EXAMPLE: &'static str = r#"{"connectionString": "mongodb://monitor:secret@db.example.com:27017/admin", "command": "{\"ping\": 1}", "jsonPath": "$.ok", "expectedValue": "1"}"#;
    const SENSITIVE: &'static [&'static str] = &["/connectionString", "/tlsKey"];
    type Config = MongoDbConfig;

    fn review(config: MongoDbConfig, found: &mut Findings) {
        Target::review(&config, found);
        found.of("command", command::parse(&config.command, config.allow_writes));
    }

    async fn probe(&self, config: MongoDbConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let target = Target::parse(&config).map_err(CheckError::InvalidConfig)?;
        let command =
            command::parse(&config.command, config.allow_writes).map_err(CheckError::InvalidConfig)?;
        let mut trace = Trace::start(&[target.url.password.as_deref().unwrap_or_default()]);
        let replied = wire::run(&target, command, config.ip_family, cx, &mut trace).await;
        let verdict = replied.and_then(|reply| judge(&config, &reply));
        trace.finish(verdict)
    }
}

fn judge(config: &MongoDbConfig, reply: &Value) -> Result<Observation, Fault> {
    let fail = |text: String| Err(Fault::Told(Reason::AssertionFailed, text));
    if reply.get("ok").and_then(Value::as_f64) != Some(1.0) {
        return fail("MongoDB command failed".to_owned());
    }
    if config.json_path.trim().is_empty() {
        return Ok(Observation::up("Command executed successfully"));
    }
    match path::find(reply, config.json_path.trim()) {
        Err(why) => fail(format!("JSON path evaluation failed: {why}")),
        Ok(Value::Null) => fail("Queried value not found".to_owned()),
        Ok(_) if config.expected_value.is_empty() => Ok(Observation::up(
            "Command executed successfully and the jsonata expression produces a result",
        )),
        Ok(value) if path::equals(value, &config.expected_value) => Ok(Observation::up(
            "Command executed successfully and expected value was found",
        )),
        Ok(value) => {
            let value: String = path::text(value).chars().take(1000).collect();
            fail(format!(
                "Query executed, but value is not equal to expected value, value was: [{value}]"
            ))
        }
    }
}
