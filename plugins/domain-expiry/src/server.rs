//! Which RDAP server knows a domain (RFC 9224). No I/O.

use lapwing_plugin_sdk::serde_json;
use serde::Deserialize;

/// IANA's list.
pub(crate) const BOOTSTRAP: &str = "https://data.iana.org/rdap/dns.json";
/// Largest list accepted; IANA's has some 60 KiB.
pub(crate) const MAX_BOOTSTRAP: u32 = 1 << 20;

/// Servers of common top-level domains, as IANA lists them: so that most runs ask one server and not two.
const KNOWN: [(&str, &str); 23] = [
    ("com", "https://rdap.verisign.com/com/v1/"),
    ("net", "https://rdap.verisign.com/net/v1/"),
    ("org", "https://rdap.publicinterestregistry.org/rdap/"),
    ("info", "https://rdap.identitydigital.services/rdap/"),
    ("ai", "https://rdap.identitydigital.services/rdap/"),
    ("biz", "https://rdap.nic.biz/"),
    ("name", "https://tld-rdap.verisign.com/name/v1/"),
    ("app", "https://pubapi.registry.google/rdap/"),
    ("dev", "https://pubapi.registry.google/rdap/"),
    ("page", "https://pubapi.registry.google/rdap/"),
    ("online", "https://rdap.radix.host/rdap/"),
    ("site", "https://rdap.radix.host/rdap/"),
    ("store", "https://rdap.radix.host/rdap/"),
    ("tech", "https://rdap.radix.host/rdap/"),
    ("shop", "https://rdap.gmoregistry.net/rdap/"),
    ("xyz", "https://rdap.centralnic.com/xyz/"),
    ("br", "https://rdap.registro.br/"),
    ("cz", "https://rdap.nic.cz/"),
    ("fr", "https://rdap.nic.fr/"),
    ("nl", "https://rdap.sidn.nl/"),
    ("no", "https://rdap.norid.no/"),
    ("pl", "https://rdap.dns.pl/"),
    ("uk", "https://rdap.nominet.uk/uk/"),
];

/// The hosts among them and IANA's, for the operator to grant.
pub(crate) const HOSTS: &[&str] = &[
    "data.iana.org:443",
    "rdap.verisign.com:443",
    "rdap.publicinterestregistry.org:443",
    "rdap.identitydigital.services:443",
    "rdap.nic.biz:443",
    "tld-rdap.verisign.com:443",
    "pubapi.registry.google:443",
    "rdap.radix.host:443",
    "rdap.gmoregistry.net:443",
    "rdap.centralnic.com:443",
    "rdap.registro.br:443",
    "rdap.nic.cz:443",
    "rdap.nic.fr:443",
    "rdap.sidn.nl:443",
    "rdap.norid.no:443",
    "rdap.dns.pl:443",
    "rdap.nominet.uk:443",
];

/// The server of a domain in lower case, if it is one of those known here.
pub(crate) fn known(domain: &str) -> Option<&'static str> {
    let (_, last) = domain.rsplit_once('.')?;
    KNOWN.iter().find(|(name, _)| *name == last).map(|(_, url)| *url)
}

/// The list's form: pairs of names and the servers for them (RFC 9224 §4).
#[derive(Deserialize)]
struct Bootstrap {
    services: Vec<Vec<Vec<String>>>,
}

/// The server of a domain in lower case by such a list: that of the longest name the domain ends with, by HTTPS where
/// there is a choice. `Err` when the list cannot be read.
pub(crate) fn listed(list: &[u8], domain: &str) -> Result<Option<String>, String> {
    let list: Bootstrap =
        serde_json::from_slice(list).map_err(|error| format!("the list of RDAP servers is {error}"))?;
    let mut best: Option<(usize, &str)> = None;
    for service in &list.services {
        let [names, urls, ..] = service.as_slice() else {
            continue;
        };
        let url = urls.iter().find(|url| url.starts_with("https:")).or(urls.first());
        let longest = names
            .iter()
            .filter(|name| ends(domain, name))
            .map(String::len)
            .max();
        if let (Some(url), Some(length)) = (url, longest)
            && best.is_none_or(|(before, _)| length > before)
        {
            best = Some((length, url));
        }
    }
    Ok(best.map(|(_, url)| url.to_owned()))
}

/// Whether the last labels of `domain` are those of `name`.
fn ends(domain: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    domain
        .strip_suffix(name.as_str())
        .is_some_and(|rest| !name.is_empty() && (rest.is_empty() || rest.ends_with('.')))
}

/// Where a server tells of a domain (RFC 9082 §3.1.3).
pub(crate) fn question(server: &str, domain: &str) -> String {
    format!("{}/domain/{domain}", server.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9224 §4.
    const LIST: &str = r#"{"version":"1.0","publication":"2024-01-07T10:11:12Z","description":"Some text","services":[
        [["net","com"],["https://registry.example.com/myrdap/"]],
        [["org","mytld"],["https://example.org/"]],
        [["xn--zckzah"],["https://example.net/rdap/xn--zckzah/","http://example.net/rdap/xn--zckzah/"]],
        [["co.uk","uk"],["http://example.uk/","https://example.uk/"]],
        [["k"],["https://wrong.example/"]],
        [["broken"]]]}"#;

    #[test]
    fn the_longest_name_and_https_win() {
        let found = |domain: &str| listed(LIST.as_bytes(), domain).unwrap();
        assert_eq!(
            found("example.com").as_deref(),
            Some("https://registry.example.com/myrdap/")
        );
        assert_eq!(
            found("a.xn--zckzah").as_deref(),
            Some("https://example.net/rdap/xn--zckzah/")
        );
        assert_eq!(found("a.co.uk").as_deref(), Some("https://example.uk/"));
        assert_eq!(found("a.example"), None);
        assert_eq!(found("a.broken"), None);
        assert!(listed(b"<html>", "a.com").is_err());
        assert!(listed(br#"{"services":[[["com"],"x"]]}"#, "a.com").is_err());
    }

    #[test]
    fn a_domain_is_asked_about_below_the_servers_path() {
        assert_eq!(
            question(known("example.com").unwrap(), "example.com"),
            "https://rdap.verisign.com/com/v1/domain/example.com"
        );
        assert_eq!(
            question("http://127.0.0.1:1", "a.b"),
            "http://127.0.0.1:1/domain/a.b"
        );
        assert_eq!(known("example.test"), None);
        assert_eq!(known("com"), None, "no domain of anybody");
    }

    #[test]
    fn every_known_server_is_asked_for_in_the_capability() {
        for (_, url) in KNOWN {
            let host = url.strip_prefix("https://").unwrap().split('/').next().unwrap();
            assert!(HOSTS.contains(&format!("{host}:443").as_str()), "{host}");
        }
    }
}
