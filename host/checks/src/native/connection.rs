//! Connection strings of the URL kind: `scheme://user:password@host:port,host:port/database?key=value`.
//!
//! Not read with a URL parser: those know one host only. Nothing of the text is repeated in an error: it holds a password.

use crate::text::nearest;
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

/// What a connection string says.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct ConnectionUrl {
    pub(super) scheme: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// At least one, each with its port where it has one.
    pub(super) hosts: Vec<(String, Option<u16>)>,
    pub(super) database: String,
    pub(super) params: Vec<(String, String)>,
}

impl ConnectionUrl {
    /// Reads `text`. The error says what is wrong with it in general terms.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.trim().split_once("://").ok_or("missing protocol scheme")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, hosts) = match authority.rsplit_once('@') {
            Some((userinfo, hosts)) => (Some(userinfo), hosts),
            None => (None, authority),
        };
        let credentials = userinfo.map(|userinfo| match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        });
        let (user, password) = match credentials {
            Some((user, password)) => (Some(decode(user)?), password.map(decode).transpose()?),
            None => (None, None),
        };
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user: user.filter(|user| !user.is_empty()),
            password,
            hosts: hosts
                .split(',')
                .filter(|host| !host.is_empty())
                .map(host_and_port)
                .collect::<Result<_, _>>()?,
            database: decode(database)?,
            params: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        })
    }

    /// The last value of the parameter `name`, its case being of no matter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        let named = self.params.iter().rev();
        let mut named = named.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// Whether no parameter looks like a slip in one of `known`, letter case aside; else which one does. Others may be the
    /// server's own settings. Their names are no secrets.
    pub(super) fn know_params(&self, known: &[&str]) -> Result<(), String> {
        let is_known = |name: &str| known.iter().any(|word| word.eq_ignore_ascii_case(name));
        let odd = self
            .params
            .iter()
            .map(|(name, _)| name)
            .filter(|name| !is_known(name));
        let mut slip = odd.filter_map(|name| Some((name, nearest(name, known.iter().copied())?)));
        slip.next().map_or(Ok(()), |(name, meant)| {
            let known = known.join(", ");
            Err(format!(
                "unknown parameter `{name}`; did you mean `{meant}`? Known are {known}"
            ))
        })
    }

    /// The first host.
    pub(super) fn host(&self) -> Option<&(String, Option<u16>)> {
        self.hosts.first().filter(|(host, _)| !host.is_empty())
    }
}

fn decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| "percent-encoded bytes that are no UTF-8")?;
    // No protocol has a way to say it.
    if decoded.contains('\0') {
        return Err("a NUL character".to_owned());
    }
    Ok(decoded.into())
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = port.map(|port| match port.parse() {
        Ok(0) => Err("invalid port: 0".to_owned()),
        Ok(port) => Ok(port),
        Err(_) => Err("invalid port: expected 1 to 65535".to_owned()),
    });
    Ok((host.to_owned(), port.transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found_and_decoded() {
        let url =
            ConnectionUrl::parse("MySQL://mon%40x:p%3Aw%2F:@[::1]:3307,db2/my%20db?a=1&A=2%26&b").unwrap();
        assert_eq!(
            (url.scheme.as_str(), url.user.as_deref(), url.password.as_deref()),
            ("mysql", Some("mon@x"), Some("p:w/:"))
        );
        assert_eq!(
            url.hosts,
            [("[::1]".to_owned(), Some(3307)), ("db2".to_owned(), None)]
        );
        assert_eq!((url.database.as_str(), url.param("a")), ("my db", Some("2&")));
        assert_eq!((url.param("b"), url.param("c")), (Some(""), None));
    }

    #[test]
    fn what_is_missing_is_missing_and_not_made_up() {
        let url = ConnectionUrl::parse("postgres://").unwrap();
        assert_eq!(
            (url.user.as_deref(), url.host(), url.database.as_str()),
            (None, None, "")
        );
        let url = ConnectionUrl::parse("redis://:secret@cache").unwrap();
        assert_eq!((url.user, url.password.as_deref()), (None, Some("secret")));
    }

    #[test]
    fn errors_repeat_nothing_of_the_text() {
        for text in [
            "secret",
            "x://u:secret@h:secret/",
            "x://u:secret%ff@h",
            "x://u:secret%00@h",
            "x://u:secret@h:0",
            "x://u:secret@h:70000",
        ] {
            let error = ConnectionUrl::parse(text).map(|_| ()).unwrap_err();
            assert!(!error.contains("secret") && !error.contains("70000"), "{error}");
        }
    }
}
