//! SNMP messages as bytes: RFC 1157 and RFC 3416 (PDUs), RFC 3412 and RFC 3414 (version 3).

use crate::native::ber::{
    INTEGER, NULL, OCTETS, OID, Reader, SEQUENCE, dotted, integer, nested, signed, unsigned, value,
};
use std::{fmt, net::Ipv4Addr};

/// Kinds of PDU.
pub(super) const GET: u8 = 0xa0;
pub(super) const RESPONSE: u8 = 0xa2;
pub(super) const REPORT: u8 = 0xa8;

/// `msgFlags` of version 3.
pub(super) const AUTHENTICATED: u8 = 1;
pub(super) const ENCRYPTED: u8 = 2;
pub(super) const REPORTABLE: u8 = 4;

/// The largest message we take, and the number of version 3's user-based security model.
const MAX_SIZE: i64 = 65_507;
const USER_BASED: i64 = 3;
const V3: i64 = 3;

/// The value of an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    Unsigned(u64),
    Octets(Vec<u8>),
    Oid(String),
    Address([u8; 4]),
    Null,
    Real(f64),
    NoSuchObject,
    NoSuchInstance,
    EndOfMib,
}

/// What is asked or answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pdu {
    pub(super) kind: u8,
    pub(super) request_id: i64,
    pub(super) error_status: i64,
    /// Object identifiers as the content of their BER values.
    pub(super) varbinds: Vec<(Vec<u8>, Value)>,
}

/// The head of a version 3 message, and its security parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: i64,
    pub(super) flags: u8,
    pub(super) engine: Vec<u8>,
    pub(super) boots: i64,
    pub(super) time: i64,
    pub(super) user: Vec<u8>,
    pub(super) auth: Vec<u8>,
    pub(super) salt: Vec<u8>,
}

/// A version 3 message that came in.
#[derive(Debug)]
pub(super) struct Secured<'a> {
    pub(super) head: Head,
    /// All of it, and where in it the proof (`head.auth`) is.
    pub(super) whole: &'a [u8],
    pub(super) auth_at: usize,
    /// `OCTETS` where it is encrypted.
    pub(super) scoped_tag: u8,
    pub(super) scoped: &'a [u8],
}

/// A GET; of nothing, to learn who the agent is.
pub(super) fn get(request_id: i64, oid: Option<&[u8]>) -> Vec<u8> {
    let binding = |oid: &[u8]| nested(SEQUENCE, &[value(OID, oid), value(NULL, &[])]);
    let bindings: Vec<Vec<u8>> = oid.map(binding).into_iter().collect();
    nested(
        GET,
        &[
            integer(request_id),
            integer(0),
            integer(0),
            nested(SEQUENCE, &bindings),
        ],
    )
}

/// A message of version 1 or 2c.
pub(super) fn with_community(version: i64, community: &[u8], pdu: Vec<u8>) -> Vec<u8> {
    nested(SEQUENCE, &[integer(version), value(OCTETS, community), pdu])
}

/// The scope of a version 3 PDU.
pub(super) fn scoped(engine: &[u8], context: &[u8], pdu: Vec<u8>) -> Vec<u8> {
    nested(SEQUENCE, &[value(OCTETS, engine), value(OCTETS, context), pdu])
}

/// A version 3 message, and where in it the proof is; `content` is a scoped PDU, or the octets of an encrypted one.
pub(super) fn secured(head: &Head, content: &[u8]) -> (Vec<u8>, usize) {
    let global = [
        integer(head.id),
        integer(MAX_SIZE),
        value(OCTETS, &[head.flags]),
        integer(USER_BASED),
    ];
    let salt = value(OCTETS, &head.salt);
    let after_auth = salt.len() + content.len();
    let security = [
        value(OCTETS, &head.engine),
        integer(head.boots),
        integer(head.time),
        value(OCTETS, &head.user),
        value(OCTETS, &head.auth),
        salt,
    ];
    let message = nested(
        SEQUENCE,
        &[
            integer(V3),
            nested(SEQUENCE, &global),
            value(OCTETS, &nested(SEQUENCE, &security)),
            content.to_vec(),
        ],
    );
    let auth_at = message.len() - after_auth - head.auth.len();
    (message, auth_at)
}

/// Reads a message of version 1 or 2c: version, community, PDU.
pub(super) fn read_community(bytes: &[u8]) -> Option<(i64, &[u8], Pdu)> {
    let mut message = Reader(bytes).inside(SEQUENCE)?;
    let (version, community) = (message.integer()?, message.take(OCTETS)?);
    Some((version, community, read_pdu(&mut message)?))
}

/// Reads a version 3 message; nothing in it is to be trusted yet.
pub(super) fn read_secured(bytes: &[u8]) -> Option<Secured<'_>> {
    let mut outer = Reader(bytes);
    let mut message = outer.inside(SEQUENCE)?;
    let whole = bytes.get(..bytes.len() - outer.0.len())?;
    if message.integer()? != V3 {
        return None;
    }
    let mut global = message.inside(SEQUENCE)?;
    let (id, _, flags) = (
        global.integer()?,
        global.integer()?,
        *global.take(OCTETS)?.first()?,
    );
    if global.integer()? != USER_BASED {
        return None;
    }
    let mut octets = Reader(message.take(OCTETS)?);
    let mut security = octets.inside(SEQUENCE)?;
    let (engine, boots, time) = (security.take(OCTETS)?, security.integer()?, security.integer()?);
    let (user, auth) = (security.take(OCTETS)?, security.take(OCTETS)?);
    let after_auth = security.0.len() + octets.0.len() + message.0.len();
    let salt = security.take(OCTETS)?;
    let (scoped_tag, scoped) = message.next()?;
    Some(Secured {
        head: Head {
            id,
            flags,
            engine: engine.to_vec(),
            boots,
            time,
            user: user.to_vec(),
            auth: auth.to_vec(),
            salt: salt.to_vec(),
        },
        auth_at: whole.len().checked_sub(after_auth + auth.len())?,
        whole,
        scoped_tag,
        scoped,
    })
}

