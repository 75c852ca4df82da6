//! One hop of a request: what is sent to which URL, and how a redirect changes that.

use super::{MAX_URL, Request, cookies::Jar};
use crate::net::NetError;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, response::Parts};
use http_body_util::Full;
use url::{Position, Url};

/// How the request line names the target, and which protocol carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// HTTP/1.1 to the target: the path.
    Origin,
    /// HTTP/1.1 to a forward proxy: the whole URL, with the proxy's credentials.
    Absolute(Option<HeaderValue>),
    /// HTTP/2: the whole URL, as pseudo-headers.
    Http2,
}

impl Form {
    /// Whether a proxy reads the request itself, rather than the target at the end of a tunnel.
    pub(super) fn is_forwarded(&self) -> bool {
        matches!(self, Self::Absolute(_))
    }
}

/// What is sent next.
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) url: Url,
    headers: HeaderMap,
    pub(super) body: Bytes,
    jar: Jar,
}

/// Framing belongs to the connection; a value of the user's could only contradict it (request smuggling).
pub(crate) const FRAMING: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
/// RFC 9113 §8.2.2: connection-specific fields must not be sent in HTTP/2.
const CONNECTION: [HeaderName; 4] = [
    header::CONNECTION,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// What speaks of a body that is no longer sent.
const CONTENT: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
];
const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

impl Hop {
    pub(super) fn first(request: &Request) -> Result<Self, NetError> {
        let mut headers = request.headers.clone();
        strip(&mut headers, &FRAMING);
        let url = admit(request.url.clone()).map_err(NetError::InvalidInput)?;
        let (method, body) = (request.method.clone(), request.body.clone());
        Ok(Self {
            method,
            url,
            headers,
            body,
            jar: Jar::default(),
        })
    }

    /// The request in the form its connection wants, with these credentials if there are any.
    pub(super) fn message(
        &self,
        form: &Form,
        credentials: Option<&HeaderValue>,
    ) -> Result<http::Request<Full<Bytes>>, NetError> {
        let mut headers = self.headers.clone();
        if let Some(credentials) = credentials {
            headers.insert(header::AUTHORIZATION, credentials.clone());
        }
        if let Some(cookies) = self.jar.header(&self.url, headers.get(header::COOKIE)) {
            headers.insert(header::COOKIE, cookies);
        }
        let authority = match headers.remove(header::HOST) {
            Some(host) => host.to_str().map(str::to_owned).map_err(unfit)?,
            None => self.url[Position::BeforeHost..Position::AfterPort].to_owned(),
        };
        let path = self.path();
        let scheme = self.url.scheme();
        let mut message = http::Request::new(Full::new(self.body.clone()));
        let uri = match form {
            Form::Origin => path.to_owned(),
            Form::Absolute(_) => self.url[..Position::AfterQuery].to_owned(),
            Form::Http2 => format!("{scheme}://{authority}{path}"),
        };
        *message.uri_mut() = uri.parse::<Uri>().map_err(unfit)?;
        match form {
            Form::Http2 => {
                strip(&mut headers, &CONNECTION);
                *message.version_mut() = Version::HTTP_2;
            }
            Form::Origin | Form::Absolute(_) => {
                headers.insert(header::HOST, HeaderValue::from_str(&authority).map_err(unfit)?);
            }
        }
        if let Form::Absolute(Some(credentials)) = form {
            headers.insert(header::PROXY_AUTHORIZATION, credentials.clone());
        }
        *message.method_mut() = self.method.clone();
        *message.headers_mut() = headers;
        Ok(message)
    }

    /// The path and the query, as the request line has them.
    pub(super) fn path(&self) -> &str {
        &self.url[Position::BeforePath..Position::AfterQuery]
    }

