//! The messages of NTLM version 2 ([MS-NLMP] §2.2.1, §3.3.2). No signing, no sealing: HTTP has no use for them.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use md4::{Digest, Md4};
use md5::Md5;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// UNICODE, REQUEST_TARGET, NTLM, ALWAYS_SIGN, EXTENDED_SESSIONSECURITY, TARGET_INFO, 128, 56 (§2.2.2.5).
const FLAGS: u32 = 0x1 | 0x4 | 0x200 | 0x8000 | 0x8_0000 | 0x80_0000 | 0x2000_0000 | 0x8000_0000;
/// Of the negotiate message. The version at its end is optional, but some servers refuse a message without.
const NEGOTIATE: u32 = 40;
/// Of the authenticate message, with a version and without a MIC.
const HEADER: usize = 72;
/// `MsvAvTimestamp` (§2.2.2.1).
const TIMESTAMP: u16 = 7;
/// From 1601 to 1970, in 100 ns.
const EPOCH: i128 = 116_444_736_000_000_000;

/// "I speak NTLM" (§2.2.1.1), naming neither domain nor workstation.
pub(super) fn negotiate() -> Vec<u8> {
    let empty = [[0; 4], NEGOTIATE.to_le_bytes()].concat();
    let head = [&SIGNATURE[..], &1_u32.to_le_bytes(), &FLAGS.to_le_bytes()].concat();
    [&head[..], &empty, &empty, &[0; 8]].concat()
}

/// What the server wants answered (§2.2.1.2).
pub(super) struct Challenge {
    nonce: [u8; 8],
    flags: u32,
    info: Vec<u8>,
}

/// What is fresh in each answer.
pub(super) struct Salt {
    pub(super) client: [u8; 8],
    pub(super) now: Timestamp,
}

impl Challenge {
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let is_challenge = message.get(..8)? == SIGNATURE && number(message, 8)? == 2;
        let length = usize::from(u16::from_le_bytes(message.get(40..42)?.try_into().ok()?));
        let start = usize::try_from(number(message, 44)?).ok()?;
        Some(Self {
            nonce: message.get(24..32)?.try_into().ok()?,
            flags: number(message, 20)?,
            info: message.get(start..start.checked_add(length)?)?.to_vec(),
        })
        .filter(|_| is_challenge)
    }

    /// The answer (§2.2.1.3): that we know the password.
    pub(super) fn authenticate(
        &self,
        user: &str,
        password: &str,
        domain: &str,
        workstation: &str,
        salt: &Salt,
    ) -> Vec<u8> {
        let key = key(user, password, domain);
        let told = self.timestamp();
        let time = told.unwrap_or_else(|| filetime(salt.now));
        let blob = [
            &[1, 1, 0, 0, 0, 0, 0, 0][..],
            &time,
            &salt.client,
            &[0; 4],
            &self.info,
            &[0; 4],
        ]
        .concat();
        let nt = [&mac(&key, &[&self.nonce, &blob])[..], &blob].concat();
        // §3.1.5.1.2: a server that tells the time wants no LM response.
        let lm = if told.is_some() {
            vec![0; 24]
        } else {
            [&mac(&key, &[&self.nonce, &salt.client])[..], &salt.client].concat()
        };
        let payloads = [lm, nt, utf16(domain), utf16(user), utf16(workstation), Vec::new()];
        let mut message = [&SIGNATURE[..], &3_u32.to_le_bytes()].concat();
        let mut offset = HEADER;
        for payload in &payloads {
            // Lengths are those of a configuration's fields and of a challenge within one header.
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_le_bytes();
            message.extend([length, length].concat());
            message.extend(u32::try_from(offset).unwrap_or(u32::MAX).to_le_bytes());
            offset += payload.len();
        }
        message.extend((FLAGS & self.flags).to_le_bytes());
        message.extend([0; 8]);
        message.extend(payloads.concat());
        message
    }

    /// The server's time of day, if it tells it.
    fn timestamp(&self) -> Option<[u8; 8]> {
        let mut rest = self.info.as_slice();
        while let Some(([a, b, c, d], after)) = rest.split_first_chunk() {
            let (id, length) = (
                u16::from_le_bytes([*a, *b]),
                usize::from(u16::from_le_bytes([*c, *d])),
            );
            let (value, after) = after.split_at_checked(length)?;
            if id == TIMESTAMP {
                return value.try_into().ok();
            }
            rest = after;
        }
        None
    }
}

/// NTOWFv2 (§3.3.2).
fn key(user: &str, password: &str, domain: &str) -> [u8; 16] {
    let hash = Md4::digest(utf16(password));
    mac(&hash, &[&utf16(&user.to_uppercase()), &utf16(domain)])
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    // Unreachable: HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else {
        return [0; 16];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn filetime(now: Timestamp) -> [u8; 8] {
    let ticks = now.as_nanosecond() / 100 + EPOCH;
    i64::try_from(ticks).unwrap_or_default().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MS-NLMP] §4.2.4: the values of its example.
    #[test]
    fn an_answer_is_the_one_of_the_specification() {
        let info = [
            &[2, 0, 12, 0][..],
            &utf16("Domain"),
            &[1, 0, 12, 0],
            &utf16("Server"),
            &[0; 4],
        ]
        .concat();
        let challenge = Challenge {
            nonce: [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
            flags: FLAGS,
            info,
        };
        let salt = Salt {
            client: [0xaa; 8],
            now: Timestamp::from_nanosecond(-EPOCH * 100).unwrap(),
        };
        let message = challenge.authenticate("User", "Password", "Domain", "COMPUTER", &salt);
        let hex = |bytes: &[u8]| {
            let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            digits.concat()
        };
        assert_eq!(
            hex(&key("User", "Password", "Domain")),
            "0c868a403bfd7a93a3001ef22ef02e3f"
        );
        assert_eq!(
            hex(&message[72..96]),
            "86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"
        );
        assert_eq!(hex(&message[96..112]), "68cd0ab851e51c96aabc927bebef6a1c");
    }

    #[test]
    fn a_broken_challenge_is_none() {
        let good = [&SIGNATURE[..], &2_u32.to_le_bytes(), &[0; 36]].concat();
        assert!(Challenge::parse(&good).is_some());
        for length in 0..good.len() {
            assert!(Challenge::parse(&good[..length]).is_none(), "{length}");
        }
        let mut beyond = good;
        beyond[40] = 8;
        beyond[44] = 44;
        assert!(Challenge::parse(&beyond).is_none());
    }
}
