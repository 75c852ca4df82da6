//! Echo requests and replies as bytes: RFC 792 (IPv4), RFC 4443 §4 (IPv6).

use std::net::IpAddr;

/// The most that stands before an echo's payload: an IPv4 header with options, and the ICMP header.
pub(super) const MAX_HEADERS: usize = 60 + HEADER;

/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// Which ICMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn request_type(self) -> u8 {
        match self {
            Self::V4 => 8,
            Self::V6 => 128,
        }
    }

    fn reply_type(self) -> u8 {
        match self {
            Self::V4 => 0,
            Self::V6 => 129,
        }
    }
}

/// An echo request. Of ICMPv6, whose checksum covers addresses, the kernel fills it in.
pub(super) fn request(family: Family, identifier: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![family.request_type(), 0, 0, 0];
    packet.extend(identifier.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(payload);
    if family == Family::V4 {
        let sum = checksum(&packet).to_be_bytes();
        for (place, byte) in packet.iter_mut().skip(2).zip(sum) {
            *place = byte;
        }
    }
    packet
}

/// The sequence number, if `bytes` are the echo of a request with this identifier and payload. A raw IPv4 socket gets the
/// IP header, too.
pub(super) fn reply(
    family: Family,
    raw: bool,
    bytes: &[u8],
    identifier: Option<u16>,
    payload: &[u8],
) -> Option<u16> {
    let bytes = if raw && family == Family::V4 {
        let words = usize::from(bytes.first()? & 0x0f);
        bytes.get(words * 4..)?
    } else {
        bytes
    };
    let (&[kind, code, _, _, id_high, id_low, high, low], echoed) = bytes.split_first_chunk::<HEADER>()?;
    let ours = identifier.is_none_or(|ours| ours == u16::from_be_bytes([id_high, id_low]));
    let is_echo = kind == family.reply_type() && code == 0 && ours && echoed == payload;
    is_echo.then_some(u16::from_be_bytes([high, low]))
}

/// RFC 1071: the one's complement of the one's complement sum of 16-bit words.
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    };
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        // Its own example, §3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes), !0xddf2);
        let sent = request(Family::V4, 7, 9, b"odd");
        assert_eq!(
            checksum(&sent),
            0,
            "a packet with its checksum sums up to nothing"
        );
    }

    #[test]
    fn only_the_echo_of_our_own_request_counts() {
        let echo = |kind: u8, identifier: u16, payload: &[u8]| {
            let mut packet = request(Family::V4, identifier, 3, payload);
            packet[0] = kind;
            packet
        };
        let read = |bytes: &[u8]| reply(Family::V4, false, bytes, Some(7), b"ours");
        assert_eq!(read(&echo(0, 7, b"ours")), Some(3));
        for (what, packet) in [
            ("the request itself", echo(8, 7, b"ours")),
            ("unreachable", echo(3, 7, b"ours")),
            ("another identifier", echo(0, 8, b"ours")),
            ("another payload", echo(0, 7, b"your")),
            ("a longer payload", echo(0, 7, b"ours!")),
        ] {
            assert_eq!(read(&packet), None, "{what}");
        }
        let mut with_header = vec![0x45; 20];
        with_header.extend(echo(0, 7, b"ours"));
        assert_eq!(reply(Family::V4, true, &with_header, Some(7), b"ours"), Some(3));
        let v6 = [&[129, 0, 0, 0, 0, 7, 0, 4], &b"ours"[..]].concat();
        assert_eq!(reply(Family::V6, true, &v6, Some(7), b"ours"), Some(4));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>, raw: bool) {
            let _ = reply(Family::V4, raw, &bytes, Some(1), b"");
            let _ = reply(Family::V6, raw, &bytes, None, b"");
        }
    }
}
