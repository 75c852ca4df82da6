//! Kind `postgres`: connects, authenticates, and runs one read-only statement (frontend/backend protocol 3.0).
//!
//! The statement goes through the extended protocol, which takes one statement and no more, in a read-only transaction:
//! `WITH x AS (DELETE …)` is refused by the server itself.

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
use wire::Postgres as Server;

/// First words of a statement that are let through.
const ALLOWED: [&str; 7] = ["select", "show", "describe", "explain", "desc", "with", "values"];

/// Parameters that libpq or a server knows: `sslmode` has an effect here, the others are left alone.
const PARAMS: [&str; 22] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslnegotiation",
    "sslsni",
    "channel_binding",
    "gssencmode",
    "application_name",
    "fallback_application_name",
    "connect_timeout",
    "client_encoding",
    "target_session_attrs",
    "load_balance_hosts",
    "options",
    "search_path",
    "statement_timeout",
    "keepalives",
    "tcp_user_timeout",
    "timezone",
    "schema",
];

/// Kind `postgres`.
#[derive(Debug, Clone, Copy)]
pub struct Postgres;

/// Configuration of kind `postgres`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:5432/database?sslmode=verify-full`; `postgresql://` means the same. `sslmode`:
    /// `disable` (the default) speaks plain text; `allow` and `prefer` use TLS where the server offers it; `require`
    /// insists on TLS and accepts any certificate; `verify-ca` and `verify-full` verify it, its name included. Other
    /// parameters have no effect; what looks like a slip in one is refused where the monitor is set up.
    #[schemars(length(min = 1))]
    pub database_connection_string: String,
    /// One statement that begins with SELECT, SHOW, DESCRIBE, EXPLAIN, DESC, WITH or VALUES; run in a read-only
    /// transaction. Default: `SELECT 1`.
    #[serde(default)]
    pub database_query: String,
    /// What the first column of the first row must be, as text; more than 16 MiB are not compared (`limit_hit`). Default:
    /// anything.
    #[serde(default)]
    pub expected_value: Option<String>,
    /// How it is compared with `expected_value`. Default: `==`.
    #[serde(default)]
    pub value_condition: Condition,
    /// Fewest rows to accept, 0 to 100000. Default: 0. Of a result, no more rows than this are fetched, and at least one.
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

impl Check for Postgres {
    const KIND: &'static str = "postgres";
    const ALIASES: &'static [&'static str] = &["postgresql"];
    const SUMMARY: &'static str = "Logs in to a PostgreSQL server and runs a read-only statement";
    const EXAMPLE: &'static str = r#"{"database_connection_string": "postgres://monitor:secret@db.example.com:5432/app?sslmode=verify-full", "database_query": "SELECT 1"}"#;
    const SENSITIVE: &'static [&'static str] = &["/database_connection_string", "/tls_key"];
    type Config = PostgresConfig;

    fn review(config: PostgresConfig, found: &mut Findings) {
        let field = "database_connection_string";
        let url = found.of(field, target(&config.database_connection_string));
        if let Some(url) = &url {
            found.of(field, url.know_params(&PARAMS));
        }
        found.of("database_query", statement(&config));
        if let Some((mode, verify)) = url.and_then(|url| found.of(field, tls_mode(&url)))
            && mode != TlsMode::Never
        {
            trust(&config, verify).review(found);
        }
    }

    async fn probe(&self, config: PostgresConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let url = target(&config.database_connection_string)?;
        let query = statement(&config)?;
        let tls = tls(&config, &url)?;
        let password = url.password.clone().unwrap_or_default();
        let mut trace = Trace::start(&[&password]);
        let verdict = run(&config, &url, query, tls, cx, &mut trace).await;
        trace.finish(verdict)
    }
}

async fn run(
    config: &PostgresConfig,
    url: &ConnectionUrl,
    query: &str,
    (mode, tls): (TlsMode, TlsOptions),
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<Observation, Fault> {
    let start = tokio::time::Instant::now();
    let mut server = Server::connect(cx, trace, url, config.ip_family, mode, &tls).await?;
    server.log_in(url).await?;
    let rows = server.query(query, config.min_rows.max(1)).await?;
    let expected = Expectation {
        value: config.expected_value.as_deref(),
        condition: config.value_condition,
        min_rows: config.min_rows.into(),
    };
    expected.check(&rows)?;
    server.leave().await;
    Ok(Observation::up(format!(
        "Query successful, ping: {}ms",
        start.elapsed().as_millis()
    )))
}

fn target(text: &str) -> Result<ConnectionUrl, CheckError> {
    let url = sql::target(text, &["postgres", "postgresql"], "")?;
    if url.password.as_deref().unwrap_or_default().is_empty() {
        return Err(CheckError::InvalidConfig(
            "failed to parse connection string: password is undefined".to_owned(),
        ));
    }
    Ok(url)
}

/// The statement, if it is one that reads.
fn statement(config: &PostgresConfig) -> Result<&str, CheckError> {
    let query = sql::statement(&config.database_query);
    if query.contains('\0') {
        return Err(sql::unfit("a statement holds no NUL character"));
    }
    if !begins_with(query, &ALLOWED) {
        return Err(sql::unfit(
            "only SELECT, SHOW, DESCRIBE, EXPLAIN, WITH, and VALUES statements are allowed for monitoring queries",
        ));
    }
    Ok(query)
}

/// Whether to speak TLS, and whether to verify the certificate.
fn tls_mode(url: &ConnectionUrl) -> Result<(TlsMode, bool), CheckError> {
    Ok(match url.param("sslmode").unwrap_or("disable") {
        "disable" => (TlsMode::Never, false),
        "allow" | "prefer" => (TlsMode::WhereOffered, false),
        "require" => (TlsMode::Always, false),
        "verify-ca" | "verify-full" => (TlsMode::Always, true),
        _ => {
            return Err(CheckError::InvalidConfig(
                "failed to parse connection string: `sslmode` is not one of disable, allow, prefer, require, verify-ca, verify-full".to_owned(),
            ));
        }
    })
}

fn trust(config: &PostgresConfig, verify: bool) -> Trust<'_> {
    trust!(config, !verify)
}

fn tls(config: &PostgresConfig, url: &ConnectionUrl) -> Result<(TlsMode, TlsOptions), CheckError> {
    let (mode, verify) = tls_mode(url)?;
    let options = TlsOptions {
        // PostgreSQL 17 asks for it in direct negotiation, and none minds.
        alpn: vec!["postgresql".to_owned()],
        ..trust(config, verify).options()?
    };
    Ok((mode, options))
}
