//! Our half of a key exchange, up to the hash that the server signs (RFC 8731, RFC 5656 §4). No I/O.
//!
//! Nothing is ever encrypted under the shared secret; it is needed because the server signs it too, which proves that
//! the host key is its own.

use crate::{
    offer::Exchange,
    wire::{Malformed, Reader, put_natural, put_string},
};
use p256::elliptic_curve::sec1::ToSec1Point;
use sha2::{Digest, Sha256};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

pub(crate) const INIT: u8 = 30;
pub(crate) const REPLY: u8 = 31;

/// A secret for one exchange, and what is shown of it.
pub(crate) struct Ephemeral {
    secret: Secret,
    pub(crate) public: Vec<u8>,
}

enum Secret {
    Curve25519([u8; 32]),
    Nistp256(p256::SecretKey),
}

/// The server's answer to our half.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    pub(crate) host_key: &'a [u8],
    public: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// What both sides have said, in the order in which it is hashed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transcript<'a> {
    pub(crate) own_version: &'a str,
    pub(crate) version: &'a str,
    pub(crate) own_offer: &'a [u8],
    pub(crate) offer: &'a [u8],
}

impl Ephemeral {
    /// `None` when these random bytes make no secret, which is as likely as guessing a key.
    pub(crate) fn new(exchange: Exchange, random: [u8; 32]) -> Option<Self> {
        Some(match exchange {
            Exchange::Curve25519 => Self {
                public: x25519(random, X25519_BASEPOINT_BYTES).to_vec(),
                secret: Secret::Curve25519(random),
            },
            Exchange::Nistp256 => {
                let secret = p256::SecretKey::from_slice(&random).ok()?;
                Self {
                    public: secret.public_key().to_sec1_point(false).as_bytes().to_vec(),
                    secret: Secret::Nistp256(secret),
                }
            }
        })
    }

    /// The exchange hash.
    pub(crate) fn hash(&self, said: Transcript<'_>, reply: Reply<'_>) -> Result<[u8; 32], Malformed> {
        let shared = self.shared(reply.public)?;
        let mut hashed = Vec::new();
        for part in [
            said.own_version.as_bytes(),
            said.version.as_bytes(),
            said.own_offer,
            said.offer,
            reply.host_key,
            &self.public,
            reply.public,
        ] {
            put_string(&mut hashed, part);
        }
        put_natural(&mut hashed, &shared);
        Ok(Sha256::digest(&hashed).into())
    }

    fn shared(&self, public: &[u8]) -> Result<[u8; 32], Malformed> {
        const UNFIT: Malformed = Malformed("an unfit public key in the key exchange");
        match &self.secret {
            Secret::Curve25519(secret) => {
                let shared = x25519(*secret, public.try_into().map_err(|_| UNFIT)?);
                // RFC 8731 §3: an all-zero secret ends the exchange.
                Some(shared).filter(|shared| *shared != [0; 32]).ok_or(UNFIT)
            }
            Secret::Nistp256(secret) => {
                let public = p256::PublicKey::from_sec1_bytes(public).map_err(|_| UNFIT)?;
                Ok((*secret.diffie_hellman(&public).raw_secret_bytes()).into())
            }
        }
    }
}

impl<'a> Reply<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(message);
        if reader.byte()? != REPLY {
            return Err(Malformed(
                "another message where the key exchange's answer belongs",
            ));
        }
        Ok(Self {
            host_key: reader.string()?,
            public: reader.string()?,
            signature: reader.string()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Exchange; 2] = [Exchange::Curve25519, Exchange::Nistp256];

    #[test]
    fn both_sides_come_to_the_same_secret() {
        for exchange in BOTH {
            let client = Ephemeral::new(exchange, [1; 32]).unwrap();
            let server = Ephemeral::new(exchange, [2; 32]).unwrap();
            let shared = client.shared(&server.public).unwrap();
            assert_eq!(shared, server.shared(&client.public).unwrap());
            let other = Ephemeral::new(exchange, [3; 32]).unwrap();
            assert_ne!(shared, other.shared(&server.public).unwrap());
        }
    }

    #[test]
    fn unfit_public_keys_are_refused() {
        let off_the_curve = [&[4][..], &[1; 64]].concat();
        for exchange in BOTH {
            let client = Ephemeral::new(exchange, [1; 32]).unwrap();
            for public in [&[][..], &[0; 32], &[0], &[1; 31], &[1; 33], &off_the_curve] {
                assert!(client.shared(public).is_err(), "{exchange:?} {public:?}");
            }
        }
    }

    #[test]
    fn every_part_of_the_transcript_counts() {
        let client = Ephemeral::new(Exchange::Curve25519, [1; 32]).unwrap();
        let server = Ephemeral::new(Exchange::Curve25519, [2; 32]).unwrap();
        let reply = Reply {
            host_key: b"key",
            public: &server.public,
            signature: b"",
        };
        let said = Transcript {
            own_version: "SSH-2.0-a",
            version: "SSH-2.0-b",
            own_offer: b"c",
            offer: b"d",
        };
        let hash = client.hash(said, reply).unwrap();
        for other in [
            Transcript {
                own_version: "",
                ..said
            },
            Transcript { version: "", ..said },
            Transcript {
                own_offer: b"",
                ..said
            },
            Transcript { offer: b"", ..said },
        ] {
            assert_ne!(client.hash(other, reply).unwrap(), hash);
        }
        let other = Reply {
            host_key: b"",
            ..reply
        };
        assert_ne!(client.hash(said, other).unwrap(), hash);
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_malformed() {
        let mut whole = vec![REPLY];
        for part in ["key", "public", "signature"] {
            put_string(&mut whole, part.as_bytes());
        }
        assert_eq!(Reply::parse(&whole).unwrap().signature, b"signature");
        for end in 0..whole.len() {
            assert!(Reply::parse(&whole[..end]).is_err(), "{end}");
        }
    }
}
