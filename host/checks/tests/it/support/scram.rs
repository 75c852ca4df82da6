//! The server's side of SCRAM (RFC 5802), by another library's PBKDF2 than the client's.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// One exchange with a client that should know `password`.
pub(crate) struct ScramServer {
    hmac: hmac::Algorithm,
    salted: Vec<u8>,
    bare: String,
    first: String,
}

const SALT: &[u8] = b"0123456789abcdef";
const ROUNDS: u32 = 10_000;

impl ScramServer {
    /// Answers the client's first message; the user it names comes, too.
    pub(crate) fn new(mechanism: &str, password: &str, client_first: &str) -> (Self, String) {
        let (hmac, pbkdf2) = match mechanism {
            "SCRAM-SHA-1" => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pbkdf2::PBKDF2_HMAC_SHA1),
            "SCRAM-SHA-256" => (hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256),
            "SCRAM-SHA-512" => (hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512),
            other => panic!("mechanism {other}"),
        };
        let mut salted = vec![0; hmac.digest_algorithm().output_len()];
        pbkdf2::derive(
            pbkdf2,
            NonZeroU32::new(ROUNDS).unwrap(),
            SALT,
            password.as_bytes(),
            &mut salted,
        );
        let bare = client_first.strip_prefix("n,,").unwrap().to_owned();
        let (user, nonce) = bare.strip_prefix("n=").unwrap().split_once(",r=").unwrap();
        assert!(nonce.len() >= 16, "a nonce worth its name");
        let first = format!("r={nonce}SERVER,s={},i={ROUNDS}", BASE64_STANDARD.encode(SALT));
        let user = user.to_owned();
        (
            Self {
                hmac,
                salted,
                bare,
                first,
            },
            user,
        )
    }

    pub(crate) fn first(&self) -> &str {
        &self.first
    }

    /// The last message to a client that knows the password; `None` to another.
    pub(crate) fn last(&self, client_last: &str) -> Option<String> {
        let sign = |key: &[u8], text: &[u8]| {
            hmac::sign(&hmac::Key::new(self.hmac, key), text)
                .as_ref()
                .to_vec()
        };
        let (without_proof, proof) = client_last.split_once(",p=").unwrap();
        let exchange = format!("{},{},{without_proof}", self.bare, self.first);
        let proof = BASE64_STANDARD.decode(proof).unwrap();
        let stored = digest::digest(self.hmac.digest_algorithm(), &sign(&self.salted, b"Client Key"));
        let signature = sign(stored.as_ref(), exchange.as_bytes());
        let key: Vec<u8> = proof
            .iter()
            .zip(&signature)
            .map(|(one, other)| one ^ other)
            .collect();
        let shown = digest::digest(self.hmac.digest_algorithm(), &key);
        let verdict = sign(&sign(&self.salted, b"Server Key"), exchange.as_bytes());
        (shown.as_ref() == stored.as_ref()).then(|| format!("v={}", BASE64_STANDARD.encode(verdict)))
    }
}
