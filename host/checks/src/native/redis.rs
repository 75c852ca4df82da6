//! Kind `redis`: connects, authenticates, selects the database and says PING (RESP2, by hand: four commands).

mod resp;

use crate::{
    Check, CheckError, Findings, ProbeContext,
    native::{
        connection::ConnectionUrl,
        session::{Fault, Session, Trace},
        trust::Trust,
    },
    net::{IpFamily, NetError, tls::TlsOptions},
};
use lapwing_model::{Observation, Reason};
use resp::Reply;
use schemars::JsonSchema;
use serde::Deserialize;

const PORT: u16 = 6379;
const EXPECTED: &str = "invalid connection string format. Expected: redis://[user:password@]host[:port][/db] or rediss://[user:password@]host[:port][/db]";

/// Kind `redis`.
#[derive(Debug, Clone, Copy)]
pub struct Redis;

/// Configuration of kind `redis`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:6379][/db]`, or `rediss://` for TLS. Characters with a meaning in URLs are
    /// percent-encoded.
    #[schemars(length(min = 1))]
    pub database_connection_string: String,
    /// `rediss`: accept any certificate, and show none of our own; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls: bool,
    /// `rediss`: root certificates to trust instead of the system's, PEM.
    #[serde(default)]
    pub ca_cert: String,
    /// `rediss`: client certificate chain, PEM; with `clientKey`.
    #[serde(default)]
    pub client_cert: String,
    /// `rediss`: key of `clientCert`, PEM.
    #[serde(default)]
    pub client_key: String,
    /// `rediss`: name for SNI and for the certificate's verification. Default: the host.
    #[serde(default)]
    pub server_name: String,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
}

/// What the connection string says.
struct Target {
    host: String,
    port: u16,
    user: Option<String>,
    password: Option<String>,
    database: u32,
    tls: bool,
}

impl Check for Redis {
    const KIND: &'static str = "redis";
    const ALIASES: &'static [&'static str] = &["valkey"];
    const SUMMARY: &'static str = "Logs in to a Redis server and pings it";
    const EXAMPLE: &'static str =
        r#"{"databaseConnectionString": "rediss://monitor:secret@cache.example.com:6379/0"}"#;
    const SENSITIVE: &'static [&'static str] = &["/databaseConnectionString", "/clientKey"];
    type Config = RedisConfig;

    fn review(config: RedisConfig, found: &mut Findings) {
        let read = target(&config.database_connection_string);
        let target = found.of("databaseConnectionString", read);
        if target.is_some_and(|target| target.tls) && !config.ignore_tls {
            trust(&config).review(found);
        }
    }

    async fn probe(&self, config: RedisConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let target = target(&config.database_connection_string).map_err(|why| {
            CheckError::InvalidConfig(format!("connection string validation failed: {why}"))
        })?;
        // What is said of TLS is judged where it is spoken.
        let tls = if target.tls {
            tls(&config)?
        } else {
            TlsOptions::default()
        };
        let mut trace = Trace::start(&[target.password.as_deref().unwrap_or_default()]);
        let verdict = ping(&target, &tls, config.ip_family, cx, &mut trace).await;
        trace.finish(verdict.map_err(told))
    }
}

const PING: &str = "Redis ping failed";

/// Timeouts have a word of their own.
fn told(fault: Fault) -> Fault {
    match fault {
        Fault::Net { error, .. } => {
            let slow = matches!(
                error,
                NetError::DnsTimeout(_)
                    | NetError::ConnectTimeout(_)
                    | NetError::TlsTimeout(_)
                    | NetError::ResponseTimeout(_)
            );
            let stage = if slow { "Redis connection timeout" } else { PING };
            Fault::Net { stage, error }
        }
        fault => fault,
    }
}

