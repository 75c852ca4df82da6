//! What a user may set, and the plan one probe makes of it.

use super::{
    assertions::Assertions,
    auth::{self, Auth, AuthMethod, OAuthStyle},
    fields::{Headers, StatusRange},
    oauth::Grant,
};
use crate::{
    CheckError, Findings, ProbeContext,
    findings::invalid,
    native::{condition::Condition, pattern::Pattern, trust::Trust},
    net::{
        IpFamily,
        http::{FRAMING, HttpVersion, Request, Scheme},
        tls::TlsOptions,
    },
    schema::Fault,
};
use http::{HeaderMap, HeaderValue, Method, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::RangeInclusive;
use url::{ParseError, Url};

/// Pointers to what must not be shown.
pub(super) const SENSITIVE: &[&str] = &[
    "/headers",
    "/basic_auth_pass",
    "/bearer_token",
    "/oauth_client_secret",
    "/tlsKey",
];

/// Configuration of the `http` kinds. Peekaping's fields have Peekaping's names and meanings.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// What to request: `http://…` or `https://…`. Userinfo becomes basic authentication.
    #[schemars(length(min = 1))]
    pub url: String,
    /// Request method. Default: `GET`.
    #[serde(default)]
    pub method: Verb,
    /// Request headers; a `Host` or `Content-Type` here wins over Lapwing's.
    #[serde(default)]
    pub headers: Headers,
    /// What `body` is: decides the `Content-Type`. Default: `json`.
    #[serde(default)]
    pub encoding: Encoding,
    /// Request body, sent with any method when not empty.
    #[serde(default)]
    pub body: String,
    /// Statuses that count as good: classes, codes and ranges. Default: `["2XX"]`.
    #[serde(default = "success")]
    #[schemars(length(min = 1))]
    pub accepted_statuscodes: Vec<StatusRange>,
    /// Redirects to follow; with 0 the redirect itself is the answer. Default: 10.
    #[serde(default = "ten")]
    pub max_redirects: u8,
    /// Accept any certificate; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls_errors: bool,
    /// Whether the ingester watches the certificate's end; no effect on the check.
    #[serde(default)]
    pub check_cert_expiry: bool,
    /// Text the body must contain (case matters).
    #[serde(default)]
    pub keyword: String,
    /// Turns `keyword` around: the body must not contain it.
    #[serde(default)]
    pub invert_keyword: bool,
    /// `http-json-query`: a gjson path, or with a leading `$` a `JSONPath` (RFC 9535).
    #[serde(default)]
    pub json_query: String,
    /// `http-json-query`: how the value is compared. Default: `==`.
    #[serde(default)]
    pub json_condition: Condition,
    /// `http-json-query`: what the value is compared with.
    #[serde(default)]
    pub expected_value: String,
    /// How to authenticate. Default: `none`.
    #[serde(default, rename = "authMethod")]
    pub auth_method: AuthMethod,
    /// User name for `basic` (and `digest`, `ntlm`).
    #[serde(default)]
    pub basic_auth_user: String,
    /// Password for `basic` (and `digest`, `ntlm`).
    #[serde(default)]
    pub basic_auth_pass: String,
    /// Token for `bearer`.
    #[serde(default)]
    pub bearer_token: String,
    /// Domain for `ntlm`.
    #[serde(default, rename = "authDomain")]
    pub auth_domain: String,
    /// Workstation for `ntlm`.
    #[serde(default, rename = "authWorkstation")]
    pub auth_workstation: String,
    /// How `oauth2-cc` shows its secret. Default: `client_secret_post`.
    #[serde(default)]
    pub oauth_auth_method: OAuthStyle,
    /// Where `oauth2-cc` gets its token.
    #[serde(default)]
    pub oauth_token_url: String,
    /// Client id for `oauth2-cc`.
    #[serde(default)]
    pub oauth_client_id: String,
    /// Client secret for `oauth2-cc`.
    #[serde(default)]
    pub oauth_client_secret: String,
    /// Scopes for `oauth2-cc`, separated by spaces.
    #[serde(default)]
    pub oauth_scopes: String,
    /// Client certificate for `mtls`, PEM.
    #[serde(default, rename = "tlsCert")]
    pub tls_cert: String,
    /// Client key for `mtls`, PEM.
    #[serde(default, rename = "tlsKey")]
    pub tls_key: String,
    /// Root certificates for `mtls`, PEM; as `tls_ca`.
    #[serde(default, rename = "tlsCa")]
    pub mtls_ca: String,
    /// Root certificates to trust instead of the system's, PEM. A server's own certificate may be among them.
    #[serde(default)]
    pub tls_ca: String,
    /// Name for SNI and for the certificate's verification. Default: the URL's host.
    #[serde(default)]
    pub server_name: String,
    /// Oldest TLS version to speak. Default: `1.2`.
    #[serde(default)]
    pub min_tls_version: TlsVersion,
    /// Below this many days until the server's certificate ends the target is degraded. Default: 0, never.
    #[serde(default)]
    pub cert_expiry_warn_days: u32,
    /// HTTP version to speak. Default: `any`.
    #[serde(default)]
    pub http_version: HttpVersion,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
    /// Largest body to accept, in bytes after decompression, where the body is looked at. Default: 10485760.
    #[serde(default = "ten_mebibytes")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub max_body_bytes: usize,
    /// Patterns the body must match, all of them.
    #[serde(default)]
    pub body_must_match: Vec<Pattern>,
    /// Patterns the body must not match, none of them.
    #[serde(default)]
    pub body_must_not_match: Vec<Pattern>,
    /// Response headers that must be there and match.
    #[serde(default)]
    pub header_must_match: Vec<HeaderRule>,
    /// Response headers that must not match; a missing header does not.
    #[serde(default)]
    pub header_must_not_match: Vec<HeaderRule>,
}

