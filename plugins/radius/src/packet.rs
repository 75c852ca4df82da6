//! RADIUS packets: written, read, and the two digests that tell a server's answer from a forged one (RFC 2865 §3 and §5,
//! RFC 3579 §3.2). No I/O.
//!
//! MD5 is what the protocol uses. On its own it no longer protects an answer (RFC 2865's Response Authenticator);
//! HMAC-MD5 (Message-Authenticator) still does.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

/// Code, identifier, length, authenticator.
const HEADER: usize = 20;
/// Largest packet (RFC 2865 §3).
pub(crate) const MAX_PACKET: usize = 4096;

pub(crate) const ACCESS_REQUEST: u8 = 1;
pub(crate) const ACCESS_ACCEPT: u8 = 2;
pub(crate) const ACCESS_REJECT: u8 = 3;
pub(crate) const ACCOUNTING_RESPONSE: u8 = 5;
pub(crate) const ACCESS_CHALLENGE: u8 = 11;
pub(crate) const STATUS_SERVER: u8 = 12;

pub(crate) const USER_NAME: u8 = 1;
const USER_PASSWORD: u8 = 2;
const CHAP_PASSWORD: u8 = 3;
pub(crate) const REPLY_MESSAGE: u8 = 18;
pub(crate) const NAS_IDENTIFIER: u8 = 32;
const CHAP_CHALLENGE: u8 = 60;
pub(crate) const MESSAGE_AUTHENTICATOR: u8 = 80;

pub(crate) type Authenticator = [u8; 16];

/// A request being put together. Its Message-Authenticator comes first, before anything a forger may choose.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    code: u8,
    identifier: u8,
    authenticator: Authenticator,
    secret: &'a [u8],
    attributes: Vec<u8>,
}

impl<'a> Request<'a> {
    /// `authenticator` must be unpredictable and never used before with this secret (RFC 2865 §3).
    pub(crate) fn new(code: u8, identifier: u8, authenticator: Authenticator, secret: &'a str) -> Self {
        let mut request = Self {
            code,
            identifier,
            authenticator,
            secret: secret.as_bytes(),
            attributes: Vec::new(),
        };
        request.push(MESSAGE_AUTHENTICATOR, &[0; 16]);
        request
    }

    /// Adds an attribute of at most 253 bytes; the schema lets nothing longer in.
    pub(crate) fn push(&mut self, kind: u8, value: &[u8]) {
        let Some(length) = u8::try_from(value.len() + 2).ok() else {
            return;
        };
        self.attributes.extend([kind, length]);
        self.attributes.extend_from_slice(value);
    }

    /// Adds the password, hidden (RFC 2865 §5.2): at most 128 bytes of it.
    pub(crate) fn push_pap(&mut self, password: &str) {
        let mut hidden: Vec<u8> = Vec::new();
        let mut before = self.authenticator;
        let password = password.as_bytes();
        let blocks = password.chunks(16).take(8);
        // An empty password is one block of padding.
        for block in blocks.chain(password.is_empty().then_some(&[][..])) {
            let mut key: Authenticator = Md5::new()
                .chain_update(self.secret)
                .chain_update(before)
                .finalize()
                .into();
            for (byte, plain) in key.iter_mut().zip(block) {
                *byte ^= plain;
            }
            hidden.extend(key);
            before = key;
        }
        self.push(USER_PASSWORD, &hidden);
    }

    /// Adds the answer to a challenge of our own (RFC 2865 §5.3).
    pub(crate) fn push_chap(&mut self, id: u8, challenge: &Authenticator, password: &str) {
        let answer = Md5::new()
            .chain_update([id])
            .chain_update(password)
            .chain_update(challenge)
            .finalize();
        let mut value = vec![id];
        value.extend_from_slice(&answer);
        self.push(CHAP_PASSWORD, &value);
        self.push(CHAP_CHALLENGE, challenge);
    }

    /// The packet to send.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut packet = packet(self.code, self.identifier, &self.authenticator, &self.attributes);
        let seal = hmac(self.secret, &[&packet]);
        for (byte, sealed) in packet.iter_mut().skip(HEADER + 2).zip(seal) {
            *byte = sealed;
        }
        packet
    }

    /// Reads an answer to this request. `None` when it is for another one.
    pub(crate) fn answer(&self, bytes: &[u8]) -> Result<Option<Answer>, Unfit> {
        let header = bytes.first_chunk::<HEADER>().ok_or(Unfit::NoRadius)?;
        let [code, identifier, high, low, received @ ..] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        // What lies behind the length is padding (RFC 2865 §3).
        let attributes = bytes.get(HEADER..length).ok_or(Unfit::NoRadius)?;
        if identifier != self.identifier {
            return Ok(None);
        }
        let as_sent = packet(code, identifier, &self.authenticator, attributes);
        let expected = Md5::new()
            .chain_update(&as_sent)
            .chain_update(self.secret)
            .finalize();
        if expected[..] != received {
            return Err(Unfit::ResponseAuthenticator);
        }
        let mut answer = Answer {
            code,
            sealed: false,
            message: String::new(),
        };
        let mut rest = attributes;
        let mut at = HEADER;
        while let Some(Attribute { kind, value, behind }) = Attribute::first(rest)? {
            match kind {
                MESSAGE_AUTHENTICATOR => {
                    let zeroed = as_sent.get(..at + 2).zip(as_sent.get(at + 18..));
                    let (before, after) = zeroed.filter(|_| value.len() == 16).ok_or(Unfit::NoRadius)?;
                    if hmac(self.secret, &[before, &[0; 16], after]) != value {
                        return Err(Unfit::MessageAuthenticator);
                    }
                    answer.sealed = true;
                }
                REPLY_MESSAGE => answer.message.push_str(&String::from_utf8_lossy(value)),
                _ => {}
            }
            at += rest.len() - behind.len();
            rest = behind;
        }
        Ok(Some(answer))
    }
}

