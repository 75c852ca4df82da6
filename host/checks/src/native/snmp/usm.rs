//! The user-based security model: keys of passwords, proofs and encryption (RFC 3414, RFC 3826, RFC 7860; AES with longer
//! keys as draft-blumenthal-aes-usm-04, which is what Net-SNMP does).

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding};
use des::Des;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use schemars::JsonSchema;
use serde::Deserialize;
use sha1::{Digest, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use std::fmt;

/// How much of the repeated password goes into its key: RFC 3414 §A.2.
const STRETCHED: usize = 1 << 20;
/// A block of DES, and the salt of both ciphers.
const BLOCK: usize = 8;

/// How a user proves to be one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum AuthProtocol {
    /// HMAC-MD5-96.
    #[serde(rename = "MD5")]
    Md5,
    /// HMAC-SHA-96.
    #[default]
    #[serde(rename = "SHA")]
    Sha,
    /// HMAC-SHA-224-128.
    #[serde(rename = "SHA224")]
    Sha224,
    /// HMAC-SHA-256-192.
    #[serde(rename = "SHA256")]
    Sha256,
    /// HMAC-SHA-384-256.
    #[serde(rename = "SHA384")]
    Sha384,
    /// HMAC-SHA-512-384.
    #[serde(rename = "SHA512")]
    Sha512,
}

/// The cipher.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PrivacyProtocol {
    /// CBC-DES.
    #[serde(rename = "DES")]
    Des,
    /// CFB128-AES-128.
    #[default]
    #[serde(rename = "AES")]
    Aes,
    /// CFB128-AES-192.
    #[serde(rename = "AES192")]
    Aes192,
    /// CFB128-AES-256.
    #[serde(rename = "AES256")]
    Aes256,
}

/// A user, and their passwords.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: Vec<u8>,
    pub(super) context: Vec<u8>,
    pub(super) auth: Option<(AuthProtocol, Vec<u8>)>,
    pub(super) privacy: Option<(PrivacyProtocol, Vec<u8>)>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &String::from_utf8_lossy(&self.name))
            .finish_non_exhaustive()
    }
}

/// A user's keys at one agent.
#[derive(Clone, Default)]
pub(super) struct Keys {
    auth: Option<(AuthProtocol, Vec<u8>)>,
    privacy: Option<(PrivacyProtocol, Vec<u8>)>,
}

impl Keys {
    /// Takes some milliseconds of computing: a megabyte is hashed for each password.
    pub(super) fn of(user: &User, engine: &[u8]) -> Self {
        let Some((auth, password)) = &user.auth else {
            return Self::default();
        };
        let privacy = user.privacy.as_ref().map(|(cipher, password)| {
            let mut key = auth.key(password, engine);
            while key.len() < cipher.key_length() {
                key.extend(auth.hash(&[&key]));
            }
            key.truncate(cipher.key_length());
            (*cipher, key)
        });
        Self {
            auth: Some((*auth, auth.key(password, engine))),
            privacy,
        }
    }

    /// The length of a proof; none is needed where there is no password.
    pub(super) fn proof_length(&self) -> usize {
        self.auth.as_ref().map_or(0, |(auth, _)| auth.proof_length())
    }

    /// The proof of a message, in which there are zeros at its place.
    pub(super) fn proof(&self, message: &[u8]) -> Vec<u8> {
        let Some((auth, key)) = &self.auth else {
            return Vec::new();
        };
        let mut proof = auth.mac(key, message);
        proof.truncate(auth.proof_length());
        proof
    }

    pub(super) fn encrypts(&self) -> bool {
        self.privacy.is_some()
    }

    /// Encrypts with a salt that must not come twice.
    pub(super) fn encrypt(
        &self,
        plain: &[u8],
        boots: i64,
        time: i64,
        salt: u64,
    ) -> Option<(Vec<u8>, [u8; BLOCK])> {
        let (cipher, key) = self.privacy.as_ref()?;
        let mut bytes = plain.to_vec();
        let mut salt = salt.to_be_bytes();
        if *cipher == PrivacyProtocol::Des {
            // RFC 3414 §8.1.1.1: the engine's boots, then something that is not repeated.
            salt.iter_mut()
                .zip(word(boots))
                .for_each(|(place, byte)| *place = byte);
            bytes.resize(plain.len().next_multiple_of(BLOCK), 0);
        }
        let iv = cipher.iv(key, boots, time, salt)?;
        match cipher {
            PrivacyProtocol::Des => {
                let (length, mode) = (
                    bytes.len(),
                    cbc::Encryptor::<Des>::new_from_slices(key.get(..BLOCK)?, &iv).ok()?,
                );
                mode.encrypt_padded::<NoPadding>(&mut bytes, length).ok()?;
            }
            PrivacyProtocol::Aes => cfb_mode::Encryptor::<Aes128>::new_from_slices(key, &iv)
                .ok()?
                .encrypt(&mut bytes),
            PrivacyProtocol::Aes192 => cfb_mode::Encryptor::<Aes192>::new_from_slices(key, &iv)
                .ok()?
                .encrypt(&mut bytes),
            PrivacyProtocol::Aes256 => cfb_mode::Encryptor::<Aes256>::new_from_slices(key, &iv)
                .ok()?
                .encrypt(&mut bytes),
        }
        Some((bytes, salt))
    }

