//! Kind `rabbitmq`: whether a node of a cluster has an alarm in force, asked of the management API.
//!
//! The nodes are asked in turn until one is well, on the `http` kinds' own engine.

use super::{
    http::{
        auth::basic,
        config::{WEB, url},
    },
    trust::Trust,
};
use crate::{
    Check, CheckError, Findings, ProbeContext,
    findings::invalid,
    net::{
        IpFamily,
        http::{Request, Response},
    },
    schema::Fault,
};
use http::{HeaderMap, HeaderValue, header};
use lapwing_model::{Observation, Reason};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

/// Largest answer to accept, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// What Go's client follows, and with it Peekaping.
const MAX_REDIRECTS: u8 = 10;

/// Kind `rabbitmq`.
#[derive(Debug, Clone, Copy)]
pub struct RabbitMq;

/// Configuration of kind `rabbitmq`. Peekaping's fields have Peekaping's names and meanings.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RabbitMqConfig {
    /// The management API of each node: `http://…` or `https://…`. Asked in this order, until one is well; each has an
    /// equal share of the time that is left.
    #[schemars(length(min = 1))]
    pub nodes: Vec<String>,
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// Accept any certificate; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls_errors: bool,
    /// Root certificates to trust instead of the system's, PEM. A server's own certificate may be among them.
    #[serde(default)]
    pub tls_ca: String,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
}

/// What is asked is added to the address of a node. Behind `?` or `#` it would be no part of the path, and another page
/// would pass for the answer.
fn alone(field: &str, url: &Url) -> Result<(), Fault> {
    if url.query().is_some() || url.fragment().is_some() {
        let why = "expected addresses alone, as `https://mq1.example.com:15672`, without `?` and `#`";
        return Err(invalid(field, why));
    }
    Ok(())
}

impl Check for RabbitMq {
    const KIND: &'static str = "rabbitmq";
    const SUMMARY: &'static str = "Asks the nodes of a RabbitMQ cluster whether an alarm is in force";
    const EXAMPLE: &'static str =
        r#"{"username": "monitor", "password": "secret", "nodes": ["https://mq1.example.com:15672"]}"#;
    const SENSITIVE: &'static [&'static str] = &["/password"];
    type Config = RabbitMqConfig;

    fn review(config: RabbitMqConfig, found: &mut Findings) {
        found.take(config.credentials());
        if config.nodes.is_empty() {
            found.add("nodes", EMPTY);
        }
        for (index, node) in config.nodes.iter().enumerate() {
            let field = format!("nodes[{index}]");
            found.take(url(&field, node, &WEB).and_then(|url| alone(&field, &url)));
        }
        config.trust().review(found);
    }

    async fn probe(&self, config: RabbitMqConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let (start, budget) = (Instant::now(), cx.remaining());
        let requests = config.requests()?;
        let mut last = None;
        for (index, request) in requests.iter().enumerate() {
            let left = u32::try_from(requests.len() - index).unwrap_or(u32::MAX);
            let seen = ask(request, Instant::now() + cx.remaining() / left, cx).await;
            let seen = seen.map(|seen| seen.with_latency(start.elapsed()));
            if let Ok(seen) = &seen
                && seen.reason.is_none()
            {
                return Ok(seen.clone());
            }
            // Of a node that we could not ask nobody knows whether it is well.
            if !matches!(last, Some(Err(_))) {
                last = Some(seen);
            }
        }
        let mut seen = last.ok_or_else(|| invalid("nodes", EMPTY))??;
        seen.message = if cx.remaining().is_zero() {
            format!("Health check timed out after {:.0}s", budget.as_secs_f64())
        } else {
            format!("All RabbitMQ nodes failed: {}", seen.message)
        };
        Ok(seen)
    }
}

/// What is wrong with no nodes.
const EMPTY: &str = "an empty list asks nobody";

impl RabbitMqConfig {
    fn credentials(&self) -> Result<HeaderValue, Fault> {
        basic(&self.username, &self.password).map_err(|_| {
            invalid(
                "username",
                "a user name cannot contain a colon, and neither it nor the password a control character",
            )
        })
    }

    fn trust(&self) -> Trust<'_> {
        Trust {
            ignore_errors: self.ignore_tls_errors,
            ca: &self.tls_ca,
            ..Trust::default()
        }
    }

    fn requests(&self) -> Result<Vec<Request>, Fault> {
        let mut credentials = self.credentials()?;
        credentials.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, credentials),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (
                header::USER_AGENT,
                HeaderValue::from_static(concat!("lapwing/", env!("CARGO_PKG_VERSION"))),
            ),
        ]);
        let tls = self.trust().anonymous();
        let request = |node: &String| {
            let address = format!("{}/api/health/checks/alarms/", node.trim().trim_end_matches('/'));
            let url = Url::parse(&address)
                .map_err(|error| invalid("nodes", format_args!("not all are URLs: {error}")))?;
            alone("nodes", &url)?;
            Ok(Request {
                headers: headers.clone(),
                family: self.ip_family,
                tls: tls.clone(),
                max_redirects: MAX_REDIRECTS,
                // Of another status, nobody looks at the body.
                body_statuses: Some(vec![503..=503]),
                max_body_bytes: Some(MAX_ANSWER),
                ..Request::get(url)
            })
        };
        self.nodes.iter().map(request).collect()
    }
}

/// Asks one node.
async fn ask(request: &Request, deadline: Instant, cx: &ProbeContext) -> Result<Observation, CheckError> {
    let mut shown = request.url.clone();
    let _ = shown.set_username("").and_then(|()| shown.set_password(None));
    let response = match cx.net.send(request, deadline).await {
        Ok(response) => response,
        Err(failure) => {
            return failure.into_verdict(|error| format!("request failed: Get \"{shown}\": {error}"));
        }
    };
    let mut seen = judge(&response)
        .with_attribute("http.status", response.status.as_u16())
        .with_attribute("rabbitmq.node", shown.origin().ascii_serialization())
        .with_attribute("peer", response.peer.to_string());
    seen.phases = response.timing.phases();
    seen.tls = response.tls;
    Ok(seen)
}

fn judge(response: &Response) -> Observation {
    #[derive(Deserialize)]
    struct Alarm {
        reason: String,
    }
    match response.status.as_u16() {
        200 => Observation::up("OK"),
        503 => {
            let why = serde_json::from_slice::<Alarm>(&response.body);
            let why = why.map_or_else(|_| "service unavailable".to_owned(), |alarm| alarm.reason);
            Observation::down(
                Reason::AssertionFailed,
                format!("RabbitMQ health check failed: {why}"),
            )
        }
        code @ (401 | 403) => {
            Observation::down(Reason::AuthFailed, format!("unexpected status code: {code}"))
        }
        code => Observation::down(Reason::HttpStatus, format!("unexpected status code: {code}")),
    }
}
