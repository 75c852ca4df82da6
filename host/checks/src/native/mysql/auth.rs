//! Who the server is, and how it wants to be convinced of who we are.

use crate::{CheckError, native::session::Fault};
use bytes::{Buf, Bytes};
use lapwing_model::Reason;
use mysql_common::{
    auth::plugins::{AuthProc, ChallengeResponsePlugin, Context, Error, Response},
    constants::CapabilityFlags,
    crypto::der::{PubKeyFileType, pem_to_der},
    packets::AuthPlugin,
};
use x509_parser::{
    prelude::{FromDer, SubjectPublicKeyInfo},
    public_key::{PublicKey, RSAPublicKey},
};

/// Shortest modulus of a server's key, in bytes.
const LEAST_MODULUS: usize = 1024 / 8;
/// What OAEP with SHA-1 adds to a message (RFC 8017 §7.1.1), and the password's NUL.
const PADDING: usize = 2 * 20 + 2 + 1;

/// The server's first packet (`HandshakeV10`).
pub(super) struct Greeting {
    pub(super) capabilities: CapabilityFlags,
    scramble: Vec<u8>,
    plugin: Vec<u8>,
}

impl Greeting {
    /// `None`: it is none. Not left to the library, which computes with an unchecked length of the server's.
    pub(super) fn parse(mut packet: Bytes) -> Option<Self> {
        if packet.try_get_u8().ok()? != 10 {
            return None;
        }
        let version = packet.iter().position(|byte| *byte == 0)?;
        packet.advance(version + 1);
        // Connection 4, scramble 8, filler 1, capabilities 2, collation 1, status 2, capabilities 2, length 1, filler 10.
        if packet.remaining() < 31 {
            return None;
        }
        packet.advance(4);
        let mut scramble = packet.split_to(8).to_vec();
        packet.advance(1);
        let low = packet.get_u16_le();
        packet.advance(3);
        let high = packet.get_u16_le();
        packet.advance(11);
        let end = packet
            .iter()
            .skip(12)
            .position(|byte| *byte == 0)
            .map_or(12, |at| at + 12);
        let rest = packet.split_to(end.min(packet.len()));
        scramble.extend_from_slice(&rest);
        if packet.has_remaining() {
            packet.advance(1);
        }
        let plugin = packet.iter().take_while(|byte| **byte != 0).copied().collect();
        let capabilities = u32::from(low) | (u32::from(high) << 16);
        Some(Self {
            capabilities: CapabilityFlags::from_bits_truncate(capabilities),
            scramble,
            plugin,
        })
    }
}

/// A login in progress.
pub(super) struct Login {
    plugin: AuthPlugin<'static>,
    procedure: AuthProc,
    scramble: Vec<u8>,
    password: String,
    secure: bool,
}

impl Login {
    /// Begins with the plugin the server proposes, or with the one that every server knows.
    pub(super) fn new(greeting: &Greeting, password: String, secure: bool) -> Result<Self, Fault> {
        let proposed = AuthPlugin::from_bytes(&greeting.plugin).into_owned();
        let known = matches!(
            proposed,
            AuthPlugin::MysqlNativePassword | AuthPlugin::CachingSha2Password | AuthPlugin::Sha256Password
        );
        let plugin = if known {
            proposed
        } else {
            AuthPlugin::MysqlNativePassword
        };
        Ok(Self {
            procedure: procedure(&plugin, secure)?,
            plugin,
            scramble: greeting.scramble.clone(),
            password,
            secure,
        })
    }

