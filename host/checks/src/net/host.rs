//! What a configured host is: a literal address or a name, told apart strictly.
//!
//! C libraries read `0x7f.1`, `127.1` and `2130706433` as 127.0.0.1. A policy that reads them as names and a dialler
//! that reads them as addresses is how filters are walked around, so such spellings are refused outright. (In URLs the
//! `url` crate has already rewritten them to plain addresses, as WHATWG's URL standard demands.)

use super::NetError;
use std::{fmt, net::IpAddr};

/// Longest name in DNS, in presentation form without the trailing dot (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

/// Longest name in Unicode, in bytes: four for each character there can be. More of it costs time (IDNA) and says nothing.
pub(super) const MAX_UNICODE: usize = 4 * MAX_NAME;

/// A host, either spelling checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A literal address; IPv4-mapped IPv6 is turned into the IPv4 address it stands for.
    Address(IpAddr),
    /// A name in lower-case ASCII without a trailing dot.
    Name(String),
}

impl Host {
    /// Reads a strict IPv4 literal, an IPv6 literal (bare or in brackets) or a DNS name (also in Unicode, per IDNA).
    pub fn parse(text: &str) -> Result<Self, NetError> {
        if text.len() > MAX_UNICODE {
            return Err(NetError::InvalidInput(format!(
                "host of {} bytes: a DNS name has {MAX_NAME} at most",
                text.len()
            )));
        }
        // What stands before an `@` may be a password.
        let shown = text
            .rsplit_once('@')
            .map_or(text, |(_, host)| host)
            .escape_debug();
        let refuse =
            || NetError::InvalidInput(format!("host `{shown}` is neither an IP address nor a DNS name"));
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            let bracketed_v4 = bare.is_some() && address.is_ipv4();
            return if bracketed_v4 {
                Err(refuse())
            } else {
                Ok(Self::Address(address.to_canonical()))
            };
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let name = if name.is_ascii() {
            name.to_ascii_lowercase()
        } else {
            match url::Host::parse(name) {
                Ok(url::Host::Domain(name)) => name,
                _ => return Err(refuse()),
            }
        };
        if is_name(&name) {
            Ok(Self::Name(name))
        } else {
            Err(refuse())
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Underscores are allowed: they are no host name (RFC 952), but resolvers and container networks use them.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= MAX_NAME && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(is_number)
}

/// Whether C's `inet_aton` would read the label as a number: decimal, octal or hexadecimal.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    hex.map_or_else(
        || label.bytes().all(|b| b.is_ascii_digit()),
        |hex| hex.bytes().all(|b| b.is_ascii_hexdigit()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_strict_and_canonical() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("[::ffff:7f00:1]", "127.0.0.1"),
        ] {
            assert_eq!(
                Host::parse(text),
                Ok(Host::Address(address.parse().unwrap())),
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_lower_case_ascii_without_the_last_dot() {
        for (text, name) in [
            ("Example.COM.", "example.com"),
            ("localhost", "localhost"),
            ("my_service", "my_service"),
            ("bücher.de", "xn--bcher-kva.de"),
            ("1.2.3.4.nip.io", "1.2.3.4.nip.io"),
            ("0xcafe.example", "0xcafe.example"),
        ] {
            assert_eq!(Host::parse(text), Ok(Host::Name(name.into())), "{text}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_name_is_not_even_read() {
        let dots = "。".repeat(1_000_000);
        let error = Host::parse(&dots).unwrap_err().to_string();
        assert_eq!(error, "host of 3000000 bytes: a DNS name has 253 at most");
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(Host::parse(&longest), Ok(Host::Name(longest.clone())));
    }

    #[test]
    fn odd_spellings_of_addresses_are_refused() {
        for text in [
            "0x7f.1",
            "2130706433",
            "127.1",
            "0177.0.0.1",
            "0x7f000001",
            "127.0.0.1.",
            "0",
            "１２７.0.0.1",
            "127。0。0。1",
            "%31%32%37.0.0.1",
            "[127.0.0.1]",
            "[::1",
            "::1]",
            "fe80::1%eth0",
            "1.2.3.4.5",
            "0x",
            "",
            ".",
            "a..b",
            "-a b",
            "user@host",
            "host:80",
            "a/b",
            "a\0b",
            "example.com..",
        ] {
            assert!(
                matches!(Host::parse(text), Err(NetError::InvalidInput(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_error_shows_no_password_and_nothing_a_terminal_obeys() {
        let text = Host::parse("mqtt://u:secret@ho\u{1b}st").unwrap_err().to_string();
        assert_eq!(text, r"host `ho\u{1b}st` is neither an IP address nor a DNS name");
    }
}
