//! The 48 bytes of an NTP packet, as a client writes and reads them (RFC 5905 §7.3). No I/O.

use crate::timestamp::Timestamp;
use std::{fmt, net::Ipv4Addr};

/// Without extension fields and authentication, which are not used.
pub(crate) const LENGTH: usize = 48;
/// Version 4, mode 3: client; everything else a client need not tell.
const CLIENT: u8 = 4 << 3 | 3;
const SERVER: u8 = 4;
/// Where the transmit timestamp lies.
const TRANSMIT: usize = 40;

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) leap: Leap,
    /// 1 for a server with a clock of its own, 2 to 15 for those behind; 0 is a kiss-o'-death.
    pub(crate) stratum: u8,
    /// log₂ of the seconds of the clock's precision.
    pub(crate) precision: i8,
    /// 2⁻¹⁶ seconds, there and back to the primary clock.
    pub(crate) root_delay: u32,
    /// 2⁻¹⁶ seconds.
    pub(crate) root_dispersion: u32,
    pub(crate) reference: Reference,
    /// When the server's clock was last set.
    pub(crate) reference_time: Timestamp,
    pub(crate) received: Timestamp,
    pub(crate) sent: Timestamp,
}

/// The leap indicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leap {
    None,
    Insert,
    Delete,
    /// The clock is not set.
    Unsynchronized,
}

/// What a server takes its time from. Its meaning hangs on the stratum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    bytes: [u8; 4],
    stratum: u8,
}

/// Why a datagram is no answer to our request. None of it proves anything about the server: anyone may send one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stray {
    TooShort(usize),
    NotFromServer(u8),
    Version(u8),
    /// It does not repeat what our request carried: late, doubled, or forged.
    OtherRequest,
}

/// A request that carries `nonce` where a client may send its time: a server gives it back untouched, and nobody who did
/// not see the request can guess it. Our own time is nobody's business.
pub(crate) fn request(nonce: u64) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    if let Some((first, _)) = packet.split_first_mut() {
        *first = CLIENT;
    }
    if let Some(transmit) = packet.get_mut(TRANSMIT..) {
        transmit.copy_from_slice(&nonce.to_be_bytes());
    }
    packet
}

impl Answer {
    /// Reads the answer to the request with `nonce`.
    pub(crate) fn parse(datagram: &[u8], nonce: u64) -> Result<Self, Stray> {
        let short = Stray::TooShort(datagram.len());
        let packet: &[u8; LENGTH] = datagram.first_chunk().ok_or(short)?;
        let word = |at: usize| -> Result<[u8; 4], Stray> {
            packet
                .get(at..)
                .and_then(<[u8]>::first_chunk)
                .copied()
                .ok_or(short)
        };
        let time = |at: usize| -> Result<Timestamp, Stray> {
            let bytes = packet.get(at..).and_then(<[u8]>::first_chunk).copied();
            Ok(Timestamp(u64::from_be_bytes(bytes.ok_or(short)?)))
        };
        let [flags, stratum, _, precision] = word(0)?;
        if flags & 7 != SERVER {
            return Err(Stray::NotFromServer(flags & 7));
        }
        // A server of an older version says so.
        if !(1..=4).contains(&(flags >> 3 & 7)) {
            return Err(Stray::Version(flags >> 3 & 7));
        }
        if time(24)? != Timestamp(nonce) {
            return Err(Stray::OtherRequest);
        }
        Ok(Self {
            leap: match flags >> 6 {
                0 => Leap::None,
                1 => Leap::Insert,
                2 => Leap::Delete,
                _ => Leap::Unsynchronized,
            },
            stratum,
            precision: i8::from_be_bytes([precision]),
            root_delay: u32::from_be_bytes(word(4)?),
            root_dispersion: u32::from_be_bytes(word(8)?),
            reference: Reference {
                bytes: word(12)?,
                stratum,
            },
            reference_time: time(16)?,
            received: time(32)?,
            sent: time(TRANSMIT)?,
        })
    }

    /// The code of a kiss-o'-death (§7.4): `RATE`, `DENY`, …
    pub(crate) fn kiss(&self) -> Option<String> {
        (self.stratum == 0).then(|| self.reference.to_string())
    }

    /// Whether the server has a time to tell.
    pub(crate) fn is_synchronized(&self) -> bool {
        self.leap != Leap::Unsynchronized && (1..=15).contains(&self.stratum) && self.sent != Timestamp::NONE
    }
}

impl Leap {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Insert => "insert",
            Self::Delete => "delete",
            Self::Unsynchronized => "unsynchronized",
        }
    }
}

