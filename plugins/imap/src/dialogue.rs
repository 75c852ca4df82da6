//! The talk with the server, from greeting to LOGOUT. It tells what was seen; judging that is `verdict`'s business.

use crate::{
    argument::Argument,
    config::{Auth, Config, Credentials, Tls},
    response::{Counts, Response, Status, Word, shown, words},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use lapwing_plugin_sdk::{
    NetError, log,
    net::{Fault, TlsOptions},
    tcp::Connection,
};
use std::time::Duration;

/// Longest line, and longest literal.
const MAX_LINE: u32 = 8192;
/// Most responses to one command, and most literals in one response.
const MAX_RESPONSES: usize = 256;
const MAX_LITERALS: usize = 16;
/// Longest wait for the answer to LOGOUT: by then the verdict is known.
const PARTING: Duration = Duration::from_secs(1);

/// What the server showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) greeting: Status,
    /// The last ones told before any login.
    pub(crate) capabilities: Vec<String>,
    /// The TLS version in use at the end.
    pub(crate) tls: Option<String>,
    /// Whether somebody is logged in.
    pub(crate) logged_in: bool,
    /// The messages of the mailbox asked for.
    pub(crate) counts: Option<Counts>,
    /// Where the talk ended early.
    pub(crate) end: Option<End>,
}

/// Why there was nothing more to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The greeting was BYE.
    Bye,
    /// STARTTLS is not announced, or cannot be used any more.
    NoStarttls(&'static str),
    StarttlsRefused(Status),
    /// The server announces no way to log in that was asked for.
    NoLogin,
    LoginRefused(Status),
    MailboxRefused(Status),
}

/// A connection with commands in progress.
pub(crate) struct Dialogue<'a> {
    connection: &'a mut Connection,
    commands: u32,
}

/// What came until a command was done.
#[derive(Debug, Default)]
struct Answer {
    capabilities: Option<Vec<String>>,
    counts: Option<Counts>,
}

impl<'a> Dialogue<'a> {
    pub(crate) fn new(connection: &'a mut Connection) -> Self {
        Self {
            connection,
            commands: 0,
        }
    }

    /// Talks until there is nothing more to learn. `Err` when the connection or the protocol failed.
    pub(crate) fn hold(&mut self, config: &Config) -> Result<Seen, NetError> {
        let mut tls = None;
        if config.tls == Tls::Implicit {
            tls = Some(self.encrypt(config)?);
        }
        let mut seen = Seen {
            greeting: self.greeting()?,
            capabilities: Vec::new(),
            tls,
            logged_in: false,
            counts: None,
            end: None,
        };
        seen.end = self.converse(config, &mut seen)?;
        Ok(seen)
    }