/// A condition on a response header.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderRule {
    /// The header's name; case does not matter.
    #[schemars(length(min = 1))]
    pub header: String,
    /// Matched against each of its values.
    pub pattern: Pattern,
}

macro_rules! words {
    ($( $(#[$doc:meta])* $name:ident { $( $(#[$attribute:meta])* $variant:ident = $word:literal, )* } )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
        pub enum $name {
            $( $(#[$attribute])* #[serde(rename = $word)] #[doc = concat!("`", $word, "`")] $variant, )*
        }
    )* };
}

words! {
    /// Request methods.
    Verb {
        #[default] Get = "GET", Post = "POST", Put = "PUT", Delete = "DELETE", Patch = "PATCH", Head = "HEAD",
        Options = "OPTIONS",
    }
    /// What a request body is.
    Encoding { #[default] Json = "json", Form = "form", Xml = "xml", Text = "text", }
    /// TLS versions.
    TlsVersion { #[default] V12 = "1.2", V13 = "1.3", }
}

fn success() -> Vec<StatusRange> {
    vec![StatusRange::SUCCESS]
}

fn ten() -> u8 {
    10
}

fn ten_mebibytes() -> usize {
    10 * 1024 * 1024
}

/// A configuration made ready: what to send, and what to make of the answer.
pub(super) struct Plan {
    pub(super) request: Request,
    pub(super) auth: Auth,
    pub(super) accepted: Vec<RangeInclusive<u16>>,
    pub(super) assertions: Assertions,
    pub(super) warn_days: u32,
    /// `Get`, as Peekaping writes it in messages.
    pub(super) verb: &'static str,
    /// The URL without what may be secret.
    pub(super) shown: String,
}

impl Plan {
    pub(super) fn new(mut config: HttpConfig, json: bool, cx: &ProbeContext) -> Result<Self, CheckError> {
        let url = url("url", &config.url, &WEB)?;
        let (method, verb) = config.method.names();
        let mut headers = config.default_headers();
        // A name of the user's replaces ours, whatever the number of its values.
        std::mem::take(&mut config.headers)
            .0
            .into_iter()
            .fold(None, |last, (name, value)| {
                let name = name.or(last)?;
                headers.insert(name.clone(), value);
                Some(name)
            });
        let mut tls = config.tls_options();
        let auth = Auth::apply(&config, Some(&url), &mut headers, &mut tls, cx.clock.now())?;
        let assertions = Assertions::new(&mut config, json)?;
        let accepted: Vec<_> = config
            .accepted_statuscodes
            .iter()
            .copied()
            .map(StatusRange::codes)
            .collect();
        let mut shown = url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        let _ = shown.set_username("").and_then(|()| shown.set_password(None));
        let (auth, login, version) = match auth {
            // NTLM authenticates a connection, and in HTTP/2 that is not one client's.
            Auth::Login(login) if login.scheme != Scheme::Digest => {
                (Auth::Other, Some(login), HttpVersion::Http11)
            }
            Auth::Login(login) => (Auth::Other, Some(login), config.http_version),
            auth => (auth, None, config.http_version),
        };
        Ok(Self {
            auth,
            accepted: accepted.clone(),
            warn_days: config.cert_expiry_warn_days,
            verb,
            shown: shown.to_string(),
            request: Request {
                method,
                url,
                headers,
                body: config.body.into(),
                max_redirects: config.max_redirects,
                family: config.ip_family,
                version,
                tls,
                proxy: cx.task.proxy.clone(),
                login,
                body_statuses: Some(accepted),
                max_body_bytes: assertions.need_body().then_some(config.max_body_bytes),
            },
            assertions,
        })
    }
}

/// The schemes of HTTP.
pub(in crate::native) const WEB: [&str; 2] = ["http", "https"];

impl HttpConfig {
    /// Notes everything that is wrong; `json` where the kind has a JSON query.
    pub(super) fn review(mut self, kind: &str, json: bool, found: &mut Findings) {
        self.review_purpose(kind, found);
        let url = found.take(url("url", &self.url, &WEB));
        let (mut headers, mut tls) = (HeaderMap::new(), self.tls_options());
        match self.auth_method {
            AuthMethod::Mtls => auth::review_mtls(&self, found),
            AuthMethod::OAuth2Cc => Grant::review(&self, found),
            _ => {
                found.take(Auth::apply(
                    &self,
                    url.as_ref(),
                    &mut headers,
                    &mut tls,
                    Timestamp::UNIX_EPOCH,
                ));
            }
        }
        for name in FRAMING.iter().filter(|name| self.headers.0.contains_key(*name)) {
            found.add(
                "headers",
                format_args!("`{name}` follows from the body, and is not sent as given"),
            );
        }
        if url.is_some_and(|url| url.scheme() == "https") {
            self.trust().review(found);
        }
        let method = self.method;
        let assertions = found.take(Assertions::new(&mut self, json));
        if method == Verb::Head && assertions.is_some_and(|assertions| assertions.need_body()) {
            found.add("method", "an answer to `HEAD` has no body to look at");
        }
    }

    /// Notes what its kind is for, where that is missing: runs do without it, as Peekaping's do, and any page would do.
    fn review_purpose(&self, kind: &str, found: &mut Findings) {
        let asks = !self.json_query.is_empty() || !self.expected_value.is_empty();
        if kind == "http-keyword" && self.keyword.is_empty() {
            found.add("keyword", "`http-keyword` needs it; `http` does without");
        }
        if kind == "http-json-query" && !asks && self.json_condition == Condition::Unset {
            found.add("json_query", "`http-json-query` needs it; `http` does without");
        }
    }

    /// What is said of TLS, the client's certificate only where it is shown.
    fn trust(&self) -> Trust<'_> {
        let ours = !self.tls_ca.is_empty() || self.mtls_ca.is_empty();
        let (name, ca) = if ours {
            ("tls_ca", &self.tls_ca)
        } else {
            ("tlsCa", &self.mtls_ca)
        };
        let shown = self.auth_method == AuthMethod::Mtls;
        Trust {
            ignore_errors: self.ignore_tls_errors,
            ca,
            cert: if shown { &self.tls_cert } else { "" },
            key: if shown { &self.tls_key } else { "" },
            server_name: &self.server_name,
            min_version: self.min_tls_version,
            names: [name, "tlsCert", "tlsKey"],
        }
    }

    fn default_headers(&self) -> HeaderMap {
        let content = match self.encoding {
            Encoding::Json => "application/json",
            Encoding::Form => "application/x-www-form-urlencoded",
            Encoding::Xml => "application/xml",
            Encoding::Text => "text/plain",
        };
        HeaderMap::from_iter([
            (
                header::USER_AGENT,
                HeaderValue::from_static(concat!("lapwing/", env!("CARGO_PKG_VERSION"))),
            ),
            (header::ACCEPT, HeaderValue::from_static("*/*")),
            (
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("gzip, deflate, br, zstd"),
            ),
            (header::CONTENT_TYPE, HeaderValue::from_static(content)),
        ])
    }

    pub(super) fn tls_options(&self) -> TlsOptions {
        self.trust().anonymous()
    }
}

impl Verb {
    fn names(self) -> (Method, &'static str) {
        match self {
            Self::Get => (Method::GET, "Get"),
            Self::Post => (Method::POST, "Post"),
            Self::Put => (Method::PUT, "Put"),
            Self::Delete => (Method::DELETE, "Delete"),
            Self::Patch => (Method::PATCH, "Patch"),
            Self::Head => (Method::HEAD, "Head"),
            Self::Options => (Method::OPTIONS, "Options"),
        }
    }
}

/// The URL in `field`, whose scheme must be one of `schemes`.
pub(in crate::native) fn url(field: &str, text: &str, schemes: &[&str]) -> Result<Url, Fault> {
    let url = Url::parse(text.trim()).map_err(|error| match error {
        ParseError::RelativeUrlWithoutBase => {
            invalid(field, format_args!("has no scheme, expected {}", either(schemes)))
        }
        ParseError::InvalidPort => invalid(field, "invalid port, expected 1 to 65535"),
        error => invalid(field, error),
    })?;
    if !schemes.contains(&url.scheme()) {
        let why = format_args!("scheme `{}`, expected {}", url.scheme(), either(schemes));
        return Err(invalid(field, why));
    }
    if url.port() == Some(0) {
        return Err(invalid(field, "invalid port: 0"));
    }
    Ok(url)
}

fn either(schemes: &[&str]) -> String {
    let shown: Vec<_> = schemes.iter().map(|scheme| format!("`{scheme}://`")).collect();
    shown.join(" or ")
}

/// `value`, which `method` cannot do without.
pub(in crate::native) fn needed(field: &str, value: &str, method: &str) -> Result<(), Fault> {
    if value.trim().is_empty() {
        return Err(invalid(field, format_args!("`{method}` needs it")));
    }
    Ok(())
}
