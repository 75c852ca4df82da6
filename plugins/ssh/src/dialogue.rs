//! The talk with the server, up to the proof of its host key. It tells what was seen; judging that is `verdict`'s
//! business. No credentials are ever sent: the connection ends before there is an encrypted channel.

use crate::{
    config::{Config, Until},
    exchange::{Ephemeral, INIT, Reply, Transcript},
    host_key::HostKey,
    offer::{self, Agreed, Offer},
    version::Version,
    wire::{self, Malformed, Reader, put_string},
};
use lapwing_plugin_sdk::{Failure, NetError, log, tcp::Connection};

/// How we introduce ourselves.
const OWN_VERSION: &str = concat!("SSH-2.0-Lapwing_", env!("CARGO_PKG_VERSION"));
/// Longest line before the version line, and most of them (RFC 4253 §4.2 has no limits).
const MAX_LINE: u32 = 1024;
const MAX_LINES: usize = 32;
/// Most messages that say nothing (SSH_MSG_IGNORE, SSH_MSG_DEBUG) before one that does.
const MAX_IDLE: usize = 16;

const DISCONNECT: u8 = 1;
const IGNORE: u8 = 2;
const UNIMPLEMENTED: u8 = 3;
const DEBUG: u8 = 4;
/// SSH_DISCONNECT_BY_APPLICATION (RFC 4250 §4.2.2).
const BY_APPLICATION: u32 = 11;

/// What the server showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    /// What came before the version line; the last line with something on it.
    pub(crate) preface: Option<String>,
    /// Absent when only the version was asked for, or is not one to go on with.
    pub(crate) offer: Option<Offer>,
    /// Absent as well when there is nothing to agree on.
    pub(crate) proof: Option<Proof>,
    /// What there was nothing in common of.
    pub(crate) disagreement: Option<String>,
}

/// A host key, and whether the server has proven that it is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) agreed: Agreed,
    pub(crate) key: HostKey,
    pub(crate) proven: bool,
}

/// Talks until there is nothing more to learn.
pub(crate) fn hold(connection: &mut Connection, config: &Config) -> Result<Seen, Failure> {
    connection.write_all(format!("{OWN_VERSION}\r\n").as_bytes())?;
    let (version, preface) = introduction(connection)?;
    log::debug!("{}", version.line);
    let mut seen = Seen {
        version,
        preface,
        offer: None,
        proof: None,
        disagreement: None,
    };
    if config.until == Until::HostKey && seen.version.is_two() {
        negotiate(connection, config, &mut seen)?;
        let _ = send(connection, &farewell());
    }
    Ok(seen)
}

/// The version line, and the last line before it.
fn introduction(connection: &mut Connection) -> Result<(Version, Option<String>), Failure> {
    let mut preface = None;
    for _ in 0..=MAX_LINES {
        let line = match connection.read_until(b"\n", MAX_LINE) {
            Ok(line) => line,
            Err(error) => return Err(unversioned(error, preface.as_deref())),
        };
        if let Some(version) = Version::parse(&line).map_err(malformed)? {
            return Ok((version, preface));
        }
        let said = String::from_utf8_lossy(&line).trim().to_owned();
        preface = Some(said).filter(|said| !said.is_empty()).or(preface);
    }
    let last = preface.unwrap_or_default();
    let many = format!(
        "more than {MAX_LINES} lines and no version, last `{}`",
        shown(&last)
    );
    Err(NetError::protocol(many).during("SSH version").into())
}

/// A server that says why it does not serve (`Exceeded MaxStartups`) is quoted.
fn unversioned(error: NetError, preface: Option<&str>) -> Failure {
    let what = match preface {
        Some(said) => format!("SSH version, after `{}`", shown(said)),
        None => "SSH version".to_owned(),
    };
    error.during(what).into()
}

fn negotiate(connection: &mut Connection, config: &Config, seen: &mut Seen) -> Result<(), Failure> {
    let own_offer = offer::own(random()?, config.host_key_type);
    send(connection, &own_offer)?;
    let message = receive(connection, "algorithms")?;
    let offer = Offer::parse(&message).map_err(malformed)?;
    match offer.agree(config.host_key_type) {
        Err(nothing) => seen.disagreement = Some(nothing),
        Ok(agreed) => {
            let ephemeral = Ephemeral::new(agreed.exchange, random()?)
                .ok_or_else(|| Failure::retryable("random bytes that make no key"))?;
            let said = Transcript {
                own_version: OWN_VERSION,
                version: &seen.version.line,
                own_offer: &own_offer,
                offer: &message,
            };
            let mut init = vec![INIT];
            put_string(&mut init, &ephemeral.public);
            send(connection, &init)?;
            if offer.guessed_wrong(&agreed) {
                receive(connection, "key exchange")?;
            }
            let answer = receive(connection, "key exchange")?;
            let reply = Reply::parse(&answer).map_err(malformed)?;
            let key = HostKey::parse(reply.host_key).map_err(malformed)?;
            let hash = ephemeral.hash(said, reply).map_err(malformed)?;
            let proven = key.signed(&agreed.host_key, &hash, reply.signature);
            seen.proof = Some(Proof { agreed, key, proven });
        }
    }
    seen.offer = Some(offer);
    Ok(())
}

fn send(connection: &mut Connection, payload: &[u8]) -> Result<(), NetError> {
    connection.write_all(&wire::packet(payload))
}

/// The next message that says something about `what`.
fn receive(connection: &mut Connection, what: &str) -> Result<Vec<u8>, Failure> {
    let during = |error: NetError| error.during(format!("SSH {what}"));
    for _ in 0..=MAX_IDLE {
        let head = connection.read_exact(4).map_err(during)?;
        let length = wire::packet_length(&head).map_err(malformed)?;
        let rest = connection.read_exact(length).map_err(during)?;
        let payload = wire::payload(&rest).map_err(malformed)?;
        match payload.first() {
            Some(&(IGNORE | UNIMPLEMENTED | DEBUG)) => {}
            Some(&DISCONNECT) => return Err(disconnected(payload, what)),
            _ => return Ok(payload.to_vec()),
        }
    }
    Err(malformed(Malformed("nothing but idle messages")))
}

/// The server ends the connection, and says why (RFC 4253 §11.1).
fn disconnected(message: &[u8], what: &str) -> Failure {
    let mut reader = Reader(message.get(1..).unwrap_or_default());
    let code = reader.uint32().unwrap_or_default();
    let why = String::from_utf8_lossy(reader.string().unwrap_or_default());
    let text = format!(
        "SSH {what}: disconnected by the server: {} (code {code})",
        shown(why.trim())
    );
    Failure::down("ssh_disconnected", text)
}

fn farewell() -> Vec<u8> {
    let mut message = vec![DISCONNECT];
    message.extend_from_slice(&BY_APPLICATION.to_be_bytes());
    put_string(&mut message, b"check done");
    put_string(&mut message, b"");
    message
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Failure::internal(format!("no randomness: {error}")))?;
    Ok(bytes)
}

fn malformed(Malformed(what): Malformed) -> Failure {
    NetError::protocol(what).during("SSH").into()
}

/// A server's words, cut to fit a message.
fn shown(text: &str) -> String {
    text.chars().take(120).collect()
}