/// An attribute, and what is behind it.
struct Attribute<'a> {
    kind: u8,
    value: &'a [u8],
    behind: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The first one; `None` at the end.
    fn first(bytes: &'a [u8]) -> Result<Option<Self>, Unfit> {
        let [kind, length, ..] = *bytes else {
            return if bytes.is_empty() {
                Ok(None)
            } else {
                Err(Unfit::NoRadius)
            };
        };
        let (attribute, behind) = bytes.split_at_checked(length.into()).ok_or(Unfit::NoRadius)?;
        let value = attribute.get(2..).ok_or(Unfit::NoRadius)?;
        Ok(Some(Self { kind, value, behind }))
    }
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u8,
    /// Whether it carries a Message-Authenticator, which then is right.
    pub(crate) sealed: bool,
    /// Its words for the user.
    pub(crate) message: String,
}

/// Why a datagram is no answer of this server to this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is no RADIUS packet.
    NoRadius,
    /// It was made with another secret, or by somebody else.
    ResponseAuthenticator,
    /// It was changed on its way, or made by somebody else.
    MessageAuthenticator,
}

fn packet(code: u8, identifier: u8, authenticator: &Authenticator, attributes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + attributes.len()).unwrap_or(u16::MAX);
    let mut packet = vec![code, identifier];
    packet.extend(length.to_be_bytes());
    packet.extend(authenticator);
    packet.extend(attributes);
    packet
}