    /// The plugin in use.
    pub(super) fn plugin(&self) -> AuthPlugin<'static> {
        self.plugin.clone()
    }

    /// What goes with the handshake's response.
    pub(super) fn answer_first(&mut self) -> Result<Response, Fault> {
        let scramble = self.scramble.clone();
        self.answer(&scramble)?
            .ok_or_else(|| unsupported("with its scramble"))
    }

    /// Follows the server to another plugin: its name, NUL, its challenge.
    pub(super) fn switch(&mut self, packet: &[u8]) -> Result<Response, Fault> {
        let mut parts = packet.splitn(2, |byte| *byte == 0);
        let name = parts
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or(b"mysql_old_password");
        let challenge = parts.next().unwrap_or_default();
        let challenge = challenge.strip_suffix(&[0]).unwrap_or(challenge).to_vec();
        self.plugin = AuthPlugin::from_bytes(name).into_owned();
        self.procedure = procedure(&self.plugin, self.secure)?;
        self.scramble.clone_from(&challenge);
        let named = String::from_utf8_lossy(name).into_owned();
        self.answer(&challenge)?.ok_or_else(|| unsupported(&named))
    }

    /// The next answer; `None` when the challenge does not fit the plugin.
    pub(super) fn answer(&mut self, challenge: &[u8]) -> Result<Option<Response>, Fault> {
        if pem_to_der(challenge).is_ok() && !is_sound_key(challenge, self.password.len() + PADDING) {
            return Ok(None);
        }
        let context = Known {
            password: &self.password,
            scramble: &self.scramble,
            secure: self.secure,
        };
        match self.procedure.run(context, challenge) {
            Ok(response) => Ok(Some(response)),
            Err(Error::Challenge | Error::Logic) => Ok(None),
            Err(Error::Password | Error::FeatureRequired(_)) => {
                Err(unsupported(&String::from_utf8_lossy(self.plugin.as_bytes())))
            }
            Err(Error::Other(error)) => Err(CheckError::Internal(error.to_string()).into()),
        }
    }
}

/// Whether `pem` is an RSA key that has room for `least` bytes. Not left to the library, which indexes and subtracts
/// unchecked.
fn is_sound_key(pem: &[u8], least: usize) -> bool {
    let Ok((der, form)) = pem_to_der(pem) else {
        return false;
    };
    let room = |key: &RSAPublicKey<'_>| {
        let zeros = key.modulus.iter().take_while(|byte| **byte == 0).count();
        key.modulus.len() - zeros
    };
    let modulus = match form {
        PubKeyFileType::Pkcs1 => RSAPublicKey::from_der(&der).ok().map(|(_, key)| room(&key)),
        PubKeyFileType::Pkcs8 => match SubjectPublicKeyInfo::from_der(&der) {
            Ok((_, info)) => match info.parsed() {
                Ok(PublicKey::RSA(key)) => Some(room(&key)),
                _ => None,
            },
            Err(_) => None,
        },
    };
    modulus.is_some_and(|length| length >= LEAST_MODULUS.max(least))
}

/// What a plugin may know.
struct Known<'a> {
    password: &'a str,
    scramble: &'a [u8],
    secure: bool,
}

impl Context for Known<'_> {
    fn pass(&self) -> &[u8] {
        self.password.as_bytes()
    }
    fn is_ipc_transport(&self) -> bool {
        false
    }
    fn is_tls_transport(&self) -> bool {
        self.secure
    }
    fn scramble(&self) -> &[u8] {
        self.scramble
    }
    fn server_key_pem(&self) -> Option<&[u8]> {
        None
    }
}

/// A server may ask for the password as it is: only where nobody on the way hears it. The hash of MySQL 4.0 is as good as
/// none.
fn procedure(plugin: &AuthPlugin<'_>, secure: bool) -> Result<AuthProc, Fault> {
    let named = || String::from_utf8_lossy(plugin.as_bytes()).into_owned();
    match plugin {
        AuthPlugin::MysqlOldPassword => Err(unsupported(&named())),
        AuthPlugin::MysqlClearPassword if !secure => Err(refused(
            "MySQL query failed: the server asks for the password in plain text over a connection without TLS; set `tls` in the connection string".to_owned(),
        )),
        _ => AuthProc::init(plugin).map_err(|_| unsupported(&named())),
    }
}

fn unsupported(plugin: &str) -> Fault {
    let plugin: String = plugin.chars().take(64).collect();
    refused(format!(
        "MySQL query failed: the server asks for the authentication plugin `{plugin}`, which is not supported; give the monitoring user mysql_native_password or caching_sha2_password"
    ))
}