/// The PDU of a scope; `content` is that of its sequence.
pub(super) fn read_scoped(content: &[u8]) -> Option<Pdu> {
    let mut scope = Reader(content);
    let (_engine, _context) = (scope.take(OCTETS)?, scope.take(OCTETS)?);
    read_pdu(&mut scope)
}

fn read_pdu(reader: &mut Reader<'_>) -> Option<Pdu> {
    let (kind, content) = reader.next()?;
    let mut pdu = Reader(content);
    let (request_id, error_status, _index) = (pdu.integer()?, pdu.integer()?, pdu.integer()?);
    let mut list = pdu.inside(SEQUENCE)?;
    let mut varbinds = Vec::new();
    while !list.0.is_empty() {
        let mut binding = list.inside(SEQUENCE)?;
        let oid = binding.take(OID)?.to_vec();
        let (tag, content) = binding.next()?;
        varbinds.push((oid, Value::read(tag, content)?));
    }
    Some(Pdu {
        kind,
        request_id,
        error_status,
        varbinds,
    })
}

impl Value {
    /// RFC 2578 §7.1 (types), RFC 3416 §3 (exceptions).
    fn read(tag: u8, content: &[u8]) -> Option<Self> {
        Some(match tag {
            INTEGER => Self::Integer(signed(content)?),
            OCTETS => Self::Octets(content.to_vec()),
            NULL => Self::Null,
            OID => Self::Oid(dotted(content)?),
            0x40 => Self::Address(*content.first_chunk()?),
            // Counter32, Gauge32, TimeTicks, Counter64, UInteger32.
            0x41 | 0x42 | 0x43 | 0x46 | 0x47 => Self::Unsigned(unsigned(content)?),
            0x44 => opaque(content),
            0x80 => Self::NoSuchObject,
            0x81 => Self::NoSuchInstance,
            0x82 => Self::EndOfMib,
            _ => return None,
        })
    }
}

/// Net-SNMP's floats in an Opaque (draft-perkins-opaque-01); all else is bytes.
fn opaque(content: &[u8]) -> Value {
    match content {
        [0x9f, 0x78, 4, float @ ..] => float
            .first_chunk()
            .map(|bytes| Value::Real(f64::from(f32::from_be_bytes(*bytes)))),
        [0x9f, 0x79, 8, float @ ..] => float
            .first_chunk()
            .map(|bytes| Value::Real(f64::from_be_bytes(*bytes))),
        _ => None,
    }
    .unwrap_or_else(|| Value::Octets(content.to_vec()))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Unsigned(number) => number.fmt(f),
            Self::Octets(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::Oid(oid) => f.write_str(oid),
            Self::Address(octets) => Ipv4Addr::from(*octets).fmt(f),
            Self::Real(number) => number.fmt(f),
            // As Go prints it.
            Self::Null => f.write_str("<nil>"),
            Self::NoSuchObject => f.write_str("noSuchObject"),
            Self::NoSuchInstance => f.write_str("noSuchInstance"),
            Self::EndOfMib => f.write_str("endOfMibView"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_told_as_go_tells_them() {
        for (tag, content, text) in [
            (2, &[0xff][..], "-1"),
            (
                0x46,
                &[0, 255, 255, 255, 255, 255, 255, 255, 255],
                "18446744073709551615",
            ),
            (0x43, &[1, 0], "256"),
            (4, b"Linux", "Linux"),
            (6, &[0x2b, 6, 1], ".1.3.6.1"),
            (0x40, &[192, 0, 2, 7], "192.0.2.7"),
            (5, &[], "<nil>"),
            (0x44, &[0x9f, 0x78, 4, 0x3f, 0xc0, 0, 0], "1.5"),
        ] {
            assert_eq!(Value::read(tag, content).unwrap().to_string(), text);
        }
        assert_eq!(Value::read(0x45, &[1]), None);
    }

    #[test]
    fn the_proof_is_found_where_it_was_put() {
        let head = Head {
            id: 77,
            flags: AUTHENTICATED,
            engine: vec![0x80; 17],
            boots: 300,
            time: 70_000,
            user: b"reader".to_vec(),
            auth: vec![0xaa; 24],
            salt: vec![1; 8],
        };
        let pdu = get(77, Some(&[0x2b, 6, 1]));
        let (message, at) = secured(&head, &scoped(&head.engine, b"", pdu));
        assert_eq!(message[at..at + 24], [0xaa; 24]);
        let read = read_secured(&message).unwrap();
        assert_eq!((&read.head, read.auth_at, read.scoped_tag), (&head, at, SEQUENCE));
        let pdu = read_scoped(read.scoped).unwrap();
        assert_eq!((pdu.kind, pdu.request_id), (GET, 77));
        assert_eq!(pdu.varbinds, [(vec![0x2b, 6, 1], Value::Null)]);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let _ = (read_community(&bytes), read_secured(&bytes).map(|read| read.auth_at), read_scoped(&bytes));
        }

        #[test]
        fn no_message_cut_or_changed_is_too_odd(at in 0_usize..90, byte: u8) {
            let head = Head { auth: vec![0; 12], ..Head::default() };
            let (mut message, _) = secured(&head, &scoped(b"engine", b"", get(1, Some(&[0x2b, 6]))));
            let _ = read_secured(message.get(..at).unwrap_or_default());
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
            if let Some(read) = read_secured(&message) {
                prop_assert!(read.auth_at + read.head.auth.len() <= read.whole.len());
            }
        }
    }
}
