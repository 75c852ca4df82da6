//! The conversation with a PostgreSQL server.

use crate::{
    CheckError, ProbeContext,
    native::{
        connection::ConnectionUrl,
        scram::{self, Hash, Scram},
        session::{Fault, MOST_FRAME, Session, Trace},
        sql::{Rows, TlsMode},
    },
    net::{IpFamily, NetError, tls::TlsOptions},
};
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use lapwing_model::Reason;
use postgres_protocol::{
    IsNull,
    authentication::md5_hash,
    message::{
        backend::{AuthenticationSaslBody, DataRowBody, ErrorResponseBody, Message},
        frontend,
    },
};
use std::{borrow::Cow, io};

const CONNECT: &str = "connection failed";
const QUERY: &str = "Query failed";
const PORT: u16 = 5432;

/// A connection.
pub(super) struct Postgres<'a> {
    session: Session<'a>,
}

impl<'a> Postgres<'a> {
    /// Connects, and speaks TLS if `mode` says so.
    pub(super) async fn connect(
        cx: &'a ProbeContext,
        trace: &'a mut Trace,
        url: &ConnectionUrl,
        family: IpFamily,
        mode: TlsMode,
        tls: &TlsOptions,
    ) -> Result<Self, Fault> {
        let (host, port) = url.host().cloned().unwrap_or_default();
        let session = Session::open(cx, trace, &host, port.unwrap_or(PORT), family).await;
        let session = session.map_err(Fault::at(CONNECT))?;
        let session = encrypted(session, mode, tls).await.map_err(Fault::at(CONNECT))?;
        Ok(Self { session })
    }