    /// Turns to `location`, as RFC 9110 §15.4 and browsers have it.
    pub(super) fn redirect(&mut self, parts: &Parts, location: &str) -> Result<(), NetError> {
        let invalid = |why: String| NetError::RedirectInvalid(format!("`{}`: {why}", shown(location)));
        self.jar.learn(&self.url, &parts.headers);
        if location.len() > MAX_URL {
            return Err(NetError::RedirectInvalid(format!(
                "an address of {} bytes; {MAX_URL} at most are followed",
                location.len()
            )));
        }
        let next = self
            .url
            .join(location)
            .map_err(|error| invalid(error.to_string()))?;
        let next = admit(next).map_err(invalid)?;
        if leaves_origin(&self.url, &next) {
            self.headers.remove(header::HOST);
            strip(&mut self.headers, &CREDENTIALS);
            let secrets: Vec<HeaderName> = self
                .headers
                .iter()
                .filter(|(_, value)| value.is_sensitive())
                .map(|(name, _)| name.clone())
                .collect();
            strip(&mut self.headers, &secrets);
        }
        let see_other = matches!(parts.status.as_u16(), 301..=303);
        if see_other && self.method != Method::GET && self.method != Method::HEAD {
            self.method = Method::GET;
            self.body.clear();
            strip(&mut self.headers, &CONTENT);
        }
        self.url = next;
        Ok(())
    }
}

fn strip(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

/// Where a response redirects to, if it does. A redirect without a location is an answer like any other.
pub(super) fn location(parts: &Parts) -> Option<String> {
    let redirects = matches!(parts.status.as_u16(), 301..=303 | 307 | 308);
    let location = parts.headers.get(header::LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// A URL that can be asked: `http` or `https` with a host. Userinfo is taken off: it is not part of a request.
fn admit(mut url: Url) -> Result<Url, String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("scheme `{}` is neither `http` nor `https`", url.scheme()));
    }
    if !url.has_host() {
        return Err("no host".to_owned());
    }
    if url.port() == Some(0) {
        return Err("port 0".to_owned());
    }
    // Neither can fail for a URL with a host and one of these schemes.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    Ok(url)
}

/// Whether credentials meant for `from` must not be shown to `to`: another host, another port, or no longer
/// encrypted. The one step allowed is the usual one from port 80 to port 443.
pub(super) fn leaves_origin(from: &Url, to: &Url) -> bool {
    let port = Url::port_or_known_default;
    let same = from.scheme() == to.scheme() && port(from) == port(to);
    let upgrade =
        (from.scheme(), port(from), to.scheme(), port(to)) == ("http", Some(80), "https", Some(443));
    from.host_str() != to.host_str() || !(same || upgrade)
}

fn unfit(error: impl std::fmt::Display) -> NetError {
    NetError::InvalidInput(format!("request cannot be sent: {error}"))
}

/// A location as messages show it: without what may be a secret (the query, the userinfo), and not without end.
pub(super) fn shown(location: &str) -> String {
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = path
        .split_once("//")
        .map_or(("", path), |(scheme, rest)| (scheme, rest));
    let rest = match rest.split_once('/') {
        Some((authority, path)) => format!("{}/{path}", without_userinfo(authority)),
        None => without_userinfo(rest).to_owned(),
    };
    let slashes = if path.contains("//") { "//" } else { "" };
    format!("{scheme}{slashes}{rest}").chars().take(200).collect()
}

fn without_userinfo(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_same_origin_and_its_encrypted_twin_keep_credentials() {
        for (from, to, leaves) in [
            ("http://a/x", "http://a/y", false),
            ("http://a/", "https://a/", false),
            ("https://a:443/", "https://a/", false),
            ("https://a/", "http://a/", true),
            ("https://a/", "https://b/", true),
            ("https://a/", "https://www.a/", true),
            ("http://a:8080/", "http://a:8081/", true),
            ("http://a:8080/", "https://a/", true),
        ] {
            assert_eq!(leaves_origin(&url(from), &url(to)), leaves, "{from} -> {to}");
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        for text in [
            "ftp://a/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:,x",
            "http://a:0/",
        ] {
            assert!(admit(url(text)).is_err(), "{text}");
        }
        assert_eq!(admit(url("http://u:p@a/x")).unwrap().as_str(), "http://a/x");
    }

    #[test]
    fn a_location_is_shown_without_its_secrets_and_cut() {
        for (location, expected) in [
            ("https://u:p@h.test/a/b?token=x#y", "https://h.test/a/b"),
            ("/loop?token=x", "/loop"),
            ("//u@h.test", "//h.test"),
            ("next", "next"),
        ] {
            assert_eq!(shown(location), expected);
        }
        assert_eq!(shown(&"x".repeat(300_000)).len(), 200);
    }
}
