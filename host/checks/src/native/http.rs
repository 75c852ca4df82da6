//! Kinds `http`, `http-keyword` and `http-json-query`: one implementation, three names, as in Peekaping.
//!
//! The engine under it is [`Net::send`](crate::Net::send); here is only what makes an answer good or bad. Called by
//! the executor adapter. Judging must not look further than the answer: what Lapwing could not try is an `Err`.

mod assertions;
pub(super) mod auth;
pub(super) mod config;
pub(super) mod fields;
mod oauth;
pub(super) mod query;

pub use config::{HttpConfig, TlsVersion};
pub use oauth::Tokens;

use crate::{Check, CheckError, Findings, ProbeContext, native::judging::judged, net::http::Response};
use auth::Auth;
use config::Plan;
use lapwing_model::{Observation, Reason};
use query::Unmet;

/// The whole of one probe, whichever kind it is.
async fn probe(
    config: HttpConfig,
    json: bool,
    tokens: &Tokens,
    cx: &ProbeContext,
) -> Result<Observation, CheckError> {
    let mut plan = Plan::new(config, json, cx)?;
    let token = match &plan.auth {
        Auth::Token(grant) => match tokens.token(grant, cx).await? {
            Ok(token) => Some(token),
            Err(down) => return Ok(down),
        },
        Auth::Other | Auth::Login(_) => None,
    };
    if let Some(token) = &token {
        plan.request
            .headers
            .insert(http::header::AUTHORIZATION, token.clone());
    }
    let mut answer = cx.net.send(&plan.request, cx.deadline).await;
    if let (Auth::Token(grant), Some(token), Ok(response)) = (&plan.auth, &token, &answer)
        && response.status == http::StatusCode::UNAUTHORIZED
        && tokens.forget(grant, token)
    {
        // The token was an old one: it may have been revoked before its time. Once more with a fresh one.
        match tokens.token(grant, cx).await? {
            Ok(token) => plan.request.headers.insert(http::header::AUTHORIZATION, token),
            Err(down) => return Ok(down),
        };
        answer = cx.net.send(&plan.request, cx.deadline).await;
    }
    match answer {
        Ok(response) => judge(plan, response, cx).await,
        Err(failure) => failure.into_verdict(|error| format!("{} \"{}\": {error}", plan.verb, plan.shown)),
    }
}

/// The verdict on an answer, by the deadline.
async fn judge(plan: Plan, response: Response, cx: &ProbeContext) -> Result<Observation, CheckError> {
    let now = cx.clock.now();
    let searched = plan.assertions.search_body();
    let size = if searched { response.body.len() } else { 0 };
    judged("the search in the body", size, cx.deadline, move || {
        plan.judge(&response, now)
    })
    .await?
}

impl Plan {
    /// The verdict on an answer.
    fn judge(&self, response: &Response, now: jiff::Timestamp) -> Result<Observation, CheckError> {
        let seen = self.verdict(response, now)?.with_latency(response.timing.to_head);
        let mut seen = seen
            .with_attribute("http.status", response.status.as_u16())
            .with_attribute("http.version", format!("{:?}", response.version))
            .with_attribute("peer", response.peer.to_string());
        if response.redirects > 0 {
            let mut url = response.final_url.clone();
            url.set_query(None);
            seen = seen
                .with_attribute("http.redirects", response.redirects)
                .with_attribute("http.final_url", url.to_string());
        }
        seen.phases = response.timing.phases();
        seen.tls.clone_from(&response.tls);
        Ok(seen)
    }

    fn verdict(&self, response: &Response, now: jiff::Timestamp) -> Result<Observation, CheckError> {
        let status = response.status;
        if !self.accepted.iter().any(|range| range.contains(&status.as_u16())) {
            let text = format!("HTTP request failed with status: {}", status.as_u16());
            return Ok(Observation::down(Reason::HttpStatus, text));
        }
        if response.truncated {
            let cap = self.request.max_body_bytes.unwrap_or_default();
            let text = format!("response body is larger than {cap} bytes (`max_body_bytes`)");
            return Ok(Observation::down(Reason::BodyTooLarge, text));
        }
        match self.assertions.check(response) {
            Ok(()) => {}
            Err(Unmet::Otherwise(text)) => return Ok(Observation::down(Reason::AssertionFailed, text)),
            Err(Unmet::Beyond(text)) => return Err(CheckError::limit_hit(text)),
        }
        // Peekaping's text: the code, then the status line's own "code reason".
        let text = format!("{} - {status}", status.as_u16());
        let text = text
            .strip_suffix(" <unknown status code>")
            .unwrap_or(&text)
            .to_owned();
        Ok(match self.days_left(response, now) {
            Some(days) if days < i64::from(self.warn_days) => {
                let text = format!("{text}; certificate expires in {days} days");
                Observation::degraded(Reason::CertificateExpiring, text)
            }
            _ => Observation::up(text),
        })
    }

    /// Whole days until the leaf certificate ends, when that is watched.
    fn days_left(&self, response: &Response, now: jiff::Timestamp) -> Option<i64> {
        let tls = response.tls.as_ref().filter(|_| self.warn_days > 0)?;
        tls.days_left(now)
    }
}

macro_rules! kinds {
    ($( $(#[$doc:meta])* $name:ident, $kind:literal, $aliases:expr, $json:literal, $summary:literal, $example:expr; )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            tokens: Tokens,
        }

        impl $name {
            /// With the tokens it shares with its siblings.
            pub fn new(tokens: Tokens) -> Self {
                Self { tokens }
            }
        }

        impl Check for $name {
            const KIND: &'static str = $kind;
            const ALIASES: &'static [&'static str] = $aliases;
            const SUMMARY: &'static str = $summary;
            const EXAMPLE: &'static str = $example;
            const SENSITIVE: &'static [&'static str] = config::SENSITIVE;
            type Config = HttpConfig;

            fn review(config: HttpConfig, found: &mut Findings) {
                config.review(Self::KIND, $json, found);
            }

            async fn probe(&self, config: HttpConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
                probe(config, $json, &self.tokens, cx).await
            }
        }
    )* };
}

kinds! {
    /// Kind `http`.
    Http, "http", &["https"], false,
        "Requests a URL and judges the status, headers and body of the answer",
        r#"{"url": "https://example.com/health", "accepted_statuscodes": ["2XX"], "cert_expiry_warn_days": 14}"#;
    /// Kind `http-keyword`.
    HttpKeyword, "http-keyword", &[], false,
        "Requests a URL and looks for a keyword in the body",
        r#"{"url": "https://example.com/", "keyword": "Example Domain"}"#;
    /// Kind `http-json-query`.
    HttpJsonQuery, "http-json-query", &[], true,
        "Requests a URL and compares a value of its JSON body",
        r#"{"url": "https://example.com/status.json", "json_query": "queue.length", "json_condition": "<", "expected_value": "100"}"#;
}