/// It is the server that asks for what we do not do: one that does so of a sudden must not go unseen.
fn refused(message: String) -> Fault {
    Fault::Told(Reason::AuthFailed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(tail: &[u8]) -> Bytes {
        let mut packet = vec![10];
        packet.extend_from_slice(b"8.4.0\0\x01\0\0\0abcdefgh\0\xff\xff\x2d\x02\0\xff\xdf");
        packet.push(21);
        packet.extend_from_slice(&[0; 10]);
        packet.extend_from_slice(tail);
        packet.into()
    }

    #[test]
    fn a_greeting_is_read_and_what_is_none_is_not() {
        let parsed = Greeting::parse(greeting(b"ijklmnopqrst\0caching_sha2_password\0")).unwrap();
        assert_eq!(parsed.scramble, b"abcdefghijklmnopqrst");
        assert_eq!(parsed.plugin, b"caching_sha2_password");
        assert!(parsed.capabilities.contains(CapabilityFlags::CLIENT_SSL));
        let short = Greeting::parse(greeting(b"")).unwrap();
        assert_eq!((short.scramble.len(), short.plugin.len()), (8, 0));
        for packet in [&b""[..], b"\x09x\0", b"\x0a5.7", b"\x0a5.7\0short"] {
            assert!(Greeting::parse(Bytes::from_static(packet)).is_none());
        }
    }

    /// A key in DER, of a modulus of `bytes` behind a zero.
    fn key(bytes: u8) -> Vec<u8> {
        let of =
            |tag: u8, content: &[u8]| [&[tag, 0x81, u8::try_from(content.len()).unwrap()], content].concat();
        let modulus = [&[0][..], &vec![0xC1; bytes.into()]].concat();
        let numbers = of(0x30, &[of(2, &modulus), of(2, &[1, 0, 1])].concat());
        let rsa = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
        of(0x30, &[&rsa[..], &of(3, &[&[0][..], &numbers].concat())].concat())
    }

    #[test]
    fn a_servers_key_is_looked_at_before_it_is_used() {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let pem = |der: &[u8]| {
            let text = BASE64_STANDARD.encode(der);
            format!("-----BEGIN PUBLIC KEY-----{text}-----END PUBLIC KEY-----").into_bytes()
        };
        let answered = |key: &[u8], password: &str| {
            let greeting = Greeting::parse(greeting(b"ijklmnopqrst\0caching_sha2_password\0")).unwrap();
            let mut login = Login::new(&greeting, password.into(), false).unwrap();
            login.answer_first().unwrap();
            login.answer(&[4]).unwrap().unwrap();
            login.answer(key).unwrap().is_some()
        };
        let sound = key(128);
        assert!(answered(&pem(&sound), "hunter2"));
        // The longest that fits, and one more.
        assert!(answered(&pem(&sound), &"x".repeat(128 - PADDING)));
        assert!(!answered(&pem(&sound), &"x".repeat(128 - PADDING + 1)));
        assert!(!answered(&pem(&key(32)), "hunter2"));
        for length in 0..sound.len() {
            assert!(!answered(&pem(&sound[..length]), "hunter2"), "{length}");
        }
    }

    #[test]
    fn a_password_is_not_told_in_plain_text_to_whoever_asks() {
        let mut login = Login::new(
            &Greeting::parse(greeting(b"ijklmnopqrst\0mysql_native_password\0")).unwrap(),
            "hunter2".into(),
            false,
        )
        .unwrap();
        assert!(login.switch(b"mysql_clear_password\0").is_err());
        assert!(login.switch(b"mysql_old_password\0abcdefgh\0").is_err());
        assert!(login.switch(b"").is_err());
        login.secure = true;
        let told = login.switch(b"mysql_clear_password\0").unwrap();
        assert_eq!(told.data(), Some(&b"hunter2\0"[..]));
    }
}
