//! SSH's data types and packets in plain text (RFC 4251 §5, RFC 4253 §6). No I/O; nothing here trusts a length.

/// Longest packet accepted, without its length field (RFC 4253 §6.1).
pub(crate) const MAX_PACKET: u32 = 35_000;

/// Bytes that are not what the protocol has at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Takes one value after another from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Malformed("a message that ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    pub(crate) fn uint32(&mut self) -> Result<u32, Malformed> {
        Ok(self
            .take(4)?
            .iter()
            .fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.uint32()?).unwrap_or(usize::MAX);
        self.take(length)
    }

    /// A positive mpint without leading zeros.
    pub(crate) fn natural(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = self.string()?;
        if bytes.first().is_some_and(|&first| first & 0x80 != 0) {
            return Err(Malformed("a negative number"));
        }
        Ok(trim(bytes))
    }

    /// Names with commas between them, in US-ASCII.
    pub(crate) fn names(&mut self) -> Result<Vec<String>, Malformed> {
        let list = std::str::from_utf8(self.string()?)
            .ok()
            .filter(|list| list.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or(Malformed("a name that is not printable ASCII"))?;
        Ok(list
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect())
    }
}

/// Appends a string.
pub(crate) fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend_from_slice(bytes);
}

/// Appends the natural number of these big-endian bytes as an mpint.
pub(crate) fn put_natural(to: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = trim(bytes);
    if bytes.first().is_some_and(|&first| first & 0x80 != 0) {
        put_string(to, &[&[0], bytes].concat());
    } else {
        put_string(to, bytes);
    }
}

/// A packet around `payload`, before any encryption: a multiple of 8 bytes, at least 4 of them padding.
pub(crate) fn packet(payload: &[u8]) -> Vec<u8> {
    let unpadded = 4 + 1 + payload.len();
    let padding = 4 + (8 - (unpadded + 4) % 8) % 8;
    let length = u32::try_from(1 + payload.len() + padding).unwrap_or(u32::MAX);
    let mut packet = length.to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap_or_default());
    packet.extend_from_slice(payload);
    packet.resize(unpadded + padding, 0);
    packet
}

/// The length a packet claims to have behind its length field, if that is believable.
pub(crate) fn packet_length(head: &[u8]) -> Result<u32, Malformed> {
    let length = Reader(head).uint32()?;
    if (12..=MAX_PACKET).contains(&length) && (length + 4) % 8 == 0 {
        Ok(length)
    } else {
        Err(Malformed("a packet of an impossible length"))
    }
}

/// The payload within the rest of a packet; never empty.
pub(crate) fn payload(rest: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader(rest);
    let padding = usize::from(reader.byte()?);
    let length = reader.0.len().checked_sub(padding).filter(|&length| length > 0);
    reader.take(length.ok_or(Malformed("a packet of nothing but padding"))?)
}

/// Big-endian bytes without leading zeros.
fn trim(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        for length in 1..50 {
            let sent = vec![7; length];
            let packet = packet(&sent);
            let (head, rest) = packet.split_at(4);
            assert_eq!(packet.len() % 8, 0);
            assert_eq!(packet_length(head), Ok(u32::try_from(rest.len()).unwrap()));
            assert_eq!(payload(rest), Ok(&sent[..]));
            assert!(rest[0] >= 4, "RFC 4253 §6: at least four bytes of padding");
        }
    }

    #[test]
    fn lengths_that_lie_are_malformed() {
        for length in [0_u32, 4, 11, 13, MAX_PACKET + 4, u32::MAX - 3, 0x4854_5450] {
            assert!(packet_length(&length.to_be_bytes()).is_err(), "{length}");
        }
        assert!(packet_length(&[0, 0]).is_err());
        assert!(payload(&[]).is_err());
        assert!(payload(&[4, 0, 0, 0, 0]).is_err(), "nothing but padding");
        assert!(payload(&[255, 20, 0, 0, 0]).is_err(), "more padding than packet");
        for bytes in [&[0, 0, 0, 9, 1][..], &[0xff, 0xff, 0xff, 0xff], &[0, 0]] {
            assert!(Reader(bytes).string().is_err());
            assert!(Reader(bytes).names().is_err());
            assert!(Reader(bytes).natural().is_err());
        }
    }

    #[test]
    fn numbers_are_written_as_the_rfc_shows() {
        let written = |bytes: &[u8]| {
            let mut to = Vec::new();
            put_natural(&mut to, bytes);
            to
        };
        assert_eq!(written(&[0, 0]), [0, 0, 0, 0]);
        assert_eq!(written(&[0x80]), [0, 0, 0, 2, 0, 0x80]);
        assert_eq!(written(&[0, 0x09, 0xa3, 0x78]), [0, 0, 0, 3, 0x09, 0xa3, 0x78]);
        assert_eq!(Reader(&written(&[0x80])).natural(), Ok(&[0x80][..]));
        assert!(Reader(&[0, 0, 0, 1, 0x80]).natural().is_err(), "negative");
    }

    #[test]
    fn names_must_be_printable() {
        let names = |list: &str| {
            let mut bytes = Vec::new();
            put_string(&mut bytes, list.as_bytes());
            Reader(&bytes).names()
        };
        assert_eq!(names("a,b@c"), Ok(vec!["a".into(), "b@c".into()]));
        assert_eq!(names(""), Ok(Vec::new()));
        assert!(names("a\u{1b}[31m").is_err());
        assert!(names("ä").is_err());
    }
}