    /// The time since the connection began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.connection.timing().total
    }

    /// Takes leave; the server's answer matters to nobody, but waiting for it spares it an error in its log.
    ///
    /// `remaining` is the run's time; most of it stays for ending the run.
    pub(crate) fn logout(&mut self, remaining: Duration) -> Result<(), NetError> {
        self.connection.set_timeout(Some(PARTING.min(remaining / 4)));
        self.command("LOGOUT").map(|_| ())
    }

    fn converse(&mut self, config: &Config, seen: &mut Seen) -> Result<Option<End>, NetError> {
        if seen.greeting.word == Word::Bye {
            return Ok(Some(End::Bye));
        }
        seen.logged_in = seen.greeting.word == Word::Preauth;
        seen.capabilities = match seen.greeting.capabilities() {
            Some(capabilities) => capabilities,
            None => self.capabilities()?,
        };
        if config.tls == Tls::Starttls {
            // Logged in already, it is too late (RFC 9051 §6.2.1): someone on the way may have said PREAUTH.
            if seen.logged_in {
                return Ok(Some(End::NoStarttls(
                    "greets with PREAUTH, after which there is no STARTTLS",
                )));
            }
            if !seen.has("STARTTLS") {
                return Ok(Some(End::NoStarttls("does not announce STARTTLS")));
            }
            let (status, _) = self.command("STARTTLS")?;
            if status.word != Word::Ok {
                return Ok(Some(End::StarttlsRefused(status)));
            }
            seen.tls = Some(self.encrypt(config)?);
            // What was announced in plain text may not be relied on (§6.2.1).
            seen.capabilities = self.capabilities()?;
        }
        if let Some(credentials) = config.credentials().filter(|_| !seen.logged_in) {
            let Some(method) = seen.method(config.auth) else {
                return Ok(Some(End::NoLogin));
            };
            let status = match method {
                Auth::Login => self.log_in(credentials)?,
                _ => self.authenticate(credentials, seen.has("SASL-IR"))?,
            };
            if status.word != Word::Ok {
                return Ok(Some(End::LoginRefused(status)));
            }
            seen.logged_in = true;
        }
        if let Some(mailbox) = &config.mailbox {
            let (status, answer) = self.status(mailbox)?;
            if status.word != Word::Ok {
                return Ok(Some(End::MailboxRefused(status)));
            }
            let counts = answer
                .counts
                .ok_or_else(|| NetError::protocol("no counts").during("IMAP STATUS"))?;
            seen.counts = Some(counts);
        }
        Ok(None)
    }

    fn greeting(&mut self) -> Result<Status, NetError> {
        let line = self.line("greeting")?;
        match Response::parse(&line) {
            Some(Response::Status(status)) if matches!(status.word, Word::Ok | Word::Preauth | Word::Bye) => {
                Ok(status)
            }
            _ => Err(malformed("greeting", &line)),
        }
    }

    fn encrypt(&mut self, config: &Config) -> Result<String, NetError> {
        Ok(self
            .connection
            .start_tls(TlsOptions::new(
                config.server_name.as_deref(),
                config.ignore_tls_errors,
            ))?
            .protocol)
    }

    fn capabilities(&mut self) -> Result<Vec<String>, NetError> {
        let (status, answer) = self.command("CAPABILITY")?;
        answer
            .capabilities
            .filter(|_| status.word == Word::Ok)
            .ok_or_else(|| {
                NetError::protocol(format!("answered {}", status.shown())).during("IMAP CAPABILITY")
            })
    }

    fn log_in(&mut self, Credentials { username, password }: Credentials<'_>) -> Result<Status, NetError> {
        let arguments = [Argument::new(username), Argument::new(password)];
        Ok(self.command_with("LOGIN", &arguments, "")?.0)
    }

    /// SASL PLAIN (RFC 4616), in one go where the server can (RFC 4959).
    fn authenticate(
        &mut self,
        Credentials { username, password }: Credentials<'_>,
        at_once: bool,
    ) -> Result<Status, NetError> {
        let what = "AUTHENTICATE PLAIN";
        let response = STANDARD.encode(format!("\0{username}\0{password}"));
        let tag = self.tag();
        if at_once {
            self.send(&format!("{tag} {what} {response}\r\n"))?;
        } else {
            self.send(&format!("{tag} {what}\r\n"))?;
            if let Some((status, _)) = self.invited(what, &tag)? {
                return Ok(status);
            }
            self.send(&format!("{response}\r\n"))?;
        }
        Ok(self.until_done(what, &tag)?.0)
    }

    fn status(&mut self, mailbox: &str) -> Result<(Status, Answer), NetError> {
        self.command_with("STATUS", &[Argument::mailbox(mailbox)], " (MESSAGES UNSEEN)")
    }

    fn command(&mut self, command: &str) -> Result<(Status, Answer), NetError> {
        self.command_with(command, &[], "")
    }

    /// Sends a command; literals one by one, as the server asks for them.
    fn command_with(
        &mut self,
        command: &str,
        arguments: &[Argument],
        last: &str,
    ) -> Result<(Status, Answer), NetError> {
        let tag = self.tag();
        let mut line = format!("{tag} {command}").into_bytes();
        for argument in arguments {
            line.push(b' ');
            match argument {
                Argument::Quoted(text) => line.extend_from_slice(text.as_bytes()),
                Argument::Literal(bytes) => {
                    line.extend_from_slice(format!("{{{}}}\r\n", bytes.len()).as_bytes());
                    self.connection.write_all(&std::mem::take(&mut line))?;
                    if let Some(refused) = self.invited(command, &tag)? {
                        return Ok(refused);
                    }
                    line.extend_from_slice(bytes);
                }
            }
        }
        line.extend_from_slice(last.as_bytes());
        line.extend_from_slice(b"\r\n");
        self.connection.write_all(&line)?;
        self.until_done(command, &tag)
    }

    /// Waits until the server wants the rest; what it says instead when it does not.
    fn invited(&mut self, what: &str, tag: &str) -> Result<Option<(Status, Answer)>, NetError> {
        let mut answer = Answer::default();
        for _ in 0..MAX_RESPONSES {
            match self.receive(what)? {
                Response::Continue => return Ok(None),
                Response::Done(other, status) if other == tag => return Ok(Some((status, answer))),
                response => answer.take(response, what)?,
            }
        }
        Err(endless(what))
    }

    fn until_done(&mut self, what: &str, tag: &str) -> Result<(Status, Answer), NetError> {
        let mut answer = Answer::default();
        for _ in 0..MAX_RESPONSES {
            match self.receive(what)? {
                Response::Done(other, status) if other == tag => {
                    log::debug!("{what}: {}", status.shown());
                    return Ok((status, answer));
                }
                response => answer.take(response, what)?,
            }
        }
        Err(endless(what))
    }

    fn receive(&mut self, what: &str) -> Result<Response, NetError> {
        let mut line = self.line(what)?;
        for _ in 0..MAX_LITERALS {
            let Some(length) = Response::literal(&line) else {
                return Response::parse(&line).ok_or_else(|| malformed(what, &line));
            };
            if length > MAX_LINE {
                return Err(
                    NetError::protocol(format!("a literal of {length} bytes")).during(format!("IMAP {what}"))
                );
            }
            // What a literal says is not needed: it can only be the mailbox's name.
            self.connection
                .read_exact(length)
                .map_err(|error| error.during(format!("IMAP {what}")))?;
            line.push(' ');
            line.push_str(&self.line(what)?);
        }
        Err(endless(what))
    }

    fn line(&mut self, what: &str) -> Result<String, NetError> {
        self.connection
            .read_line(MAX_LINE)
            .map_err(|error| error.during(format!("IMAP {what}")))
    }

    fn send(&mut self, line: &str) -> Result<(), NetError> {
        self.connection.write_all(line.as_bytes())
    }

    fn tag(&mut self) -> String {
        self.commands += 1;
        format!("L{}", self.commands)
    }
}

