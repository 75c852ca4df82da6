//! The talk with the server: TLS, bind, search, unbind. It tells what was seen; judging that is `verdict`'s business.

use crate::{
    ber,
    config::{Config, Search, Tls},
    message::{self, Entry, LdapResult, Operation, Received},
};
use lapwing_plugin_sdk::{Failure, NetError, log, net::TlsOptions, tcp::Connection};

/// Largest message accepted. An entry with a photograph fits.
const MAX_MESSAGE: usize = 1 << 20;
/// Bytes to ask the host for at a time.
const CHUNK: u32 = 16 << 10;

/// What the server showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The answer to the wish for TLS, when it was no success.
    pub(crate) starttls_refused: Option<LdapResult>,
    /// The TLS version in use.
    pub(crate) tls: Option<String>,
    /// The answer to the bind.
    pub(crate) bind: Option<LdapResult>,
    /// How the search ended.
    pub(crate) search: Option<LdapResult>,
    /// What it found; of entries past the limit only that there are more.
    pub(crate) entries: Vec<Entry>,
    /// Pointers to other servers, which are not followed.
    pub(crate) references: u32,
}

/// What to say to the server: all that can be wrong with a configuration is found before it is connected to.
pub(crate) struct Plan<'a> {
    config: &'a Config,
    dn: &'a str,
    password: &'a str,
    search: Option<message::Search<'a>>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(config: &'a Config) -> Result<Self, Failure> {
        let (dn, password) = config.credentials()?;
        let search = config.search.as_ref();
        Ok(Self {
            config,
            dn,
            password,
            search: search.map(Search::request).transpose()?,
        })
    }

    /// Talks until there is nothing more to learn. `Err` when the connection or the protocol failed.
    pub(crate) fn carry_out(&self, connection: Connection) -> Result<Seen, NetError> {
        let mut server = Server::new(connection);
        let mut seen = Seen::default();
        if self.config.tls == Tls::Starttls {
            let answer = server.ask("StartTLS", message::start_tls)?;
            if !answer.is_success() {
                seen.starttls_refused = Some(answer);
                return Ok(seen);
            }
        }
        if self.config.tls != Tls::Off {
            seen.tls = Some(server.encrypt(self.config)?);
        }
        let answer = server.ask("bind", |id| message::bind(id, self.dn, self.password))?;
        if let (true, Some(search)) = (answer.is_success(), &self.search) {
            server.search(search, &mut seen)?;
        }
        seen.bind = Some(answer);
        server.leave();
        Ok(seen)
    }
}

/// The connection, what was read of it and not used yet, and the number of the last request.
struct Server {
    connection: Connection,
    unread: Vec<u8>,
    id: u32,
}

impl Server {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            unread: Vec::new(),
            id: 0,
        }
    }

    fn encrypt(&mut self, config: &Config) -> Result<String, NetError> {
        // What came before the handshake would pass for encrypted.
        if !self.unread.is_empty() {
            return Err(NetError::protocol("bytes follow the answer to StartTLS"));
        }
        Ok(self
            .connection
            .start_tls(TlsOptions::new(
                config.server_name.as_deref(),
                config.ignore_tls_errors,
            ))?
            .protocol)
    }

    /// Sends a request that has one answer, and waits for it.
    fn ask(&mut self, what: &str, request: impl FnOnce(u32) -> Vec<u8>) -> Result<LdapResult, NetError> {
        self.send(request)?;
        match self.receive(what)? {
            Operation::Bound(result) | Operation::Extended(result) => {
                log::debug!("{what}: {result}");
                Ok(result)
            }
            _ => Err(NetError::protocol("an answer to something else").during(format!("LDAP {what}"))),
        }
    }

    /// Sends a search and collects what it finds, no more than was asked for.
    fn search(&mut self, request: &message::Search<'_>, seen: &mut Seen) -> Result<(), NetError> {
        const WHAT: &str = "search";
        self.send(|id| message::search(id, request))?;
        loop {
            match self.receive(WHAT)? {
                Operation::Entry(entry) if seen.entries.len() < request.size_limit as usize => {
                    seen.entries.push(entry);
                }
                Operation::Entry(_) => {
                    return Err(NetError::protocol("more entries than asked for").during("LDAP search"));
                }
                Operation::Reference => seen.references = seen.references.saturating_add(1),
                Operation::Searched(result) => {
                    log::debug!("{WHAT}: {result}, {} entries", seen.entries.len());
                    seen.search = Some(result);
                    return Ok(());
                }
                _ => return Err(NetError::protocol("an answer to something else").during("LDAP search")),
            }
        }
    }

    /// Nothing answers, and the verdict is known already.
    fn leave(&mut self) {
        if let Err(error) = self.send(message::unbind) {
            log::debug!("no polite end: {error}");
        }
    }

    fn send(&mut self, request: impl FnOnce(u32) -> Vec<u8>) -> Result<(), NetError> {
        self.id += 1;
        self.connection.write_all(&request(self.id))
    }

    /// The next answer to the last request; an error is led by what was asked.
    fn receive(&mut self, what: &str) -> Result<Operation, NetError> {
        let received = self
            .message()
            .map_err(|error| error.during(format!("LDAP {what}")))?;
        match received {
            Received { id, operation } if id == self.id => Ok(operation),
            // A notice of disconnection (RFC 4511 §4.4.1).
            Received {
                id: 0,
                operation: Operation::Extended(result),
            } => {
                Err(NetError::protocol(format!("the server hangs up: {result}"))
                    .during(format!("LDAP {what}")))
            }
            Received { id, .. } => {
                let text = format!("an answer to request {id}, not {}", self.id);
                Err(NetError::protocol(text).during(format!("LDAP {what}")))
            }
        }
    }

    fn message(&mut self) -> Result<Received, NetError> {
        let malformed = |ber::Malformed(what)| NetError::protocol(format!("no LDAP: {what}"));
        loop {
            if self.unread.first().is_some_and(|&tag| tag != ber::SEQUENCE) {
                return Err(NetError::protocol("no LDAP: it does not begin as a message does"));
            }
            match ber::measure(&self.unread).map_err(malformed)? {
                Some(length) if length > MAX_MESSAGE => {
                    return Err(NetError::protocol(format!("a message of {length} bytes")));
                }
                Some(length) if length <= self.unread.len() => {
                    let rest = self.unread.split_off(length);
                    let whole = std::mem::replace(&mut self.unread, rest);
                    return message::read(&whole).map_err(malformed);
                }
                _ => {}
            }
            let more = self.connection.read(CHUNK)?;
            if more.is_empty() {
                return Err(lapwing_plugin_sdk::net::Fault::Closed.into());
            }
            self.unread.extend(more);
        }
    }
}
