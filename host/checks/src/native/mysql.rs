//! Kind `mysql`: connects to MySQL or MariaDB, authenticates, and runs one read-only statement (client/server protocol
//! 4.1, text results).
//!
//! Several statements at once are never asked for (`CLIENT_MULTI_STATEMENTS`), and the one there is runs in a read-only
//! transaction.

mod auth;
mod wire;

use crate::{
    Check, CheckError, Findings, ProbeContext,
    native::{
        condition::Condition,
        connection::ConnectionUrl,
        session::{Fault, Trace},
        sql::{self, Expectation, TlsMode, begins_with},
        trust::{Trust, trust},
    },
    net::{IpFamily, tls::TlsOptions},
};
use lapwing_model::Observation;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::MySql as Server;

/// First words of a statement that are let through.
const ALLOWED: [&str; 5] = ["select", "show", "describe", "explain", "desc"];

/// Parameters that Peekaping's client (go-sql-driver) knows: `tls` has an effect here, the others are left alone.
const PARAMS: [&str; 21] = [
    "tls",
    "allowAllFiles",
    "allowCleartextPasswords",
    "allowFallbackToPlaintext",
    "allowNativePasswords",
    "allowOldPasswords",
    "charset",
    "checkConnLiveness",
    "clientFoundRows",
    "collation",
    "columnsWithAlias",
    "compress",
    "connectionAttributes",
    "interpolateParams",
    "loc",
    "maxAllowedPacket",
    "multiStatements",
    "parseTime",
    "readTimeout",
    "timeout",
    "writeTimeout",
];

/// Kind `mysql`.
#[derive(Debug, Clone, Copy)]
pub struct MySql;

/// Configuration of kind `mysql`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MySqlConfig {
    /// `mysql://user:password@host:3306/database?tls=true`. `tls`: `false` (the default) speaks plain text, `preferred`
    /// uses TLS where the server offers it, `skip-verify` insists on TLS and accepts any certificate, `true` verifies
    /// it. Other parameters have no effect; what looks like a slip in one is refused where the monitor is set up.
    #[schemars(length(min = 1))]
    pub connection_string: String,
    /// One statement that begins with SELECT, SHOW, DESCRIBE, EXPLAIN or DESC; run in a read-only transaction. Default:
    /// `SELECT 1`. Of its result, at most 100000 rows or 64 MiB are read.
    #[serde(default)]
    pub query: String,
    /// What the first column of the first row must be, as text; more than 16 MiB are not compared (`limit_hit`). Default:
    /// anything.
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
    /// Client certificate chain, PEM; with `tls_key`.
    #[serde(default)]
    pub tls_cert: String,
    /// Key of `tls_cert`, PEM.
    #[serde(default)]
    pub tls_key: String,
}

impl Check for MySql {
    const KIND: &'static str = "mysql";
    const ALIASES: &'static [&'static str] = &["mariadb"];
    const SUMMARY: &'static str = "Logs in to a MySQL or MariaDB server and runs a read-only statement";
    const EXAMPLE: &'static str = r#"{"connection_string": "mysql://monitor:secret@db.example.com:3306/app?tls=true", "query": "SELECT 1"}"#;
    const SENSITIVE: &'static [&'static str] = &["/connection_string", "/tls_key"];
    type Config = MySqlConfig;

    fn review(config: MySqlConfig, found: &mut Findings) {
        let field = "connection_string";
        let url = found.of(field, target(&config.connection_string));
        if let Some(url) = &url {
            found.of(field, url.know_params(&PARAMS));
        }
        found.of("query", statement(&config));
        if let Some((mode, verify)) = url.and_then(|url| found.of(field, tls_mode(&url)))
            && mode != TlsMode::Never
        {
            trust(&config, verify).review(found);
        }
    }

    async fn probe(&self, config: MySqlConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let url = target(&config.connection_string)?;
        let query = statement(&config)?;
        let tls = tls(&config, &url)?;
        let password = url.password.clone().unwrap_or_default();
        let mut trace = Trace::start(&[&password]);
        let verdict = run(&config, &url, query, tls, cx, &mut trace).await;
        trace.finish(verdict)
    }
}

async fn run(
    config: &MySqlConfig,
    url: &ConnectionUrl,
    query: &str,
    (mode, tls): (TlsMode, TlsOptions),
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<Observation, Fault> {
    let start = tokio::time::Instant::now();
    let mut server = Server::connect(cx, trace, url, config.ip_family, mode, &tls).await?;
    server.start_reading().await?;
    let rows = server.query(query).await?;
    let expected = Expectation {
        value: config.expected_value.as_deref(),
        condition: config.value_condition,
        min_rows: config.min_rows.into(),
    };
    expected.check(&rows)?;
    server.leave().await;
    Ok(Observation::up(format!(
        "Query successful, ping: {}ms, Rows: {}",
        start.elapsed().as_millis(),
        rows.told()
    )))
}

fn target(text: &str) -> Result<ConnectionUrl, CheckError> {
    // This fault Peekaping tells without an introduction.
    sql::target(text, &["mysql"], "invalid port: 0")
}

/// The statement, if it is one that reads.
fn statement(config: &MySqlConfig) -> Result<&str, CheckError> {
    let query = sql::statement(&config.query);
    if !begins_with(query, &ALLOWED) {
        return Err(sql::unfit(
            "only SELECT, SHOW, DESCRIBE, and EXPLAIN statements are allowed for monitoring queries",
        ));
    }
    // A read-only transaction does not mind files. MySQL quotes and comments in ways of its own (`\'`, `--1`, `#`), so the
    // word is refused wherever it stands.
    let mut words = query.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    if words.any(|word| word.eq_ignore_ascii_case("into")) {
        return Err(sql::unfit(
            "SELECT ... INTO writes: the word INTO is not allowed in monitoring queries, not even in quotes",
        ));
    }
    Ok(query)
}

/// Whether to speak TLS, and whether to verify the certificate.
fn tls_mode(url: &ConnectionUrl) -> Result<(TlsMode, bool), CheckError> {
    Ok(
        match url.param("tls").unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "false" | "0" => (TlsMode::Never, false),
            "preferred" => (TlsMode::WhereOffered, false),
            "skip-verify" => (TlsMode::Always, false),
            "true" | "1" => (TlsMode::Always, true),
            _ => {
                return Err(CheckError::InvalidConfig(
                "connection string validation failed: `tls` is not one of false, preferred, skip-verify, true".to_owned(),
            ));
            }
        },
    )
}

fn trust(config: &MySqlConfig, verify: bool) -> Trust<'_> {
    trust!(config, !verify)
}

fn tls(config: &MySqlConfig, url: &ConnectionUrl) -> Result<(TlsMode, TlsOptions), CheckError> {
    let (mode, verify) = tls_mode(url)?;
    Ok((mode, trust(config, verify).options()?))
}