fn hmac(secret: &[u8], parts: &[&[u8]]) -> Authenticator {
    // HMAC takes keys of any length; what cannot be made seals nothing.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(secret) else {
        return [0; 16];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2865 §7.1: user "nemo" with password "arctangent" and secret "xyzzy5461".
    const NEMO: [u8; 16] = [
        0x0f, 0x40, 0x3f, 0x94, 0x73, 0x97, 0x80, 0x57, 0xbd, 0x83, 0xd5, 0xcb, 0x98, 0xf4, 0x22, 0x7a,
    ];

    fn request() -> Request<'static> {
        Request::new(ACCESS_REQUEST, 0, NEMO, "xyzzy5461")
    }

    #[test]
    fn a_password_is_hidden_as_in_the_rfc() {
        let mut request = request();
        request.push_pap("arctangent");
        let hidden = [
            0x02, 0x12, 0x0d, 0xbe, 0x70, 0x8d, 0x93, 0xd4, 0x13, 0xce, 0x31, 0x96, 0xe4, 0x3f, 0x78, 0x2a,
            0x0a, 0xee,
        ];
        assert_eq!(request.attributes[18..], hidden);
    }

    #[test]
    fn a_challenge_is_answered_as_in_the_rfc() {
        // RFC 2865 §7.2: user "flopsy", CHAP identifier 22, and the authenticator as the challenge.
        let challenge = [
            0x2a, 0xee, 0x86, 0xf0, 0x8d, 0x0d, 0x55, 0x96, 0x9c, 0xa5, 0x97, 0x8e, 0x0d, 0x33, 0x67, 0xa2,
        ];
        let mut request = request();
        request.push_chap(22, &challenge, "arctangent");
        let answer = [
            0x03, 0x13, 0x16, 0xe9, 0x75, 0x57, 0xc3, 0x16, 0x18, 0x58, 0x95, 0xf2, 0x93, 0xff, 0x63, 0x44,
            0x07, 0x72, 0x75,
        ];
        assert_eq!(request.attributes[18..37], answer);
    }

    #[test]
    fn passwords_of_all_lengths_fit() {
        for (length, hidden) in [(0, 16), (1, 16), (16, 16), (17, 32), (128, 128)] {
            let mut request = request();
            request.push_pap(&"x".repeat(length));
            assert_eq!(request.attributes.len() - 18, 2 + hidden, "{length}");
        }
    }

    #[test]
    fn a_status_request_is_sealed_as_in_the_rfc() {
        // RFC 5997 §6.1: identifier 218, secret "xyzzy5461".
        let authenticator = [
            0x8a, 0x54, 0xf4, 0x68, 0x6f, 0xb3, 0x94, 0xc5, 0x28, 0x66, 0xe3, 0x02, 0x18, 0x5d, 0x06, 0x23,
        ];
        let sealed = [
            0x0c, 0xda, 0x00, 0x26, 0x8a, 0x54, 0xf4, 0x68, 0x6f, 0xb3, 0x94, 0xc5, 0x28, 0x66, 0xe3, 0x02,
            0x18, 0x5d, 0x06, 0x23, 0x50, 0x12, 0x5a, 0x66, 0x5e, 0x2e, 0x1e, 0x84, 0x11, 0xf3, 0xe2, 0x43,
            0x82, 0x20, 0x97, 0xc8, 0x4f, 0xa3,
        ];
        let request = Request::new(STATUS_SERVER, 218, authenticator, "xyzzy5461");
        assert_eq!(request.bytes(), sealed);
        // And the answer to it.
        let answer = [
            0x02, 0xda, 0x00, 0x14, 0xef, 0x0d, 0x55, 0x2a, 0x4b, 0xf2, 0xd6, 0x93, 0xec, 0x2b, 0x6f, 0xe8,
            0xb5, 0x41, 0x1d, 0x66,
        ];
        let read = request.answer(&answer).unwrap().unwrap();
        assert_eq!((read.code, read.sealed), (ACCESS_ACCEPT, false));
    }

    #[test]
    fn an_accept_of_the_rfc_is_read() {
        let accept = [
            0x02, 0x00, 0x00, 0x26, 0x86, 0xfe, 0x22, 0x0e, 0x76, 0x24, 0xba, 0x2a, 0x10, 0x05, 0xf6, 0xbf,
            0x9b, 0x55, 0xe0, 0xb2, 0x06, 0x06, 0x00, 0x00, 0x00, 0x01, 0x0f, 0x06, 0x00, 0x00, 0x00, 0x00,
            0x0e, 0x06, 0xc0, 0xa8, 0x01, 0x03,
        ];
        let request = request();
        let answer = request.answer(&accept).unwrap().unwrap();
        assert_eq!((answer.code, answer.sealed), (ACCESS_ACCEPT, false));
        let padded = [&accept[..], &[0; 7]].concat();
        assert_eq!(request.answer(&padded), Ok(Some(answer)));
        let foreign = Request::new(ACCESS_REQUEST, 1, NEMO, "xyzzy5461");
        assert_eq!(foreign.answer(&accept), Ok(None));
        let stranger = Request::new(ACCESS_REQUEST, 0, NEMO, "other");
        assert_eq!(stranger.answer(&accept), Err(Unfit::ResponseAuthenticator));
    }

    /// An answer to `request` with these attributes, the Message-Authenticator as it is in them.
    fn signed(request: &Request<'_>, code: u8, attributes: &[u8]) -> Vec<u8> {
        let mut answer = packet(code, request.identifier, &request.authenticator, attributes);
        let digest = Md5::new()
            .chain_update(&answer)
            .chain_update(request.secret)
            .finalize();
        answer[4..20].copy_from_slice(&digest);
        answer
    }

    #[test]
    fn a_seal_counts_wherever_it_stands_and_only_when_it_is_right() {
        let request = request();
        let mut attributes = b"\x12\x04hi\x50\x12".to_vec();
        attributes.extend([0; 16]);
        let seal = hmac(b"xyzzy5461", &[&packet(ACCESS_REJECT, 0, &NEMO, &attributes)]);
        let wrong = signed(&request, ACCESS_REJECT, &attributes);
        assert_eq!(request.answer(&wrong), Err(Unfit::MessageAuthenticator));
        attributes[6..].copy_from_slice(&seal);
        let answer = request
            .answer(&signed(&request, ACCESS_REJECT, &attributes))
            .unwrap()
            .unwrap();
        assert_eq!((answer.sealed, answer.message.as_str()), (true, "hi"));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        let request = request();
        assert_eq!(request.answer(b""), Err(Unfit::NoRadius));
        assert_eq!(request.answer(&[2; 19]), Err(Unfit::NoRadius));
        assert_eq!(
            request.answer(&[0xff; 64]),
            Err(Unfit::NoRadius),
            "longer than it is"
        );
        assert_eq!(
            request.answer(&[0; 20]),
            Err(Unfit::NoRadius),
            "shorter than its header"
        );
        for attributes in [
            &b"\x12"[..],
            b"\x12\x00",
            b"\x12\x01",
            b"\x12\x09hi",
            b"\x50\x04hi",
        ] {
            let answer = signed(&request, ACCESS_ACCEPT, attributes);
            assert_eq!(request.answer(&answer), Err(Unfit::NoRadius), "{attributes:x?}");
        }
    }
}
