//! Access tokens by client credentials (RFC 6749 §4.4), kept until they expire.
//!
//! The token endpoint is reached through the same door as the target: same policy, same proxy, same trust.

use super::{
    auth::{OAuthStyle, basic, bearer},
    config::{HttpConfig, WEB, needed, url},
};
use crate::{
    CheckError, Findings, ProbeContext,
    net::{http::Request, tls::TlsOptions},
    schema::Fault,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use lapwing_model::{Observation, Reason};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use url::form_urlencoded;

/// How long before its end a token is no longer used: it must last for the request it is sent with.
const MARGIN: Duration = Duration::from_secs(10);
/// How long a token is used whose answer names no end (RFC 6749 §5.1 only recommends one).
const UNTOLD: Duration = Duration::from_mins(5);
/// Tokens kept at most; one past that empties the cache, which costs a request each.
const MAX_TOKENS: usize = 4096;
/// A token answer is small.
const MAX_ANSWER: usize = 256 * 1024;

/// What a token is asked with; two checks that ask alike share a token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Grant {
    url: String,
    style: OAuthStyle,
    client: String,
    secret: String,
    scopes: String,
    insecure: bool,
    ca: Option<String>,
}

/// The tokens of one worker. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tokens {
    kept: Arc<Mutex<HashMap<Grant, (HeaderValue, Instant)>>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// Seconds; some servers send a string.
    expires_in: Option<serde_json::Value>,
}

impl Grant {
    /// Notes what is missing, and what is no URL.
    pub(super) fn review(config: &HttpConfig, found: &mut Findings) {
        let (place, client) = (&config.oauth_token_url, &config.oauth_client_id);
        let given = found.take(needed("oauth_token_url", place, "oauth2-cc"));
        given.and_then(|()| found.take(url("oauth_token_url", place, &WEB)));
        found.take(needed("oauth_client_id", client, "oauth2-cc"));
    }

    pub(super) fn new(config: &HttpConfig) -> Result<Self, Fault> {
        needed("oauth_token_url", &config.oauth_token_url, "oauth2-cc")?;
        needed("oauth_client_id", &config.oauth_client_id, "oauth2-cc")?;
        url("oauth_token_url", &config.oauth_token_url, &WEB)?;
        Ok(Self {
            url: config.oauth_token_url.clone(),
            style: config.oauth_auth_method,
            client: config.oauth_client_id.clone(),
            secret: config.oauth_client_secret.clone(),
            scopes: config.oauth_scopes.clone(),
            insecure: config.ignore_tls_errors,
            ca: config.tls_options().ca_pem,
        })
    }

    fn request(&self, cx: &ProbeContext) -> Result<Request, CheckError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        form.append_pair("client_id", &self.client)
            .append_pair("client_secret", &self.secret);
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes);
        }
        let mut headers = HeaderMap::from_iter([
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            ),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
        ]);
        if self.style == OAuthStyle::ClientSecretBasic {
            headers.insert(header::AUTHORIZATION, basic(&self.client, &self.secret)?);
        }
        let url = url("oauth_token_url", &self.url, &WEB)?;
        // The form holds the secret: it is shown to the configured endpoint only, and no redirect is followed.
        Ok(Request {
            method: Method::POST,
            headers,
            body: Bytes::from(form.finish()),
            tls: TlsOptions {
                verify: !self.insecure,
                ca_pem: self.ca.clone(),
                ..TlsOptions::default()
            },
            proxy: cx.task.proxy.clone(),
            max_body_bytes: Some(MAX_ANSWER),
            ..Request::get(url)
        })
    }
}

impl Tokens {
    /// The `Authorization` value for `grant`, kept or fresh; or the verdict when no token can be had.
    pub(super) async fn token(
        &self,
        grant: &Grant,
        cx: &ProbeContext,
    ) -> Result<Result<HeaderValue, Observation>, CheckError> {
        let kept = self
            .lock()
            .get(grant)
            .filter(|(_, end)| *end > Instant::now())
            .map(|(token, _)| token.clone());
        if let Some(token) = kept {
            return Ok(Ok(token));
        }
        let failed = |why: String| Ok(Err(Observation::down(Reason::AuthFailed, why)));
        let request = grant.request(cx)?;
        // On the heap: few checks log in, and all would carry it.
        let response = match Box::pin(cx.net.send(&request, cx.deadline)).await {
            Ok(response) => response,
            Err(failure) => {
                let seen = failure
                    .error
                    .into_verdict(|error| format!("failed to get oauth2 token: {error}"))?;
                return failed(seen.message);
            }
        };
        if !response.status.is_success() {
            return failed(format!(
                "oauth2 token endpoint returned status: {}",
                response.status.as_u16()
            ));
        }
        let answer: Answer = match serde_json::from_slice(&response.body) {
            Ok(answer) => answer,
            // Not the error's text: it could quote the token.
            Err(error) => {
                return failed(format!(
                    "failed to parse oauth2 token response: {:?} error",
                    error.classify()
                ));
            }
        };
        let Ok(token) = bearer(&answer.access_token, "access_token") else {
            return failed("failed to parse oauth2 token response: no usable `access_token`".to_owned());
        };
        let seconds = answer
            .expires_in
            .and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()));
        let lasts = seconds
            .map_or(UNTOLD, Duration::from_secs)
            .saturating_sub(MARGIN)
            .min(Duration::from_hours(24));
        let mut kept = self.lock();
        if kept.len() >= MAX_TOKENS {
            kept.clear();
        }
        kept.insert(grant.clone(), (token.clone(), Instant::now() + lasts));
        Ok(Ok(token))
    }

    /// Drops a token that was refused. `false` when it was not from the cache any more: asking again would not help.
    pub(super) fn forget(&self, grant: &Grant, token: &HeaderValue) -> bool {
        let mut kept = self.lock();
        let same = kept.get(grant).is_some_and(|(held, _)| held == token);
        if same {
            kept.remove(grant);
        }
        same
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Grant, (HeaderValue, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
