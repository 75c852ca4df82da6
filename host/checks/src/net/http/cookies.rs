//! The cookies of one check: kept across its hops, never sent to another host, forgotten with the check.

use http::{HeaderMap, HeaderValue, header};
use url::Url;

/// Cookies a jar holds at most; a site that sets more gets only the newest back.
const MAX_COOKIES: usize = 64;

/// What the hops so far have set.
#[derive(Default)]
pub(super) struct Jar {
    cookies: Vec<Cookie>,
}

struct Cookie {
    name: String,
    value: String,
    host: String,
    path: String,
    secure: bool,
}

impl Jar {
    /// Takes the cookies a response to `url` sets, and drops those it takes back.
    ///
    /// `Domain` is not honoured: a cookie goes to the very host that set it. So RFC 6265 §5.3 without its public
    /// suffixes, which a check has no use for.
    pub(super) fn learn(&mut self, url: &Url, headers: &HeaderMap) {
        for line in headers.get_all(header::SET_COOKIE) {
            let Ok(parsed) = cookie::Cookie::parse(String::from_utf8_lossy(line.as_bytes()).into_owned())
            else {
                continue;
            };
            let path = parsed
                .path()
                .filter(|path| path.starts_with('/'))
                .unwrap_or_else(|| default_path(url));
            let cookie = Cookie {
                name: parsed.name().to_owned(),
                value: parsed.value().to_owned(),
                host: url.host_str().unwrap_or_default().to_owned(),
                path: path.to_owned(),
                secure: parsed.secure().unwrap_or_default(),
            };
            self.cookies.retain(|old| {
                (&old.name, &old.host, &old.path) != (&cookie.name, &cookie.host, &cookie.path)
            });
            if !is_removal(&parsed) {
                self.cookies.push(cookie);
            }
        }
        let excess = self.cookies.len().saturating_sub(MAX_COOKIES);
        self.cookies.drain(..excess);
    }

    /// The `Cookie` header for `url`: the user's own first, then those learnt. `None` when nothing was learnt.
    pub(super) fn header(&self, url: &Url, own: Option<&HeaderValue>) -> Option<HeaderValue> {
        let learnt = self.cookies.iter().filter(|cookie| cookie.fits(url));
        let learnt: Vec<String> = learnt
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        if learnt.is_empty() {
            return None;
        }
        let own = own.map(|own| String::from_utf8_lossy(own.as_bytes()).into_owned());
        let all: Vec<String> = own.into_iter().chain(learnt).collect();
        HeaderValue::from_str(&all.join("; ")).ok()
    }
}

impl Cookie {
    /// RFC 6265 §5.4 and §5.1.4.
    fn fits(&self, url: &Url) -> bool {
        let beneath = url.path().strip_prefix(self.path.as_str());
        let path =
            beneath.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/'));
        path && url.host_str() == Some(self.host.as_str()) && (!self.secure || url.scheme() == "https")
    }
}

/// Everything up to the last slash (RFC 6265 §5.1.4).
fn default_path(url: &Url) -> &str {
    match url.path().rsplit_once('/') {
        Some((directory, _)) if !directory.is_empty() => directory,
        _ => "/",
    }
}

/// Servers remove a cookie by letting it expire. No clock here: what a server dates into the past it dates to 1970.
fn is_removal(cookie: &cookie::Cookie<'_>) -> bool {
    let no_age = cookie.max_age().is_some_and(|age| !age.is_positive());
    let past = cookie.expires_datetime().is_some_and(|at| at.year() < 2000);
    no_age || (cookie.max_age().is_none() && past)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn learn(jar: &mut Jar, from: &str, lines: &[&str]) {
        let lines = lines
            .iter()
            .map(|line| (header::SET_COOKIE, HeaderValue::from_str(line).unwrap()));
        jar.learn(&url(from), &lines.collect());
    }

    fn sent(jar: &Jar, to: &str) -> Option<String> {
        jar.header(&url(to), None)
            .map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_return_to_their_host_and_path_only() {
        let mut jar = Jar::default();
        learn(
            &mut jar,
            "https://a.example/app/login",
            &["s=1; Domain=example; Secure", "r=2; Path=/"],
        );
        assert_eq!(sent(&jar, "https://a.example/app/x").as_deref(), Some("s=1; r=2"));
        assert_eq!(
            sent(&jar, "https://a.example/application").as_deref(),
            Some("r=2")
        );
        assert_eq!(sent(&jar, "http://a.example/app").as_deref(), Some("r=2"));
        assert_eq!(sent(&jar, "https://b.example/app"), None);
    }

    #[test]
    fn a_cookie_is_replaced_and_removed_as_the_server_says() {
        let mut jar = Jar::default();
        learn(&mut jar, "http://a/", &["s=1", "t=1"]);
        learn(
            &mut jar,
            "http://a/",
            &["s=2", "t=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
        );
        assert_eq!(sent(&jar, "http://a/").as_deref(), Some("s=2"));
        learn(&mut jar, "http://a/", &["s=; Max-Age=0"]);
        assert_eq!(sent(&jar, "http://a/"), None);
    }

    #[test]
    fn the_users_own_cookies_come_first() {
        let mut jar = Jar::default();
        learn(&mut jar, "http://a/", &["s=1"]);
        let own = HeaderValue::from_static("mine=0");
        assert_eq!(jar.header(&url("http://a/"), Some(&own)).unwrap(), "mine=0; s=1");
    }
}
