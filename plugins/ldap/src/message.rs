//! LDAP messages, to be sent and as received (RFC 4511 §4). No I/O.

use crate::ber::{
    BOOLEAN, ENUMERATED, INTEGER, Malformed, OCTETS, Reader, SEQUENCE, SET, element, nest, number,
};
use std::fmt;

/// Asks for TLS (RFC 4511 §4.14).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// "No attributes" (RFC 4511 §4.5.1.8).
const NO_ATTRIBUTES: &str = "1.1";

/// What to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search<'a> {
    pub(crate) base: &'a str,
    /// 0 the object itself, 1 one level below it, 2 the whole subtree.
    pub(crate) scope: u32,
    /// A filter in BER.
    pub(crate) filter: Vec<u8>,
    /// Attributes to send; none when empty.
    pub(crate) attributes: Vec<&'a str>,
    /// Most entries to send.
    pub(crate) size_limit: u32,
}

/// Simple bind; anonymous when both are empty.
pub(crate) fn bind(id: u32, dn: &str, password: &str) -> Vec<u8> {
    let credentials = element(0x80, password.as_bytes());
    let version = number(INTEGER, 3);
    message(
        id,
        nest(0x60, &[version, element(OCTETS, dn.as_bytes()), credentials]),
    )
}

pub(crate) fn start_tls(id: u32) -> Vec<u8> {
    message(id, nest(0x77, &[element(0x80, START_TLS)]))
}

pub(crate) fn search(id: u32, search: &Search<'_>) -> Vec<u8> {
    let wanted = match search.attributes.as_slice() {
        [] => &[NO_ATTRIBUTES],
        some => some,
    };
    let wanted: Vec<u8> = wanted
        .iter()
        .flat_map(|attribute| element(OCTETS, attribute.as_bytes()))
        .collect();
    let request = nest(
        0x63,
        &[
            element(OCTETS, search.base.as_bytes()),
            number(ENUMERATED, search.scope),
            // Aliases are not followed.
            number(ENUMERATED, 0),
            number(INTEGER, search.size_limit),
            // The run's own deadline is the limit.
            number(INTEGER, 0),
            element(BOOLEAN, &[0]),
            search.filter.clone(),
            element(SEQUENCE, &wanted),
        ],
    );
    message(id, request)
}

/// Takes leave; there is no answer.
pub(crate) fn unbind(id: u32) -> Vec<u8> {
    message(id, element(0x42, &[]))
}

fn message(id: u32, operation: Vec<u8>) -> Vec<u8> {
    nest(SEQUENCE, &[number(INTEGER, id), operation])
}

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// The request it belongs to; 0 for a notice of the server's own.
    pub(crate) id: u32,
    pub(crate) operation: Operation,
}

/// What a server may send to what we ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Bound(LdapResult),
    Entry(Entry),
    /// The search goes on elsewhere; it is not followed.
    Reference,
    Searched(LdapResult),
    Extended(LdapResult),
}

/// How an operation ended (RFC 4511 §4.1.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LdapResult {
    pub(crate) code: u32,
    /// The server's own words.
    pub(crate) message: String,
}

/// One object found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) dn: String,
    /// Names and values.
    pub(crate) attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Entry {
    /// The values of an attribute; case does not count (RFC 4512 §2.5), and options (`;lang-en`) are passed over.
    pub(crate) fn values<'a>(&'a self, attribute: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |name: &str| {
            name.eq_ignore_ascii_case(attribute)
                || name
                    .split_once(';')
                    .is_some_and(|(base, _)| base.eq_ignore_ascii_case(attribute))
        };
        let found = self.attributes.iter().filter(move |(name, _)| same(name));
        found.flat_map(|(_, values)| values.iter().map(Vec::as_slice))
    }
}

/// Reads one whole message. Elements behind those known are passed over, as the protocol wants (RFC 4511 §4).
pub(crate) fn read(bytes: &[u8]) -> Result<Received, Malformed> {
    let mut fields = Reader(Reader(bytes).expect(SEQUENCE)?);
    let id = fields.number(INTEGER)?;
    let (tag, content) = fields.any()?;
    let content = Reader(content);
    let operation = match tag {
        0x61 => Operation::Bound(result(content)?),
        0x64 => Operation::Entry(entry(content)?),
        0x65 => Operation::Searched(result(content)?),
        0x73 => Operation::Reference,
        0x78 => Operation::Extended(result(content)?),
        _ => return Err(Malformed("an operation that no server sends")),
    };
    Ok(Received { id, operation })
}

fn result(mut fields: Reader<'_>) -> Result<LdapResult, Malformed> {
    let code = fields.number(ENUMERATED)?;
    fields.expect(OCTETS)?; // the part of the name that was found
    let message = fields.text()?;
    Ok(LdapResult { code, message })
}

