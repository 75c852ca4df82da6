//! What each side can do: the lists of SSH_MSG_KEXINIT, and what both agree on (RFC 4253 §7.1). No I/O.

use crate::{
    config::KeyType,
    wire::{Malformed, Reader, put_string},
};

pub(crate) const KEXINIT: u8 = 20;

/// A key exchange this check can carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// RFC 8731.
    Curve25519,
    /// RFC 5656 §4.
    Nistp256,
}

const EXCHANGES: [(&str, Exchange); 3] = [
    ("curve25519-sha256", Exchange::Curve25519),
    ("curve25519-sha256@libssh.org", Exchange::Curve25519),
    ("ecdh-sha2-nistp256", Exchange::Nistp256),
];

// Nothing is ever encrypted with these; but a server ends the connection when there is none in common.
const CIPHERS: &str = "aes128-ctr,aes256-ctr,aes192-ctr,chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,\
    aes256-gcm@openssh.com,aes128-cbc,aes256-cbc,3des-cbc";
const MACS: &str = "hmac-sha2-256,hmac-sha2-512,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,\
    umac-128-etm@openssh.com,umac-128@openssh.com,hmac-sha1,hmac-sha1-etm@openssh.com";
const COMPRESSION: &str = "none,zlib@openssh.com,zlib";

/// The algorithms a server offers; of those that may differ by direction, the ones towards the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) exchanges: Vec<String>,
    pub(crate) host_keys: Vec<String>,
    pub(crate) ciphers: Vec<String>,
    pub(crate) macs: Vec<String>,
    pub(crate) compression: Vec<String>,
    /// Whether a packet of the server's guessed key exchange follows.
    pub(crate) guess_follows: bool,
}

/// What both sides agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) name: String,
    pub(crate) exchange: Exchange,
    pub(crate) host_key: String,
}

impl Offer {
    /// Reads a whole KEXINIT message.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(message);
        if reader.byte()? != KEXINIT {
            return Err(Malformed("another message where KEXINIT belongs"));
        }
        reader.take(16)?; // cookie
        let (exchanges, host_keys) = (reader.names()?, reader.names()?);
        let (_, ciphers) = (reader.names()?, reader.names()?);
        let (_, macs) = (reader.names()?, reader.names()?);
        let (_, compression) = (reader.names()?, reader.names()?);
        let _languages = (reader.names()?, reader.names()?);
        Ok(Self {
            exchanges,
            host_keys,
            ciphers,
            macs,
            compression,
            guess_follows: reader.byte()? != 0,
        })
    }

    /// Everything offered, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        [
            &self.exchanges,
            &self.host_keys,
            &self.ciphers,
            &self.macs,
            &self.compression,
        ]
        .into_iter()
        .flatten()
    }

    /// The first of ours that the server has too, for key exchange and host key. `Err` says what there is none of.
    pub(crate) fn agree(&self, key_type: KeyType) -> Result<Agreed, String> {
        let none = |what, offered: &[String]| format!("{what} (offered: {})", offered.join(", "));
        let (name, exchange) = EXCHANGES
            .into_iter()
            .find(|(name, _)| self.exchanges.iter().any(|other| other == name))
            .ok_or_else(|| none("key exchange", &self.exchanges))?;
        let host_key = key_type
            .algorithms()
            .iter()
            .find(|&name| self.host_keys.iter().any(|other| other == name))
            .ok_or_else(|| none("host key algorithm", &self.host_keys))?;
        Ok(Agreed {
            name: name.to_owned(),
            exchange,
            host_key: (*host_key).to_owned(),
        })
    }

    /// Whether the server's guessed packet is for another key exchange than `agreed`, and so to be passed over (§7).
    pub(crate) fn guessed_wrong(&self, agreed: &Agreed) -> bool {
        let first = (self.exchanges.first(), self.host_keys.first());
        self.guess_follows && first != (Some(&agreed.name), Some(&agreed.host_key))
    }
}

/// Our own KEXINIT.
pub(crate) fn own(cookie: [u8; 16], key_type: KeyType) -> Vec<u8> {
    let exchanges = EXCHANGES.map(|(name, _)| name).join(",");
    let host_keys = key_type.algorithms().join(",");
    let mut message = vec![KEXINIT];
    message.extend_from_slice(&cookie);
    for list in [
        &exchanges,
        &host_keys,
        CIPHERS,
        CIPHERS,
        MACS,
        MACS,
        COMPRESSION,
        COMPRESSION,
        "",
        "",
    ] {
        put_string(&mut message, list.as_bytes());
    }
    message.extend_from_slice(&[0; 5]); // no guess follows; reserved
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    fn offer() -> Offer {
        Offer {
            exchanges: names(&[
                "sntrup761x25519-sha512",
                "ecdh-sha2-nistp256",
                "curve25519-sha256",
            ]),
            host_keys: names(&["rsa-sha2-512", "ssh-ed25519"]),
            ..Offer::default()
        }
    }

    #[test]
    fn our_own_offer_can_be_read() {
        let own = Offer::parse(&own([9; 16], KeyType::Any)).unwrap();
        assert_eq!(own.exchanges.first().unwrap(), "curve25519-sha256");
        assert_eq!(own.host_keys, KeyType::Any.algorithms());
        assert!(own.ciphers.contains(&"aes128-ctr".to_owned()) && !own.guess_follows);
        assert!(own.all().all(|name| !name.contains(' ')), "{own:?}");
    }

    #[test]
    fn the_clients_first_choice_wins() {
        let agreed = offer().agree(KeyType::Any).unwrap();
        assert_eq!(agreed.name, "curve25519-sha256");
        assert_eq!(agreed.host_key, "ssh-ed25519");
        assert_eq!(offer().agree(KeyType::Rsa).unwrap().host_key, "rsa-sha2-512");
        assert_eq!(
            offer().agree(KeyType::Ecdsa).unwrap_err(),
            "host key algorithm (offered: rsa-sha2-512, ssh-ed25519)"
        );
        let old = Offer {
            exchanges: names(&["diffie-hellman-group1-sha1"]),
            ..offer()
        };
        assert_eq!(
            old.agree(KeyType::Any).unwrap_err(),
            "key exchange (offered: diffie-hellman-group1-sha1)"
        );
    }

    #[test]
    fn a_wrong_guess_is_known_as_one() {
        let guessing = Offer {
            guess_follows: true,
            ..offer()
        };
        let agreed = guessing.agree(KeyType::Any).unwrap();
        assert!(guessing.guessed_wrong(&agreed));
        assert!(!offer().guessed_wrong(&agreed));
        let right = Offer {
            exchanges: names(&["curve25519-sha256"]),
            host_keys: names(&["ssh-ed25519"]),
            ..guessing
        };
        assert!(!right.guessed_wrong(&agreed));
    }

    #[test]
    fn an_offer_that_is_cut_anywhere_is_malformed() {
        let whole = own([0; 16], KeyType::Any);
        // The last four bytes are reserved; nobody reads them.
        for end in 0..whole.len() - 4 {
            assert!(Offer::parse(&whole[..end]).is_err(), "{end}");
        }
        assert!(Offer::parse(&[21; 40]).is_err());
    }
}
