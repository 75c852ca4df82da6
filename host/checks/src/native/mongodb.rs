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
    native::{
        judging::judged,
        session::{Fault, Trace},
    },
    net::IpFamily,
};
use lapwing_model::{Observation, Reason};
use schemars::JsonSchema;
use serde::Deserialize;
use target::Target;
use wire::Reply;

/// Kind `mongodb`.
#[derive(Debug, Clone, Copy)]
pub struct MongoDb;

/// Configuration of kind `mongodb`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MongoDbConfig {
    /// `mongodb://[user:password@]host[:27017][,host…]/database[?options]`, or `mongodb+srv://` with one name that SRV
    /// records are looked up for. Options with an effect: `authSource` (default: `admin`), `authMechanism`
    /// (`SCRAM-SHA-256`, `SCRAM-SHA-1`; default: what the server prefers), `tls` or `ssl` (`true` or `false`), `tlsInsecure`,
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
    /// What the value at `jsonPath` must be: equal as text or as a number; objects and lists of more than 1 MiB are not
    /// compared (`limit_hit`). Default: anything but null.
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
        let verdict = async {
            let reply = wire::run(&target, command, config.ip_family, cx, &mut trace).await?;
            let (size, judge) = (reply.len(), move || judge(&config, &reply));
            judged("the search in the reply", size, cx.deadline, judge).await?
        };
        let verdict = verdict.await;
        trace.finish(verdict)
    }
}

fn judge(config: &MongoDbConfig, reply: &Reply) -> Result<Observation, Fault> {
    let fail = |text: String| Err(Fault::Told(Reason::AssertionFailed, text));
    let document = reply.document().filter(|_| reply.number("ok") == Some(1.0));
    let Some(document) = document else {
        return fail("MongoDB command failed".to_owned());
    };
    if config.json_path.trim().is_empty() {
        return Ok(Observation::up("Command executed successfully"));
    }
    let found = match path::find(document, config.json_path.trim()) {
        Err(why) => return fail(format!("JSON path evaluation failed: {why}")),
        Ok(found) if found.is_null() => return fail("Queried value not found".to_owned()),
        Ok(found) => found,
    };
    if config.expected_value.is_empty() {
        return Ok(Observation::up(
            "Command executed successfully and the jsonata expression produces a result",
        ));
    }
    let Some(value) = found.json() else {
        let why = "what is at `jsonPath` is more than is compared: 1 MiB, nested 100 deep";
        return Err(CheckError::limit_hit(why.to_owned()).into());
    };
    if path::equals(&value, &config.expected_value) {
        return Ok(Observation::up(
            "Command executed successfully and expected value was found",
        ));
    }
    let value: String = path::text(&value).chars().take(1000).collect();
    fail(format!(
        "Query executed, but value is not equal to expected value, value was: [{value}]"
    ))
}
