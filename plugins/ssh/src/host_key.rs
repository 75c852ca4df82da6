//! A server's host key: what it is, its fingerprint, and whether a signature was made with it. No I/O.

use crate::wire::{Malformed, Reader};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use crypto_bigint::{
    BoxedUint, Odd, Resize,
    modular::{BoxedMontyForm, BoxedMontyParams},
};
use p256::ecdsa::signature::Verifier;
use sha2::{Digest, Sha256, Sha512};

/// RSA keys longer than this would only cost processor time; `ssh-keygen` makes none either.
const MAX_RSA_BYTES: usize = 16_384 / 8;
const UNFIT: Malformed = Malformed("an unfit host key");

/// The identifiers of SHA-256 and SHA-512 in a PKCS #1 v1.5 signature (RFC 8017 §9.2, note 1).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];
const SHA512_INFO: [u8; 19] = [
    0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00,
    0x04, 0x40,
];

/// A host key as a server showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostKey {
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256` or `ssh-rsa`.
    pub(crate) name: &'static str,
    pub(crate) bits: usize,
    /// `SHA256:` and base64 without padding, as `ssh-keygen -l` prints it.
    pub(crate) fingerprint: String,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Ed25519(ed25519_dalek::VerifyingKey),
    Nistp256(p256::ecdsa::VerifyingKey),
    Rsa { exponent: Vec<u8>, modulus: Vec<u8> },
}

impl HostKey {
    /// Reads a key blob (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4).
    pub(crate) fn parse(blob: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(blob);
        let (name, bits, material) = match reader.string()? {
            b"ssh-ed25519" => {
                let key = reader.string()?.try_into().map_err(|_| UNFIT)?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(key).map_err(|_| UNFIT)?;
                ("ssh-ed25519", 256, Material::Ed25519(key))
            }
            b"ecdsa-sha2-nistp256" => {
                reader.string()?; // the curve, again
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(reader.string()?).map_err(|_| UNFIT)?;
                ("ecdsa-sha2-nistp256", 256, Material::Nistp256(key))
            }
            b"ssh-rsa" => {
                let (exponent, modulus) = (reader.natural()?, reader.natural()?);
                let odd = modulus.last().is_some_and(|last| last & 1 == 1);
                // An exponent of 32 bits is more than anyone has (65537 is usual), and bounds the work.
                if !odd || modulus.len() > MAX_RSA_BYTES || exponent.is_empty() || exponent.len() > 4 {
                    return Err(UNFIT);
                }
                let spare = modulus.first().map_or(0, |first| first.leading_zeros());
                let bits = modulus.len() * 8 - usize::try_from(spare).unwrap_or_default();
                let (exponent, modulus) = (exponent.to_vec(), modulus.to_vec());
                ("ssh-rsa", bits, Material::Rsa { exponent, modulus })
            }
            _ => return Err(Malformed("a host key of a kind that was not agreed on")),
        };
        Ok(Self {
            name,
            bits,
            fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob))),
            material,
        })
    }

    /// Whether `signature` is this key's own, of the algorithm agreed on, over `message`.
    pub(crate) fn signed(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        self.check(algorithm, message, signature).is_some()
    }

    fn check(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> Option<()> {
        let mut reader = Reader(signature);
        if reader.string().ok()? != algorithm.as_bytes() {
            return None;
        }
        let signature = reader.string().ok()?;
        match (&self.material, algorithm) {
            (Material::Ed25519(key), "ssh-ed25519") => {
                let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
                key.verify_strict(message, &signature).ok()
            }
            (Material::Nistp256(key), "ecdsa-sha2-nistp256") => {
                let mut numbers = Reader(signature);
                let (r, s) = (scalar(numbers.natural().ok()?)?, scalar(numbers.natural().ok()?)?);
                let signature = p256::ecdsa::Signature::from_scalars(r, s).ok()?;
                key.verify(message, &signature).ok()
            }
            (Material::Rsa { exponent, modulus }, "rsa-sha2-256") => {
                let digest = Sha256::digest(message);
                let encoded = encode(&SHA256_INFO, &digest, modulus.len())?;
                (opened(signature, exponent, modulus)? == encoded).then_some(())
            }
            (Material::Rsa { exponent, modulus }, "rsa-sha2-512") => {
                let digest = Sha512::digest(message);
                let encoded = encode(&SHA512_INFO, &digest, modulus.len())?;
                (opened(signature, exponent, modulus)? == encoded).then_some(())
            }
            _ => None,
        }
    }
}

/// A number in 32 bytes.
fn scalar(bytes: &[u8]) -> Option<[u8; 32]> {
    let mut scalar = [0; 32];
    let from = scalar.len().checked_sub(bytes.len())?;
    scalar.get_mut(from..)?.copy_from_slice(bytes);
    Some(scalar)
}

/// What was signed with RSA: `signature` to the power of `exponent`, as long as the modulus.
fn opened(signature: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>> {
    let modulus_number = BoxedUint::from_be_slice_vartime(modulus);
    let precision = modulus_number.bits_precision();
    let signature = BoxedUint::from_be_slice(signature, precision).ok()?;
    if signature >= modulus_number {
        return None;
    }
    let parameters = BoxedMontyParams::new_vartime(Option::from(Odd::new(modulus_number))?);
    let exponent = BoxedUint::from_be_slice_vartime(exponent);
    let opened = BoxedMontyForm::new(signature.resize(precision), &parameters)
        .pow(&exponent)
        .retrieve()
        .to_be_bytes();
    let from = opened.len().checked_sub(modulus.len())?;
    opened.get(from..).map(<[u8]>::to_vec)
}

/// EMSA-PKCS1-v1_5 (RFC 8017 §9.2). `None` when the key is too short for it.
fn encode(info: &[u8], digest: &[u8], length: usize) -> Option<Vec<u8>> {
    let filling = length
        .checked_sub(3 + info.len() + digest.len())
        .filter(|&filling| filling >= 8)?;
    Some([&[0, 1], &vec![0xff; filling][..], &[0], info, digest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{put_natural, put_string};
    use ed25519_dalek::Signer;

    fn strings(parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            put_string(&mut bytes, part);
        }
        bytes
    }

    fn rsa(exponent: &[u8], modulus: &[u8]) -> Vec<u8> {
        let mut blob = strings(&[b"ssh-rsa"]);
        put_natural(&mut blob, exponent);
        put_natural(&mut blob, modulus);
        blob
    }

    #[test]
    fn an_ed25519_signature_counts_for_its_message_only() {
        let secret = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let key = HostKey::parse(&strings(&[b"ssh-ed25519", secret.verifying_key().as_bytes()])).unwrap();
        let signature = strings(&[b"ssh-ed25519", &secret.sign(b"hash").to_bytes()]);
        assert!(key.signed("ssh-ed25519", b"hash", &signature));
        assert!(!key.signed("ssh-ed25519", b"hush", &signature));
        assert!(!key.signed("rsa-sha2-256", b"hash", &signature));
        for end in 0..signature.len() {
            assert!(!key.signed("ssh-ed25519", b"hash", &signature[..end]));
        }
    }

    #[test]
    fn an_ecdsa_signature_counts_for_its_message_only() {
        let secret = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let point = secret.verifying_key().to_sec1_point(false);
        let key = HostKey::parse(&strings(&[b"ecdsa-sha2-nistp256", b"nistp256", point.as_bytes()])).unwrap();
        let made: p256::ecdsa::Signature = secret.sign(b"hash");
        let mut numbers = Vec::new();
        let (r, s) = made.split_bytes();
        put_natural(&mut numbers, &r);
        put_natural(&mut numbers, &s);
        let signature = strings(&[b"ecdsa-sha2-nistp256", &numbers]);
        assert!(key.signed("ecdsa-sha2-nistp256", b"hash", &signature));
        assert!(!key.signed("ecdsa-sha2-nistp256", b"hush", &signature));
        let zeros = strings(&[b"ecdsa-sha2-nistp256", &strings(&[b"", b""])]);
        assert!(!key.signed("ecdsa-sha2-nistp256", b"hash", &zeros));
    }

    #[test]
    fn a_fingerprint_is_that_of_ssh_keygen() {
        // Made with `ssh-keygen -t ed25519` and `ssh-keygen -lf`.
        let blob = base64::engine::general_purpose::STANDARD
            .decode("AAAAC3NzaC1lZDI1NTE5AAAAIGNWKiITCaMLIkiSsJti9uwKZOQqGYcC2cSezZpZ5LZM")
            .unwrap();
        let key = HostKey::parse(&blob).unwrap();
        assert_eq!(
            key.fingerprint,
            "SHA256:0t2jUTM47lySwJvKoCKNZkMS9awT2UR2DBsv+Nl0Hrs"
        );
    }

    #[test]
    fn hostile_keys_are_refused() {
        let even = [&[0x80; 255][..], &[2]].concat();
        let long = [&[0x80; MAX_RSA_BYTES][..], &[1]].concat();
        for blob in [
            strings(&[]),
            strings(&[b"ssh-dss"]),
            strings(&[b"ssh-ed25519"]),
            strings(&[b"ssh-ed25519", &[1; 31]]),
            strings(&[b"ecdsa-sha2-nistp256", b"nistp256", &[4; 65]]),
            rsa(&[1, 0, 1], &[]),
            rsa(&[1, 0, 1], &even),
            rsa(&[1, 0, 1], &long),
            rsa(&[], &[0x81; 256]),
            rsa(&[1; 5], &[0x81; 256]),
        ] {
            assert!(HostKey::parse(&blob).is_err(), "{blob:?}");
        }
    }

    #[test]
    fn an_rsa_signature_must_be_smaller_than_its_modulus_and_well_padded() {
        let key = HostKey::parse(&rsa(&[3], &[0x81; 256])).unwrap();
        assert_eq!((key.name, key.bits), ("ssh-rsa", 2048));
        for signature in [&[0x81; 256][..], &[0xff; 256], &[0; 256], &[], &[1; 4096]] {
            let signature = strings(&[b"rsa-sha2-256", signature]);
            assert!(!key.signed("rsa-sha2-256", b"hash", &signature));
        }
        let tiny = HostKey::parse(&rsa(&[3], &[0x81])).unwrap();
        assert!(!tiny.signed("rsa-sha2-512", b"hash", &strings(&[b"rsa-sha2-512", &[1]])));
    }
}
