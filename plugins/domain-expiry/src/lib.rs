#![doc = include_str!("../README.md")]

mod config;
mod memo;
mod rdap;
mod server;
mod verdict;

use config::Config;
use lapwing_plugin_sdk::{
    Capability, Checker, Context, Failure, NetError, Outcome, Status, export_checker,
    http::{Request, Response},
};
use memo::Memo;
use server::{BOOTSTRAP, HOSTS, MAX_BOOTSTRAP};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most redirects followed, each of them judged by the host.
const MAX_REDIRECTS: u8 = 3;
/// Largest answer accepted.
const MAX_ANSWER: u32 = 512 << 10;

/// The check of one domain's registration.
struct DomainExpiry;

impl Checker for DomainExpiry {
    const KIND: &'static str = "domain-expiry";
    const TITLE: &'static str = "Domain registration";
    const SUMMARY: &'static str = "When a domain's registration ends, its status and its registrar, by RDAP";
    const EXAMPLE: &'static str = r#"{"domain":"example.com","rdap_url":"https://rdap.verisign.com/com/v1/","warn_days":30,"min_days":7}"#;
    const CAPABILITIES: &'static [Capability] = &[
        Capability {
            name: "net.http",
            scope: &["{config.rdap_url}", "{config.bootstrap_url}"],
            optional: false,
            reason: "asks the RDAP server that the monitor names",
        },
        Capability {
            name: "net.http",
            scope: HOSTS,
            optional: true,
            reason: "asks the registries of common top-level domains, and IANA where the others are",
        },
        Capability {
            name: "net.http",
            scope: &["*:443"],
            optional: true,
            reason: "asks the RDAP servers that IANA lists for other top-level domains, and those redirected to",
        },
        Capability {
            name: "state",
            scope: &[],
            optional: true,
            reason: "keeps the last good answer, since registries limit how often they answer",
        },
    ];
    const SCHEMA: Option<&'static str> = Some(include_str!("../schema.json"));
    type Config = Config;

    fn check(config: Config, context: &Context) -> Result<Outcome, Failure> {
        config.validate()?;
        let domain = config.domain();
        let memo = Memo::new(context, &config, &domain);
        let now = now()?;
        if let Some(registration) = memo.answer() {
            let outcome = verdict::judge(&config, &registration, now);
            // What is bad is looked at again: it may have been mended.
            if matches!(outcome.status, Status::Up | Status::Degraded) {
                return Ok(outcome.with_attribute("rdap.remembered", true));
            }
        }
        let server = whom_to_ask(&config, &domain, &memo)?;
        let response = get(&server::question(&server, &domain), MAX_ANSWER)?;
        let outcome = match (response.status, rdap::read(&response.body, &domain)) {
            (200, Ok(registration)) => {
                let outcome = verdict::judge(&config, &registration, now);
                if matches!(outcome.status, Status::Up | Status::Degraded) {
                    memo.keep_answer(&registration);
                }
                outcome
            }
            (200, Err(why)) => Outcome::unknown("rdap_malformed", format!("{server}: {why}")),
            _ => refused(&server, &response, config.rdap_url.is_some()),
        };
        Ok(outcome.with_attribute("rdap.server", server))
    }
}

/// The RDAP server of the domain: the configured one, one of those known, or the one that IANA lists.
fn whom_to_ask(config: &Config, domain: &str, memo: &Memo<'_>) -> Result<String, Failure> {
    if let Some(url) = &config.rdap_url {
        return Ok(url.clone());
    }
    if let Some(url) = server::known(domain).filter(|_| config.bootstrap_url.is_none()) {
        return Ok(url.to_owned());
    }
    if let Some(url) = memo.server() {
        return Ok(url);
    }
    let list = config.bootstrap_url.as_deref().unwrap_or(BOOTSTRAP);
    let response = get(list, MAX_BOOTSTRAP)?;
    if response.status != 200 {
        return Err(refused(list, &response, true).into());
    }
    match server::listed(&response.body, domain) {
        Ok(Some(url)) => {
            memo.keep_server(&url);
            Ok(url)
        }
        Ok(None) => Err(Failure::invalid_config(format!(
            "no RDAP server is listed for `{domain}`; give one as `rdap_url`, if there is one"
        ))),
        Err(why) => Err(Outcome::unknown("rdap_malformed", format!("{list}: {why}")).into()),
    }
}

/// Asks a server. That it cannot be reached says nothing of the domain.
fn get(url: &str, max: u32) -> Result<Response, Failure> {
    let sent = Request::new("GET", url)
        .header("accept", "application/rdap+json, application/json")
        .follow_redirects(MAX_REDIRECTS)
        .max_body_bytes(max)
        .send();
    match sent {
        Ok(response) if response.truncated => {
            Err(Outcome::unknown("rdap_malformed", format!("{url}: more than {max} bytes")).into())
        }
        Ok(response) => Ok(response),
        Err(error) if error.reason().is_none() => Err(error.into()),
        Err(error) => Err(unreachable(url, &error).into()),
    }
}

fn unreachable(url: &str, error: &NetError) -> Outcome {
    Outcome::unknown("rdap_unreachable", format!("{url}: {error}"))
}

/// The outcome of an answer without a registration (RFC 7480 §5). Only "not found" says something of the domain, and
/// only from an RDAP server: anybody else says so of a page that is not there.
fn refused(server: &str, response: &Response, configured: bool) -> Outcome {
    let json = response
        .header("content-type")
        .is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
    match response.status {
        404 if json || !configured => {
            Outcome::down("domain_not_registered", format!("{server} knows no such domain"))
        }
        404 => Outcome::unknown(
            "rdap_unavailable",
            format!("{server} answered 404, and not as an RDAP server does: is the URL right?"),
        ),
        429 => {
            let after = response
                .header("retry-after")
                .map(|after| format!(", until {}", rdap::shown(after)));
            let after = after.unwrap_or_default();
            Outcome::unknown(
                "rdap_rate_limited",
                format!("{server} wants to be asked less often{after}"),
            )
        }
        status => Outcome::unknown("rdap_unavailable", format!("{server} answered {status}")),
    }
}

/// Seconds since 1970, by the worker's clock.
fn now() -> Result<i64, Failure> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a plugin's clock is the worker's, through WASI"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).ok();
    since
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .ok_or_else(|| Failure::retryable("the worker's clock is before 1970"))
}

export_checker!(DomainExpiry);
