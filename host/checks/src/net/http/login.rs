//! Answers to challenges (401): what cannot be sent with the first request, because the server has a say in it.
//!
//! Only the origin the user named is answered. As Peekaping does, `ntlm` falls back to basic authentication where the
//! server asks for that and not for NTLM.

mod ntlm;

use super::{
    Request,
    hop::{Hop, leaves_origin},
};
use crate::net::{Net, NetError};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, StatusCode, header, response::Parts};
use http_auth::{ChallengeParser, DigestClient, PasswordParams};
use jiff::Timestamp;
use ntlm::{Challenge, Salt};
use std::fmt;

/// What a server may be shown when it asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// How.
    pub scheme: Scheme,
    /// Who.
    pub user: String,
    /// The secret.
    pub password: String,
    /// The time of day, as NTLM wants it where the server does not tell its own.
    pub now: Timestamp,
}

/// Schemes of challenge and response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 7616.
    Digest,
    /// Microsoft's NTLM, version 2 ([MS-NLMP]). It authenticates a connection: HTTP/1.1 only.
    Ntlm {
        /// The user's domain; empty for none.
        domain: String,
        /// What this machine calls itself; empty for nothing.
        workstation: String,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

/// One hop's login: how far it has come.
pub(super) struct Attempt<'a> {
    login: Option<&'a Login>,
    hop: &'a Hop,
    step: Step,
}

enum Step {
    /// Nothing was shown yet.
    Bare,
    /// Digest: shown, to be shown once more if the nonce was too old. Basic: shown, on whatever connection.
    Shown,
    /// NTLM: said that we speak it. The server's challenge comes on this connection.
    Negotiated(&'static str),
    /// All that there is was shown.
    Spent,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(request: &'a Request, hop: &'a Hop) -> Self {
        let ours = |_: &&Login| !leaves_origin(&request.url, &hop.url);
        Self {
            login: request.login.as_ref().filter(ours),
            hop,
            step: Step::Bare,
        }
    }

    /// The credentials to ask again with; `None` when the answer is to be taken as it is.
    pub(super) async fn answer(&mut self, net: &Net, parts: &Parts) -> Result<Option<HeaderValue>, NetError> {
        let Some(login) = self.login.filter(|_| parts.status == StatusCode::UNAUTHORIZED) else {
            return Ok(None);
        };
        let challenges: Vec<&str> = parts
            .headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let text = match &login.scheme {
            Scheme::Digest => self.digest(login, &challenges)?,
            Scheme::Ntlm { domain, workstation } => {
                self.ntlm(net, login, (domain, workstation), &challenges).await?
            }
        };
        text.map(|text| {
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                NetError::InvalidInput("user name or password have characters no header may have".to_owned())
            })?;
            value.set_sensitive(true);
            Ok(value)
        })
        .transpose()
    }

    /// The connection ended after the last answer. NTLM's second half belongs to the same connection as its first.
    pub(super) fn reconnect(&self) -> Result<(), NetError> {
        match (&self.step, self.login) {
            (Step::Spent, Some(login)) if matches!(login.scheme, Scheme::Ntlm { .. }) => Err(
                NetError::Closed("in the middle of the NTLM login, which needs one connection".to_owned()),
            ),
            _ => Ok(()),
        }
    }

    fn digest(&mut self, login: &Login, challenges: &[&str]) -> Result<Option<String>, NetError> {
        let offered = challenges
            .iter()
            .flat_map(|value| ChallengeParser::new(value).map_while(Result::ok))
            .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("digest"))
            .find_map(|challenge| {
                let stale = challenge.params.iter().any(|(name, value)| {
                    name.eq_ignore_ascii_case("stale") && value.to_unescaped().eq_ignore_ascii_case("true")
                });
                DigestClient::try_from(&challenge)
                    .ok()
                    .map(|client| (client, stale))
            });
        // Refused with what was shown: to show it again would not help, unless only the nonce was too old.
        let Some((mut client, _)) = offered.filter(|(_, stale)| match self.step {
            Step::Bare => true,
            Step::Shown => *stale,
            _ => false,
        }) else {
            return Ok(None);
        };
        let response = client.respond(&PasswordParams {
            username: &login.user,
            password: &login.password,
            uri: self.hop.path(),
            method: self.hop.method.as_str(),
            body: Some(&self.hop.body),
        });
        self.step = match self.step {
            Step::Bare => Step::Shown,
            _ => Step::Spent,
        };
        response
            .map(Some)
            .map_err(|error| NetError::Protocol(format!("digest challenge: {error}")))
    }

    async fn ntlm(
        &mut self,
        net: &Net,
        login: &Login,
        (domain, workstation): (&str, &str),
        challenges: &[&str],
    ) -> Result<Option<String>, NetError> {
        match self.step {
            Step::Bare => {
                let scheme = ["NTLM", "Negotiate"]
                    .into_iter()
                    .find(|scheme| offered(challenges, scheme).is_some());
                if let Some(scheme) = scheme {
                    self.step = Step::Negotiated(scheme);
                    return Ok(Some(format!(
                        "{scheme} {}",
                        BASE64_STANDARD.encode(ntlm::negotiate())
                    )));
                }
                self.step = Step::Shown;
                let basic = format!("{}:{}", login.user, login.password);
                Ok(offered(challenges, "Basic").map(|_| format!("Basic {}", BASE64_STANDARD.encode(basic))))
            }
            Step::Negotiated(scheme) => {
                self.step = Step::Spent;
                let token = offered(challenges, scheme).filter(|token| !token.is_empty());
                let Some(token) = token else { return Ok(None) };
                let challenge = BASE64_STANDARD
                    .decode(token)
                    .ok()
                    .and_then(|message| Challenge::parse(&message))
                    .ok_or_else(|| NetError::Protocol("the server's NTLM challenge is broken".to_owned()))?;
                let salt = Salt {
                    client: net.random().await?,
                    now: login.now,
                };
                let message =
                    challenge.authenticate(&login.user, &login.password, domain, workstation, &salt);
                Ok(Some(format!("{scheme} {}", BASE64_STANDARD.encode(message))))
            }
            Step::Shown | Step::Spent => Ok(None),
        }
    }
}

/// What follows the name of `scheme` in the challenge for it, if there is one. (Other parsers do not know tokens.)
fn offered<'a>(challenges: &[&'a str], scheme: &str) -> Option<&'a str> {
    challenges.iter().find_map(|value| {
        let (name, rest) = value.split_at_checked(scheme.len())?;
        let is_it =
            name.eq_ignore_ascii_case(scheme) && !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        is_it.then(|| rest.trim())
    })
}
