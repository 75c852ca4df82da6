//! Kind `sqlserver`: connects to Microsoft SQL Server (or Azure SQL), authenticates, and runs one statement that only
//! reads (TDS 7.2; the client is `tiberius`, over a connection and a TLS session of ours).
//!
//! SQL Server has no read-only transactions. A statement in which a word that writes stands outside of quotes is refused, and
//! what it may have done all the same is rolled back; but a sequence that gave a number has given it. Give the monitor a
//! login that may only read.

mod settings;
mod tls;
mod wire;
mod words;

use crate::{
    Check, CheckError, Findings, ProbeContext,
    native::{
        condition::Condition,
        session::{Fault, Trace},
        sql::{self, Expectation, begins_with},
        trust::Trust,
    },
    net::IpFamily,
};
use lapwing_model::Observation;
use schemars::JsonSchema;
use serde::Deserialize;
use settings::{Encrypt, Settings};
use words::word_among;

/// First words of a statement that are let through.
const ALLOWED: [&str; 7] = ["select", "show", "describe", "desc", "explain", "with", "values"];

/// Reserved words of Transact-SQL that change something.
const WRITING: [&str; 32] = [
    "alter",
    "backup",
    "begin",
    "bulk",
    "commit",
    "create",
    "dbcc",
    "delete",
    "deny",
    "disable",
    "drop",
    "enable",
    "exec",
    "execute",
    "grant",
    "insert",
    "into",
    "kill",
    "merge",
    "opendatasource",
    "openquery",
    "openrowset",
    "reconfigure",
    "restore",
    "revoke",
    "rollback",
    "save",
    "shutdown",
    "truncate",
    "update",
    "updatetext",
    "writetext",
];

/// Kind `sqlserver`.
#[derive(Debug, Clone, Copy)]
pub struct SqlServer;

/// Configuration of kind `sqlserver`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlServerConfig {
    /// `Server=host,1433;Database=master;User Id=monitor;Password=secret;Encrypt=true;TrustServerCertificate=false`, or
    /// `sqlserver://monitor:secret@host:1433/master?encrypt=true`. `Encrypt`: `true` insists on TLS and verifies the
    /// certificate unless `TrustServerCertificate=true`; `false` (the default) uses TLS where the server has it, without
    /// verification; `strict` begins with TLS (TDS 8.0); `disable` never uses it. Other settings have no effect. A
    /// server that sends its client on, as Azure's gateways do, is followed once.
    #[schemars(length(min = 1))]
    pub database_connection_string: String,
    /// One statement that begins with SELECT, SHOW, DESCRIBE, DESC, EXPLAIN, WITH or VALUES and has no word that writes.
    /// Default: `SELECT 1`. Of its result, at most 100000 rows or 64 MiB are read.
    #[serde(default)]
    pub database_query: String,
    /// What the first column of the first row must be, as text. Default: anything.
    #[serde(default)]
    pub expected_value: Option<String>,
    /// How it is compared with `expected_value`. Default: `==`.
    #[serde(default)]
    pub value_condition: Condition,
    /// Fewest rows to accept, 0 to 100000. Default: 0.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    pub min_rows: u32,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
    /// Name for SNI and for the certificate's verification. Default: the host.
    #[serde(default)]
    pub server_name: String,
    /// Root certificates to trust instead of the system's, PEM.
    #[serde(default)]
    pub tls_ca: String,
}

impl Check for SqlServer {
    const KIND: &'static str = "sqlserver";
    const ALIASES: &'static [&'static str] = &["mssql"];
    const SUMMARY: &'static str = "Logs in to a Microsoft SQL Server and runs a statement that only reads";
    const EXAMPLE: &'static str = r#"{"database_connection_string": "Server=db.example.com,1433;Database=master;User Id=monitor;Password=secret;Encrypt=true", "database_query": "SELECT 1"}"#;
    const SENSITIVE: &'static [&'static str] = &["/database_connection_string"];
    type Config = SqlServerConfig;

    fn review(config: SqlServerConfig, found: &mut Findings) {
        let settings = settings(&config);
        let settings = found.of("database_connection_string", settings);
        found.of("database_query", statement(&config));
        if settings.is_some_and(|settings| settings.encrypt != Encrypt::Disable) {
            let trust = Trust {
                ca: &config.tls_ca,
                server_name: &config.server_name,
                ..Trust::default()
            };
            trust.review(found);
        }
    }

    async fn probe(&self, config: SqlServerConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let mut settings = settings(&config)?;
        let query = statement(&config)?;
        let mut trace = Trace::start(&[&settings.password]);
        let verdict = run(&config, &mut settings, query, cx, &mut trace).await;
        trace.finish(verdict)
    }
}

fn settings(config: &SqlServerConfig) -> Result<Settings, CheckError> {
    Settings::parse(&config.database_connection_string)
        .map_err(|why| CheckError::InvalidConfig(format!("connection string validation failed: {why}")))
}

/// The statement, if it is one that reads.
fn statement(config: &SqlServerConfig) -> Result<&str, CheckError> {
    let query = sql::statement(&config.database_query);
    if !begins_with(query, &ALLOWED) {
        return Err(sql::unfit(
            "query must start with one of: SELECT, SHOW, DESCRIBE, DESC, EXPLAIN, WITH, VALUES",
        ));
    }
    if let Some(word) = word_among(query, &WRITING) {
        return Err(sql::unfit(format_args!(
            "`{word}` is not allowed for monitoring queries; put it in brackets if it is a name"
        )));
    }
    Ok(query)
}

async fn run(
    config: &SqlServerConfig,
    settings: &mut Settings,
    query: &str,
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<Observation, Fault> {
    let start = tokio::time::Instant::now();
    let rows = wire::query(config, settings, query, cx, trace).await?;
    let expected = Expectation {
        value: config.expected_value.as_deref(),
        condition: config.value_condition,
        min_rows: config.min_rows.into(),
    };
    expected.check(&rows)?;
    Ok(Observation::up(format!(
        "Query successful, ping: {}ms, columns: {}, rows: {}",
        start.elapsed().as_millis(),
        rows.columns,
        rows.told()
    )))
}