async fn ping(
    target: &Target,
    tls: &TlsOptions,
    family: IpFamily,
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<Observation, Fault> {
    let fail = Fault::at(PING);
    let mut session = Session::open(cx, trace, &target.host, target.port, family)
        .await
        .map_err(&fail)?;
    if target.tls {
        session = session.secure(tls).await.map_err(&fail)?;
    }
    if let Some(password) = &target.password {
        let user = target.user.iter().map(String::as_str);
        let words: Vec<&str> = ["AUTH"]
            .into_iter()
            .chain(user)
            .chain([password.as_str()])
            .collect();
        expect(&mut session, &words, "OK").await?;
    }
    if target.database != 0 {
        expect(&mut session, &["SELECT", &target.database.to_string()], "OK").await?;
    }
    expect(&mut session, &["PING"], "PONG").await?;
    session.part(&resp::command(&["QUIT"])).await;
    Ok(Observation::up("Redis ping successful: PONG"))
}

/// Says `words`, and hears `reply`.
async fn expect(session: &mut Session<'_>, words: &[&str], reply: &str) -> Result<(), Fault> {
    let heard = resp::ask(session, words).await.map_err(Fault::at(PING))?;
    match heard {
        Reply::Said(said) if said == reply => Ok(()),
        Reply::Refused(error) => {
            let word = error.split(' ').next().unwrap_or_default();
            let reason = match word {
                "NOAUTH" | "WRONGPASS" | "NOPERM" => Reason::AuthFailed,
                // Before Redis 6 a wrong password is `ERR invalid password`. A full server answers whatever is said first.
                "ERR" if words.first() == Some(&"AUTH") && !error.contains("max number of clients") => {
                    Reason::AuthFailed
                }
                _ => Reason::AssertionFailed,
            };
            Err(Fault::Told(reason, format!("{PING}: {error}")))
        }
        Reply::Said(said) => Err(Fault::at(PING)(
            session.breach(format_args!("answers '{said}' instead of {reply}")),
        )),
    }
}

fn target(text: &str) -> Result<Target, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("connection string cannot be empty".to_owned());
    }
    let url = ConnectionUrl::parse(text).map_err(|why| {
        if why.starts_with("invalid port") {
            why
        } else {
            EXPECTED.to_owned()
        }
    })?;
    let tls = match url.scheme.as_str() {
        "redis" => false,
        "rediss" => true,
        _ => return Err(EXPECTED.to_owned()),
    };
    let [(host, port)] = url.hosts.as_slice() else {
        return Err(EXPECTED.to_owned());
    };
    if text.contains('?') {
        return Err("query parameters are not supported".to_owned());
    }
    let database = match url.database.as_str() {
        "" => Some(0),
        digits => digits.parse().ok(),
    };
    let long = |part: &Option<String>| part.as_ref().is_some_and(|part| part.len() > 255);
    if long(&url.user) || long(&url.password) {
        return Err("user and password have at most 255 characters".to_owned());
    }
    if url.user.is_some() && url.password.is_none() {
        return Err("a user needs a password".to_owned());
    }
    Ok(Target {
        host: host.clone(),
        port: port.unwrap_or(PORT),
        user: url.user,
        password: url.password.filter(|password| !password.is_empty()),
        database: database.ok_or("the database is a number from 0 up")?,
        tls,
    })
}

fn trust(config: &RedisConfig) -> Trust<'_> {
    Trust {
        ignore_errors: config.ignore_tls,
        ca: &config.ca_cert,
        cert: &config.client_cert,
        key: &config.client_key,
        server_name: &config.server_name,
        names: ["caCert", "clientCert", "clientKey"],
        ..Trust::default()
    }
}

fn tls(config: &RedisConfig) -> Result<TlsOptions, CheckError> {
    let trust = trust(config);
    if config.ignore_tls {
        // As Peekaping: no certificate matters then, neither ours nor the authority's.
        return Ok(Trust { ca: "", ..trust }.anonymous());
    }
    trust
        .options()
        .map_err(|why| CheckError::InvalidConfig(format!("TLS configuration failed: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_are_read_as_peekaping_reads_them() {
        let full = target("rediss://mon:p%40ss@cache:6380/3").unwrap();
        assert_eq!(
            (full.host.as_str(), full.port, full.database, full.tls),
            ("cache", 6380, 3, true)
        );
        assert_eq!(
            (full.user.as_deref(), full.password.as_deref()),
            (Some("mon"), Some("p@ss"))
        );
        let short = target("redis://[::1]").unwrap();
        assert_eq!(
            (short.host.as_str(), short.port, short.database),
            ("[::1]", PORT, 0)
        );
        assert_eq!(target("redis://:pw@h/").unwrap().user, None);
        for text in [
            "",
            "h:1",
            "http://h",
            "redis://",
            "redis://h:0",
            "redis://h/x",
            "redis://h/0?a=1",
            "redis://a,b",
            "redis://hunter2@h",
        ] {
            let error = target(text).map(|_| ()).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
