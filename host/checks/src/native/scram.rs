//! SCRAM (RFC 5802, RFC 7677) as a client, with the three hashes that servers here ask for; without channel binding.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{digest, hmac};
use std::num::NonZeroU32;

/// A server that asks for more rounds wants to keep this processor busy, not to protect a password.
const MOST_ROUNDS: u32 = 1_000_000;
/// Rounds between two chances for others: some milliseconds.
const ROUNDS_AT_ONCE: u32 = 4096;

/// The hash under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "kafka", feature = "mongodb")),
    allow(dead_code, reason = "kinds that this build leaves out use the rest")
)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    /// PBKDF2's first block (RFC 5802 §2.2 "Hi"), which is all that is needed. It gives way to others now and then, and
    /// can be dropped: a server may ask for seconds of it.
    async fn derive(self, rounds: NonZeroU32, salt: &[u8], password: &[u8]) -> Vec<u8> {
        let key = hmac::Key::new(self.hmac(), password);
        let mut last = hmac::sign(&key, &[salt, &1_u32.to_be_bytes()].concat());
        let mut derived = last.as_ref().to_vec();
        for round in 1..rounds.get() {
            if round % ROUNDS_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            last = hmac::sign(&key, last.as_ref());
            for (sum, byte) in derived.iter_mut().zip(last.as_ref()) {
                *sum ^= byte;
            }
        }
        derived
    }

    fn sign(self, key: &[u8], text: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac(), key), text)
    }
}

/// One exchange: [`Scram::first`] is sent, the answer given to [`Scram::last`], whose text is sent, and the answer to
/// that given to [`Scram::verify`].
pub(super) struct Scram {
    hash: Hash,
    password: String,
    bare: String,
    nonce: String,
    signature: Vec<u8>,
}

impl Scram {
    /// `password` is prepared (SASLprep) already, where its server wants it so; `nonce` is random printable text.
    pub(super) fn new(hash: Hash, user: &str, password: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            password: password.to_owned(),
            bare: format!("n={user},r={nonce}"),
            nonce,
            signature: Vec::new(),
        }
    }

    /// The client's first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The client's last message, in answer to the server's first.
    pub(super) async fn last(&mut self, first: &str) -> Result<String, String> {
        let nonce = attribute(first, "r=").ok_or("no nonce")?;
        let salt = attribute(first, "s=").and_then(|salt| BASE64_STANDARD.decode(salt).ok());
        let rounds = attribute(first, "i=").and_then(|rounds| rounds.parse::<NonZeroU32>().ok());
        let (salt, rounds) = (salt.ok_or("no salt")?, rounds.ok_or("no count of rounds")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the nonce is not ours continued".to_owned());
        }
        if rounds.get() > MOST_ROUNDS {
            return Err(format!("{rounds} rounds are more than {MOST_ROUNDS}"));
        }
        let salted = self.hash.derive(rounds, &salt, self.password.as_bytes()).await;
        let client_key = self.hash.sign(&salted, b"Client Key");
        let stored = digest::digest(self.hash.hmac().digest_algorithm(), client_key.as_ref());
        let without_proof = format!("c=biws,r={nonce}");
        let exchange = format!("{},{first},{without_proof}", self.bare);
        let signature = self.hash.sign(stored.as_ref(), exchange.as_bytes());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect();
        let server_key = self.hash.sign(&salted, b"Server Key");
        let expected = self.hash.sign(server_key.as_ref(), exchange.as_bytes());
        self.signature = expected.as_ref().to_vec();
        Ok(format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)))
    }

    /// Whether the server's last message shows that it knows the password, too.
    pub(super) fn verify(&self, last: &str) -> Result<(), String> {
        if let Some(error) = attribute(last, "e=") {
            return Err(error.to_owned());
        }
        let signature = attribute(last, "v=").and_then(|text| BASE64_STANDARD.decode(text).ok());
        if signature.is_some_and(|signature| !self.signature.is_empty() && signature == self.signature) {
            return Ok(());
        }
        Err("the server does not prove that it knows the password".to_owned())
    }
}

fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name))
}

/// A nonce of 144 bits.
pub(super) fn nonce() -> Result<String, String> {
    let mut bytes = [0; 18];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| "no random numbers".to_owned())?;
    Ok(BASE64_STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 5802 §5 and RFC 7677 §3.
    #[tokio::test]
    async fn the_examples_of_the_rfcs_are_reproduced() {
        for (hash, nonce, server_first, client_last, server_last) in [
            (
                Hash::Sha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                Hash::Sha256,
                "rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ] {
            let mut scram = Scram::new(hash, "user", "pencil", nonce.to_owned());
            assert_eq!(scram.first(), format!("n,,n=user,r={nonce}"));
            assert!(scram.verify(server_last).is_err(), "nothing was proven yet");
            assert_eq!(scram.last(server_first).await.as_deref(), Ok(client_last));
            assert_eq!(scram.verify(server_last), Ok(()));
            assert!(scram.verify("v=AAAA").is_err());
            assert_eq!(scram.verify("e=invalid-proof"), Err("invalid-proof".to_owned()));
        }
    }

    #[tokio::test]
    async fn a_server_that_plays_foul_is_found_out() {
        let scram = || Scram::new(Hash::Sha512, "a,b=c", "pw", "mine".to_owned());
        let last = async |first: &str| scram().last(first).await;
        assert!(scram().first().contains("n=a=2Cb=3Dc,"));
        assert!(last("r=mineX,s=AAAA,i=4096").await.is_ok());
        for first in [
            "",
            "r=other,s=AAAA,i=4096",
            "r=mine,s=AAAA,i=4096",
            "r=mineX,s=!,i=4096",
            "r=mineX,s=AAAA,i=0",
            "r=mineX,s=AAAA,i=4000000000",
        ] {
            assert!(last(first).await.is_err(), "{first}");
        }
    }
}