fn entry(mut fields: Reader<'_>) -> Result<Entry, Malformed> {
    let dn = fields.text()?;
    let mut list = Reader(fields.expect(SEQUENCE)?);
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let mut attribute = Reader(list.expect(SEQUENCE)?);
        let name = attribute.text()?;
        let mut set = Reader(attribute.expect(SET)?);
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(set.expect(OCTETS)?.to_vec());
        }
        attributes.push((name, values));
    }
    Ok(Entry { dn, attributes })
}

impl LdapResult {
    pub(crate) fn is_success(&self) -> bool {
        self.code == 0
    }

    /// The code's name (RFC 4511 §4.1.9 and appendix A).
    pub(crate) fn name(&self) -> Option<&'static str> {
        Some(match self.code {
            0 => "success",
            1 => "operations_error",
            2 => "protocol_error",
            3 => "time_limit_exceeded",
            4 => "size_limit_exceeded",
            7 => "auth_method_not_supported",
            8 => "stronger_auth_required",
            10 => "referral",
            11 => "admin_limit_exceeded",
            12 => "unavailable_critical_extension",
            13 => "confidentiality_required",
            16 => "no_such_attribute",
            17 => "undefined_attribute_type",
            18 => "inappropriate_matching",
            21 => "invalid_attribute_syntax",
            32 => "no_such_object",
            33 => "alias_problem",
            34 => "invalid_dn_syntax",
            36 => "alias_dereferencing_problem",
            48 => "inappropriate_authentication",
            49 => "invalid_credentials",
            50 => "insufficient_access_rights",
            51 => "busy",
            52 => "unavailable",
            53 => "unwilling_to_perform",
            54 => "loop_detect",
            80 => "other",
            _ => return None,
        })
    }
}

impl fmt::Display for LdapResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.code)?,
            None => write!(f, "{}", self.code)?,
        }
        // Active Directory ends its words with NUL.
        match self.message.trim_matches(['\0', ' ', '\n']) {
            "" => Ok(()),
            words => write!(f, " ({})", shown(words)),
        }
    }
}

/// A server's words, cut to what fits a line.
pub(crate) fn shown(words: &str) -> String {
    const MOST: usize = 160;
    match words.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_bytes_of_the_protocol() {
        assert_eq!(
            bind(1, "", ""),
            b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00",
            "anonymous"
        );
        assert_eq!(
            start_tls(1),
            b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
        );
        assert_eq!(unbind(3), b"\x30\x05\x02\x01\x03\x42\x00");
        let root = Search {
            base: "",
            scope: 0,
            filter: b"\x87\x0bobjectclass".to_vec(),
            attributes: Vec::new(),
            size_limit: 1,
        };
        assert_eq!(
            search(2, &root),
            b"\x30\x2a\x02\x01\x02\x63\x25\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x01\x02\x01\x00\x01\x01\x00\
              \x87\x0bobjectclass\x30\x05\x04\x031.1"
        );
    }

    #[test]
    fn answers_are_read() {
        // As OpenLDAP refuses a password.
        let refused = read(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00").unwrap();
        let Operation::Bound(result) = refused.operation else {
            panic!("not the answer to bind")
        };
        assert_eq!(
            (refused.id, result.to_string().as_str()),
            (1, "49 invalid_credentials")
        );
        // RFC 4511 has no example; this is an entry with one attribute of two values, and a control behind it.
        let entry = b"\x30\x23\x02\x01\x02\x64\x18\x04\x04cn=x\x30\x10\x30\x0e\x04\x02CN\x31\x08\x04\x01a\x04\x03b\xff\
                      c\xa0\x04\x30\x02\x04\x00";
        let Operation::Entry(entry) = read(entry).unwrap().operation else {
            panic!("not an entry")
        };
        assert_eq!(entry.dn, "cn=x");
        let values: Vec<_> = entry.values("cn").collect();
        assert_eq!(values, [&b"a"[..], b"b\xffc"]);
        assert_eq!(entry.values("c").count(), 0);
    }

    #[test]
    fn options_of_an_attribute_are_passed_over() {
        let entry = Entry {
            dn: String::new(),
            attributes: vec![("cn;lang-en".into(), vec![b"x".to_vec()])],
        };
        assert_eq!(entry.values("CN").count(), 1);
        assert_eq!(entry.values("cn;lang-en").count(), 1);
        assert_eq!(entry.values("cn;lang-de").count(), 0);
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_survived() {
        let whole = b"\x30\x1d\x02\x01\x02\x64\x18\x04\x04cn=x\x30\x10\x30\x0e\x04\x02CN\x31\x08\x04\x01a\x04\x03b\xffc";
        assert!(read(whole).is_ok());
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut broken = whole.to_vec();
                broken[at] ^= 1 << bit;
                // Right or wrong, it ends.
                let _ = read(&broken);
            }
        }
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        assert!(read(&bind(1, "", "")).is_err());
        assert!(read(b"HTTP/1.1 400 Bad Request\r\n").is_err());
    }
}