/// ASCII up to stratum 1 (`GPS`, `RATE`), from there on an IPv4 address; for an IPv6 source it is a piece of a hash
/// that looks like one.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self
            .bytes
            .iter()
            .take_while(|&&byte| byte != 0)
            .map(|&byte| {
                if byte.is_ascii_graphic() {
                    char::from(byte)
                } else {
                    '?'
                }
            })
            .collect();
        match self.stratum {
            0 | 1 if text.is_empty() => f.write_str("none"),
            0 | 1 => f.write_str(&text),
            _ => write!(f, "{}", Ipv4Addr::from(self.bytes)),
        }
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(length) => write!(f, "a datagram of {length} bytes, not {LENGTH}"),
            Self::NotFromServer(mode) => write!(f, "a packet of mode {mode}, not of a server"),
            Self::Version(version) => write!(f, "a packet of version {version}"),
            Self::OtherRequest => f.write_str("an answer to another request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: u64 = 0x0123_4567_89ab_cdef;

    fn answer() -> [u8; LENGTH] {
        let mut packet = [0; LENGTH];
        packet[..4].copy_from_slice(&[4 << 3 | 4, 2, 6, 0xe9]);
        packet[4..8].copy_from_slice(&0x8000_u32.to_be_bytes());
        packet[12..16].copy_from_slice(&[192, 0, 2, 1]);
        packet[24..32].copy_from_slice(&NONCE.to_be_bytes());
        packet[40..].copy_from_slice(&7_u64.to_be_bytes());
        packet
    }

    #[test]
    fn a_request_tells_nothing_but_its_nonce() {
        let packet = request(NONCE);
        assert_eq!(packet[0], 0x23);
        assert_eq!(packet[1..40], [0; 39]);
        assert_eq!(packet[40..], NONCE.to_be_bytes());
    }

    #[test]
    fn an_answer_is_read_field_by_field() {
        let answer = Answer::parse(&answer(), NONCE).unwrap();
        assert_eq!(
            (answer.leap, answer.stratum, answer.precision),
            (Leap::None, 2, -23)
        );
        assert_eq!((answer.root_delay, answer.sent), (0x8000, Timestamp(7)));
        assert_eq!(answer.reference.to_string(), "192.0.2.1");
        assert!(answer.is_synchronized() && answer.kiss().is_none());
    }

    #[test]
    fn what_follows_the_first_48_bytes_is_passed_over() {
        let long = [&answer()[..], &[0xff; 100]].concat();
        assert!(Answer::parse(&long, NONCE).is_ok());
    }

    #[test]
    fn anything_else_is_stray() {
        let with = |at: usize, byte: u8| {
            let mut packet = answer();
            packet[at] = byte;
            Answer::parse(&packet, NONCE)
        };
        assert_eq!(
            with(0, 4 << 3 | 3),
            Err(Stray::NotFromServer(3)),
            "our own, reflected"
        );
        assert_eq!(with(0, 4 << 3 | 5), Err(Stray::NotFromServer(5)), "broadcast");
        assert_eq!(with(0, 4), Err(Stray::Version(0)));
        assert_eq!(with(0, 7 << 3 | 4), Err(Stray::Version(7)));
        assert_eq!(with(31, 0), Err(Stray::OtherRequest));
        for length in 0..LENGTH {
            assert_eq!(
                Answer::parse(&answer()[..length], NONCE),
                Err(Stray::TooShort(length))
            );
        }
    }

    #[test]
    fn a_server_without_time_is_known_as_one() {
        let with = |changes: &[(usize, u8)]| {
            let mut packet = answer();
            for &(at, byte) in changes {
                packet[at] = byte;
            }
            Answer::parse(&packet, NONCE).unwrap()
        };
        assert!(!with(&[(0, 3 << 6 | 4 << 3 | 4)]).is_synchronized(), "leap 3");
        assert!(!with(&[(1, 16)]).is_synchronized());
        assert!(!with(&[(47, 0)]).is_synchronized(), "no transmit timestamp");
        let kiss = with(&[(1, 0), (12, b'R'), (13, b'A'), (14, b'T'), (15, b'E')]);
        assert_eq!(kiss.kiss().as_deref(), Some("RATE"));
        assert!(!kiss.is_synchronized());
        assert_eq!(with(&[(1, 0), (12, 0x1b), (13, 0)]).kiss().as_deref(), Some("?"));
        assert_eq!(with(&[(1, 1), (12, 0)]).reference.to_string(), "none");
    }
}
