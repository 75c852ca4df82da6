//! How a request shows who it is.

use super::{
    config::{HttpConfig, needed},
    oauth::Grant,
};
use crate::{
    Findings,
    findings::invalid,
    net::{
        http::{HttpVersion, Login, Scheme},
        tls::TlsOptions,
    },
    schema::Fault,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

/// Ways to authenticate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthMethod {
    /// Not at all.
    #[default]
    #[serde(alias = "")]
    None,
    /// User name and password in each request (RFC 7617, UTF-8).
    Basic,
    /// A fixed token (RFC 6750).
    Bearer,
    /// Challenge and response (RFC 7616).
    Digest,
    /// Microsoft's challenge and response, version 2; over HTTP/1.1.
    Ntlm,
    /// OAuth 2.0 client credentials (RFC 6749 §4.4).
    #[serde(rename = "oauth2-cc")]
    OAuth2Cc,
    /// A client certificate.
    Mtls,
}

/// How a client shows its secret to the token endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OAuthStyle {
    /// In the form.
    #[default]
    #[serde(alias = "")]
    ClientSecretPost,
    /// As basic authentication, and, as Peekaping does, in the form.
    ClientSecretBasic,
}

/// What is left to do once headers and TLS options are set.
pub(super) enum Auth {
    /// Nothing.
    Other,
    /// Get a token.
    Token(Grant),
    /// Wait to be asked.
    Login(Login),
}

impl Auth {
    /// Sets what `config` asks for.
    pub(super) fn apply(
        config: &HttpConfig,
        url: Option<&Url>,
        headers: &mut HeaderMap,
        tls: &mut TlsOptions,
        now: Timestamp,
    ) -> Result<Self, Fault> {
        match config.auth_method {
            AuthMethod::None => {
                if let Some(url) = url
                    && !url.username().is_empty()
                    && !headers.contains_key(header::AUTHORIZATION)
                {
                    let plain = |text| percent_decode_str(text).decode_utf8_lossy();
                    let value = basic(&plain(url.username()), &plain(url.password().unwrap_or_default()))?;
                    headers.insert(header::AUTHORIZATION, value);
                }
            }
            AuthMethod::Basic => {
                // One of them alone is how some take a token.
                if config.basic_auth_pass.is_empty() {
                    needed("basic_auth_user", &config.basic_auth_user, "basic")?;
                }
                headers.insert(
                    header::AUTHORIZATION,
                    basic(&config.basic_auth_user, &config.basic_auth_pass)?,
                );
            }
            AuthMethod::Bearer => {
                headers.insert(
                    header::AUTHORIZATION,
                    bearer(&config.bearer_token, "bearer_token")?,
                );
            }
            AuthMethod::Digest => return login(config, Scheme::Digest, "digest", now),
            AuthMethod::Ntlm => {
                if config.http_version == HttpVersion::Http2 {
                    return Err(invalid("http_version", "`ntlm` needs HTTP/1.1"));
                }
                let scheme = Scheme::Ntlm {
                    domain: config.auth_domain.clone(),
                    workstation: config.auth_workstation.clone(),
                };
                return login(config, scheme, "ntlm", now);
            }
            AuthMethod::OAuth2Cc => return Ok(Self::Token(Grant::new(config)?)),
            AuthMethod::Mtls => {
                needed("tlsCert", &config.tls_cert, "mtls")?;
                needed("tlsKey", &config.tls_key, "mtls")?;
                tls.client_identity = Some((config.tls_cert.clone(), config.tls_key.clone()));
            }
        }
        Ok(Self::Other)
    }
}

/// Notes what `mtls` lacks.
pub(super) fn review_mtls(config: &HttpConfig, found: &mut Findings) {
    found.take(needed("tlsCert", &config.tls_cert, "mtls"));
    found.take(needed("tlsKey", &config.tls_key, "mtls"));
}

/// Waits for a challenge with the user's name and password.
fn login(config: &HttpConfig, scheme: Scheme, method: &str, now: Timestamp) -> Result<Auth, Fault> {
    needed("basic_auth_user", &config.basic_auth_user, method)?;
    Ok(Auth::Login(Login {
        scheme,
        user: config.basic_auth_user.clone(),
        password: config.basic_auth_pass.clone(),
        now,
    }))
}

/// RFC 7617 §2: a user name has no colon.
pub(in crate::native) fn basic(user: &str, password: &str) -> Result<HeaderValue, Fault> {
    if user.contains(':') {
        return Err(invalid("basic_auth_user", "a user name cannot contain a colon"));
    }
    secret(
        &format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))),
        "basic_auth_user",
    )
}

/// RFC 6750 §2.1.
pub(super) fn bearer(token: &str, field: &str) -> Result<HeaderValue, Fault> {
    if token.is_empty() {
        return Err(invalid(field, "no token"));
    }
    secret(&format!("Bearer {token}"), field)
}

fn secret(text: &str, field: &str) -> Result<HeaderValue, Fault> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| invalid(field, "has characters no header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}