    /// What was encrypted; with DES some bytes may follow it.
    pub(super) fn decrypt(&self, encrypted: &[u8], boots: i64, time: i64, salt: &[u8]) -> Option<Vec<u8>> {
        let (cipher, key) = self.privacy.as_ref()?;
        let iv = cipher.iv(key, boots, time, *salt.first_chunk()?)?;
        let mut bytes = encrypted.to_vec();
        match cipher {
            PrivacyProtocol::Des => {
                let mode = cbc::Decryptor::<Des>::new_from_slices(key.get(..BLOCK)?, &iv).ok()?;
                mode.decrypt_padded::<NoPadding>(&mut bytes).ok()?;
            }
            PrivacyProtocol::Aes => cfb_mode::Decryptor::<Aes128>::new_from_slices(key, &iv)
                .ok()?
                .decrypt(&mut bytes),
            PrivacyProtocol::Aes192 => cfb_mode::Decryptor::<Aes192>::new_from_slices(key, &iv)
                .ok()?
                .decrypt(&mut bytes),
            PrivacyProtocol::Aes256 => cfb_mode::Decryptor::<Aes256>::new_from_slices(key, &iv)
                .ok()?
                .decrypt(&mut bytes),
        }
        Some(bytes)
    }
}

impl PrivacyProtocol {
    /// Of DES, the second half makes the IV.
    fn key_length(self) -> usize {
        match self {
            Self::Des | Self::Aes => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// RFC 3414 §8.1.1.1 and RFC 3826 §3.1.2.1.
    fn iv(self, key: &[u8], boots: i64, time: i64, salt: [u8; BLOCK]) -> Option<Vec<u8>> {
        Some(match self {
            Self::Des => key
                .get(BLOCK..)?
                .iter()
                .zip(salt)
                .map(|(key, salt)| key ^ salt)
                .collect(),
            _ => [&word(boots), &word(time), &salt[..]].concat(),
        })
    }
}

/// Boots and time have 31 bits (RFC 3414 §2.2).
fn word(number: i64) -> [u8; 4] {
    u32::try_from(number).unwrap_or_default().to_be_bytes()
}

impl AuthProtocol {
    fn proof_length(self) -> usize {
        match self {
            Self::Md5 | Self::Sha => 12,
            Self::Sha224 => 16,
            Self::Sha256 => 24,
            Self::Sha384 => 32,
            Self::Sha512 => 48,
        }
    }

    /// A password's key at one agent: RFC 3414 §2.6 and §A.2.
    fn key(self, password: &[u8], engine: &[u8]) -> Vec<u8> {
        let stretched: Vec<u8> = password.iter().copied().cycle().take(STRETCHED).collect();
        let key = self.hash(&[&stretched]);
        self.hash(&[&key, engine, &key])
    }

    fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Md5 => hash::<Md5>(parts),
            Self::Sha => hash::<Sha1>(parts),
            Self::Sha224 => hash::<Sha224>(parts),
            Self::Sha256 => hash::<Sha256>(parts),
            Self::Sha384 => hash::<Sha384>(parts),
            Self::Sha512 => hash::<Sha512>(parts),
        }
    }

    fn mac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => mac::<Hmac<Md5>>(key, message),
            Self::Sha => mac::<Hmac<Sha1>>(key, message),
            Self::Sha224 => mac::<Hmac<Sha224>>(key, message),
            Self::Sha256 => mac::<Hmac<Sha256>>(key, message),
            Self::Sha384 => mac::<Hmac<Sha384>>(key, message),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, message),
        }
    }
}

fn hash<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let hasher = parts.iter().fold(D::new(), D::chain_update);
    hasher.finalize().to_vec()
}

/// HMAC takes keys of any length.
fn mac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    M::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mac| mac.chain_update(message).finalize().into_bytes().to_vec(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3414 §A.3.
    #[test]
    fn keys_are_those_of_the_rfc() {
        let engine = hex::decode("000000000000000000000002").unwrap();
        for (auth, key) in [
            (AuthProtocol::Md5, "526f5eed9fcce26f8964c2930787d82b"),
            (AuthProtocol::Sha, "6695febc9288e36282235fc7151f128497b38f3f"),
        ] {
            assert_eq!(hex::encode(auth.key(b"maplesyrup", &engine)), key);
        }
    }

    #[test]
    fn what_is_encrypted_can_be_read_with_the_same_keys_only() {
        for privacy in [
            PrivacyProtocol::Des,
            PrivacyProtocol::Aes,
            PrivacyProtocol::Aes192,
            PrivacyProtocol::Aes256,
        ] {
            let keys = |password: &[u8]| {
                let user = User {
                    name: b"u".to_vec(),
                    context: Vec::new(),
                    auth: Some((AuthProtocol::Sha, b"auth-secret".to_vec())),
                    privacy: Some((privacy, password.to_vec())),
                };
                Keys::of(&user, b"engine")
            };
            let (encrypted, salt) = keys(b"priv-secret").encrypt(b"thirteen byte", 3, 99, 7).unwrap();
            assert_ne!(encrypted[..13], *b"thirteen byte");
            let read = |keys: Keys| keys.decrypt(&encrypted, 3, 99, &salt).unwrap();
            assert_eq!(read(keys(b"priv-secret"))[..13], *b"thirteen byte", "{privacy:?}");
            assert_ne!(read(keys(b"another one"))[..13], *b"thirteen byte");
            assert_eq!(keys(b"priv-secret").decrypt(&encrypted, 3, 99, b"short"), None);
        }
    }
}
