//! The talk with the server, from greeting to QUIT. It tells what was seen; judging that is `verdict`'s business.

use crate::{
    config::{Config, Tls},
    reply::{MAX_LINE, Reader, Reply},
};
use lapwing_plugin_sdk::{
    NetError, log,
    net::{TlsInfo, TlsOptions},
    tcp::Connection,
};
use std::time::Duration;

/// Longest wait for the answer to QUIT: by then the verdict is known.
const PARTING: Duration = Duration::from_secs(1);

/// What the server showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The first reply of all.
    pub(crate) banner: Reply,
    /// The last reply to EHLO or HELO; absent when the banner was not the expected one.
    pub(crate) hello: Option<Reply>,
    /// Whether STARTTLS was announced before any TLS.
    pub(crate) starttls: bool,
    /// The reply to the STARTTLS command, when it was not the expected one.
    pub(crate) starttls_refused: Option<Reply>,
    /// The TLS version in use at the end.
    pub(crate) tls: Option<String>,
}

impl Seen {
    fn new(banner: Reply) -> Self {
        Self {
            banner,
            hello: None,
            starttls: false,
            starttls_refused: None,
            tls: None,
        }
    }

    /// The extensions announced: every line of the reply to EHLO but the first (RFC 5321 §4.1.1.1).
    pub(crate) fn extensions(&self) -> &[String] {
        self.hello
            .as_ref()
            .and_then(|hello| hello.lines.split_first())
            .map_or(&[], |(_, extensions)| extensions)
    }

    /// Whether `wanted` was announced: its keyword, with all of its parameters.
    pub(crate) fn announces(&self, wanted: &str) -> bool {
        self.extensions()
            .iter()
            .any(|extension| covers(extension, wanted))
    }
}

/// Talks until there is nothing more to learn. `Err` when the connection or the protocol failed.
pub(crate) fn hold(connection: &mut Connection, config: &Config) -> Result<Seen, NetError> {
    let mut tls = None;
    if config.tls == Tls::Implicit {
        tls = Some(encrypt(connection, config)?);
    }
    let mut seen = Seen::new(receive(connection, "greeting")?);
    seen.tls = tls;
    if seen.banner.code != config.banner_code || !seen.banner.is_positive() {
        return Ok(seen);
    }
    seen.hello = Some(greet(connection, config)?);
    seen.starttls = seen.announces("STARTTLS");
    if config.tls == Tls::Starttls && seen.starttls {
        let reply = command(connection, "STARTTLS")?;
        if reply.code != 220 {
            seen.starttls_refused = Some(reply);
            return Ok(seen);
        }
        seen.tls = Some(encrypt(connection, config)?);
        // What was announced in plain text may not be relied on (RFC 3207 §4.2).
        seen.hello = Some(greet(connection, config)?);
    }
    Ok(seen)
}

/// Takes leave; the server's answer matters to nobody, but waiting for it spares it an error in its log.
///
/// `remaining` is the run's time; most of it stays for ending the run.
pub(crate) fn quit(connection: &mut Connection, remaining: Duration) -> Result<(), NetError> {
    connection.set_timeout(Some(PARTING.min(remaining / 4)));
    command(connection, "QUIT").map(|_| ())
}

/// EHLO, or HELO with a server that does not know EHLO (RFC 5321 §3.2).
fn greet(connection: &mut Connection, config: &Config) -> Result<Reply, NetError> {
    let reply = command(connection, &format!("EHLO {}", config.helo))?;
    if matches!(reply.code, 500 | 502 | 504) {
        return command(connection, &format!("HELO {}", config.helo));
    }
    Ok(reply)
}

fn encrypt(connection: &mut Connection, config: &Config) -> Result<String, NetError> {
    let TlsInfo { protocol, .. } = connection.start_tls(TlsOptions::new(
        config.server_name.as_deref(),
        config.ignore_tls_errors,
    ))?;
    Ok(protocol)
}

fn command(connection: &mut Connection, line: &str) -> Result<Reply, NetError> {
    connection.write_all(format!("{line}\r\n").as_bytes())?;
    let reply = receive(connection, line)?;
    log::debug!("{line}: {reply}");
    Ok(reply)
}

/// Waits for the whole reply to `what`, for which an error is named.
fn receive(connection: &mut Connection, what: &str) -> Result<Reply, NetError> {
    read(connection).map_err(|error| error.during(format!("SMTP {what}")))
}

fn read(connection: &mut Connection) -> Result<Reply, NetError> {
    let mut reader = Reader::default();
    loop {
        let line = connection.read_line(MAX_LINE)?;
        let reply = reader
            .push(&line)
            .map_err(|malformed| NetError::protocol(malformed.to_string()))?;
        if let Some(reply) = reply {
            return Ok(reply);
        }
    }
}

/// Whether an announced extension (`AUTH PLAIN LOGIN`, or the old `AUTH=PLAIN`) has the keyword and the parameters
/// of `wanted`, in whatever case.
fn covers(announced: &str, wanted: &str) -> bool {
    let mut announced = announced.split([' ', '=']).filter(|word| !word.is_empty());
    let mut wanted = wanted.split([' ', '=']).filter(|word| !word.is_empty());
    let same_keyword = match (announced.next(), wanted.next()) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        _ => false,
    };
    let parameters: Vec<&str> = announced.collect();
    same_keyword
        && wanted.all(|word| {
            parameters
                .iter()
                .any(|parameter| parameter.eq_ignore_ascii_case(word))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_found_by_keyword_and_parameters() {
        assert!(covers("STARTTLS", "starttls"));
        assert!(covers("AUTH PLAIN LOGIN", "AUTH"));
        assert!(covers("AUTH PLAIN LOGIN", "auth login"));
        assert!(covers("AUTH=PLAIN", "AUTH PLAIN"));
        assert!(!covers("AUTH PLAIN", "AUTH LOGIN"));
        assert!(!covers("AUTH", "AUTH PLAIN"));
        assert!(!covers("STARTTLSX", "STARTTLS"));
        assert!(!covers("SIZE 10", "10"));
        assert!(!covers("", ""));
    }
}