impl Seen {
    /// Whether a capability is announced, in whatever case.
    pub(crate) fn has(&self, wanted: &str) -> bool {
        self.capabilities
            .iter()
            .any(|capability| capability.eq_ignore_ascii_case(wanted))
    }

    /// The way to log in that was asked for, if the server has it.
    fn method(&self, wanted: Auth) -> Option<Auth> {
        let plain = self.has("AUTH=PLAIN").then_some(Auth::Plain);
        let login = (!self.has("LOGINDISABLED")).then_some(Auth::Login);
        match wanted {
            Auth::Auto => plain.or(login),
            Auth::Plain => plain,
            Auth::Login => login,
        }
    }
}

impl Answer {
    /// Keeps what a command was asked for; anything else a server may say at any time.
    fn take(&mut self, response: Response, what: &str) -> Result<(), NetError> {
        match response {
            Response::Data(word, rest) if word == "CAPABILITY" => self.capabilities = Some(words(&rest)),
            Response::Data(word, rest) if word == "STATUS" => self.counts = Counts::parse(&rest),
            Response::Data(..) => {}
            Response::Status(status) if status.word != Word::Bye || what == "LOGOUT" => {}
            Response::Status(status) => {
                let why = format!("the server ended the session: {}", status.shown());
                return Err(NetError::from(Fault::Closed).during(format!("IMAP {what}: {why}")));
            }
            Response::Continue | Response::Done(..) => {
                return Err(
                    NetError::protocol("an answer that nothing was asked for").during(format!("IMAP {what}"))
                );
            }
        }
        Ok(())
    }
}

fn malformed(what: &str, line: &str) -> NetError {
    NetError::protocol(format!("not an IMAP response: `{}`", shown(line))).during(format!("IMAP {what}"))
}

fn endless(what: &str) -> NetError {
    NetError::protocol("an answer that does not end").during(format!("IMAP {what}"))
}