    /// Starts up and authenticates.
    pub(super) async fn log_in(&mut self, url: &ConnectionUrl) -> Result<(), Fault> {
        let (user, password) = (url.user.as_deref().unwrap_or_default(), url.password.as_deref());
        let password = password.unwrap_or_default();
        let parameters = [
            ("user", user),
            ("database", url.database.as_str()),
            ("client_encoding", "UTF8"),
            ("application_name", "lapwing"),
        ];
        self.say(CONNECT, |buffer| frontend::startup_message(parameters, buffer))
            .await?;
        let mut admitted = false;
        loop {
            match self.hear(CONNECT).await? {
                Message::AuthenticationCleartextPassword => {
                    self.say(CONNECT, |buffer| {
                        frontend::password_message(password.as_bytes(), buffer)
                    })
                    .await?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user.as_bytes(), password.as_bytes(), body.salt());
                    self.say(CONNECT, |buffer| {
                        frontend::password_message(hash.as_bytes(), buffer)
                    })
                    .await?;
                }
                Message::AuthenticationSasl(body) => self.scram(password, &body).await?,
                Message::AuthenticationOk => admitted = true,
                Message::ReadyForQuery(_) if admitted => return Ok(()),
                Message::BackendKeyData(_) | Message::ParameterStatus(_) | Message::NoticeResponse(_) => {}
                Message::ErrorResponse(body) => return Err(refusal(CONNECT, &body)),
                Message::AuthenticationGss
                | Message::AuthenticationKerberosV5
                | Message::AuthenticationScmCredential
                | Message::AuthenticationSspi => return Err(unsupported()),
                _ => return Err(self.unexpected(CONNECT)),
            }
        }
    }

    async fn scram(&mut self, password: &str, offered: &AuthenticationSaslBody) -> Result<(), Fault> {
        let mechanism = "SCRAM-SHA-256";
        let offers = offered
            .mechanisms()
            .any(|offer| Ok(offer == mechanism))
            .map_err(|error| self.broken(CONNECT, &error))?;
        if !offers {
            return Err(unsupported());
        }
        let prepared = stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password));
        let nonce = scram::nonce().map_err(CheckError::Internal)?;
        let mut scram = Scram::new(Hash::Sha256, "", &prepared, nonce);
        let first = scram.first();
        self.say(CONNECT, |buffer| {
            frontend::sasl_initial_response(mechanism, first.as_bytes(), buffer)
        })
        .await?;
        let challenge = match self.hear(CONNECT).await? {
            Message::AuthenticationSaslContinue(body) => String::from_utf8_lossy(body.data()).into_owned(),
            Message::ErrorResponse(body) => return Err(refusal(CONNECT, &body)),
            _ => return Err(self.unexpected(CONNECT)),
        };
        let last = self.session.within(scram.last(&challenge)).await;
        let last = last.map_err(Fault::at(CONNECT))?;
        let last = last.map_err(|why| self.foul(&why))?;
        self.say(CONNECT, |buffer| frontend::sasl_response(last.as_bytes(), buffer))
            .await?;
        match self.hear(CONNECT).await? {
            Message::AuthenticationSaslFinal(body) => scram
                .verify(&String::from_utf8_lossy(body.data()))
                .map_err(|why| self.foul(&why)),
            Message::ErrorResponse(body) => Err(refusal(CONNECT, &body)),
            _ => Err(self.unexpected(CONNECT)),
        }
    }

    /// Runs one statement in a read-only transaction and fetches at most `most` rows of its result.
    pub(super) async fn query(&mut self, query: &str, most: u32) -> Result<Rows, Fault> {
        self.say(QUERY, |buffer| frontend::query("BEGIN READ ONLY", buffer))
            .await?;
        self.result().await?;
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        self.say(QUERY, |buffer| {
            frontend::parse("", query, [], buffer)?;
            let none = std::iter::empty::<()>();
            frontend::bind("", "", [], none, |(), _| Ok(IsNull::Yes), [0], buffer)
                .map_err(|_| io::Error::other("unfit statement"))?;
            frontend::describe(b'P', "", buffer)?;
            frontend::execute("", most, buffer)?;
            frontend::sync(buffer);
            Ok(())
        })
        .await?;
        self.result().await
    }

    /// Everything up to the server's being ready again.
    async fn result(&mut self) -> Result<Rows, Fault> {
        let (mut rows, mut error, mut done) = (Rows::default(), None, false);
        loop {
            let heard = match self.hear_row().await {
                Ok(heard) => heard,
                // An error that ends the session is the last word.
                Err(fault) => return Err(error.unwrap_or(fault)),
            };
            let Some(message) = heard else {
                rows.long |= rows.count == 0;
                rows.count += 1;
                continue;
            };
            match message {
                Message::RowDescription(body) => {
                    let columns = body.fields().count();
                    rows.columns = columns.map_err(|error| self.broken(QUERY, &error))?;
                }
                Message::DataRow(body) => {
                    if rows.count == 0 {
                        rows.first = first(&body).map_err(|error| self.broken(QUERY, &error))?;
                    }
                    rows.count += 1;
                }
                Message::ErrorResponse(body) => error = Some(refusal(QUERY, &body)),
                Message::ReadyForQuery(_) => match error {
                    Some(error) => return Err(error),
                    None if done => return Ok(rows),
                    None => return Err(self.unexpected(QUERY)),
                },
                Message::PortalSuspended => (rows.more, done) = (true, true),
                Message::CommandComplete(_) | Message::EmptyQueryResponse => done = true,
                Message::ParseComplete
                | Message::BindComplete
                | Message::NoData
                | Message::NoticeResponse(_)
                | Message::NotificationResponse(_)
                | Message::ParameterStatus(_) => {}
                _ => return Err(self.unexpected(QUERY)),
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn leave(self) {
        let mut buffer = BytesMut::new();
        frontend::terminate(&mut buffer);
        self.session.part(&buffer).await;
    }

    async fn say(
        &mut self,
        stage: &'static str,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), Fault> {
        let mut buffer = BytesMut::new();
        // Only text with a NUL in it cannot be written.
        write(&mut buffer).map_err(|error| CheckError::InvalidConfig(format!("{stage}: {error}")))?;
        self.session.send(&buffer).await.map_err(Fault::at(stage))
    }

    async fn hear(&mut self, stage: &'static str) -> Result<Message, Fault> {
        let (_, length) = self.head().await.map_err(Fault::at(stage))?;
        self.message(length).await.map_err(Fault::at(stage))
    }

    /// As [`Self::hear`]; `None` is a row too long to be kept.
    async fn hear_row(&mut self) -> Result<Option<Message>, Fault> {
        let heard = async {
            let (kind, length) = self.head().await?;
            if kind == b'D' && length > MOST_FRAME {
                return self.session.skip(length).await.map(|()| None);
            }
            self.message(length).await.map(Some)
        };
        heard.await.map_err(Fault::at(QUERY))
    }

    /// The kind of the next message, and how many bytes it has, kind and length among them.
    async fn head(&mut self) -> Result<(u8, usize), NetError> {
        let head = self.session.peek(5).await?;
        let (kind, length) = head.split_first().unwrap_or((&0, &[]));
        let (kind, length) = (*kind, length.try_into().map_or(0, u32::from_be_bytes));
        if length < 4 {
            return Err(self.session.breach("does not speak PostgreSQL's protocol"));
        }
        Ok((kind, length as usize + 1))
    }

    async fn message(&mut self, length: usize) -> Result<Message, NetError> {
        let mut frame = self.session.take(length).await?;
        match Message::parse(&mut frame) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(self.session.breach("a message that is cut short")),
            Err(error) => Err(self.session.breach(error)),
        }
    }

    fn broken(&self, stage: &'static str, error: &io::Error) -> Fault {
        Fault::at(stage)(self.session.breach(error))
    }

    fn unexpected(&self, stage: &'static str) -> Fault {
        Fault::at(stage)(self.session.breach("a message out of turn"))
    }

    fn foul(&self, why: &str) -> Fault {
        Fault::at(CONNECT)(self.session.breach(format_args!("SCRAM: {why}")))
    }
}

async fn encrypted<'a>(
    mut session: Session<'a>,
    mode: TlsMode,
    tls: &TlsOptions,
) -> Result<Session<'a>, NetError> {
    if mode == TlsMode::Never {
        return Ok(session);
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    session.send(&request).await?;
    match session.take(1).await?.as_ref() {
        b"S" => session.secure(tls).await,
        b"N" if mode == TlsMode::WhereOffered => Ok(session),
        b"N" => Err(NetError::Tls(format!("{} does not offer TLS", session.host()))),
        _ => Err(session.breach("does not speak PostgreSQL's protocol")),
    }
}

/// The first column, as text.
fn first(row: &DataRowBody) -> io::Result<Option<String>> {
    let range = row.ranges().next()?.flatten();
    let bytes = range.and_then(|range| row.buffer().get(range));
    Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

/// It is the server that asks for what we do not do: one that does so of a sudden must not go unseen.
fn unsupported() -> Fault {
    let why = "connection failed: the server asks for a way to authenticate that is none of password, md5 and SCRAM-SHA-256; give the monitoring user one of these in `pg_hba.conf`";
    Fault::Told(Reason::AuthFailed, why.to_owned())
}

/// What an error of the server's says, in the words of Go's driver.
fn refusal(stage: &str, body: &ErrorResponseBody) -> Fault {
    let (mut severity, mut code, mut message) = (String::new(), String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'S' => severity = value(),
            b'C' => code = value(),
            b'M' => message = value(),
            _ => {}
        }
    }
    // Class 28: invalid authorization specification.
    let reason = if code.starts_with("28") {
        Reason::AuthFailed
    } else {
        Reason::AssertionFailed
    };
    Fault::Told(
        reason,
        format!("{stage}: {severity}: {message} (SQLSTATE={code})"),
    )
}
