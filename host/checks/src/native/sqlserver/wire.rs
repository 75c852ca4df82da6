//! The conversation with a SQL Server: what is said before the login here, the rest by `tiberius`.

use super::{
    SqlServerConfig,
    settings::{Encrypt, Settings},
    tls::{Enveloped, HEAD, PRELOGIN, packet},
};
use crate::{
    ProbeContext,
    native::{
        session::{Fault, Session, Trace},
        sql::{MOST_BYTES, MOST_ROWS, Rows},
        trust::Trust,
    },
    net::{Host, NetError, Stream, tls::TlsOptions},
};
use bytes::{Buf, BytesMut};
use futures_util::TryStreamExt;
use lapwing_model::Reason;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, QueryItem, error::Error};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time,
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

const CONNECT: &str = "connection failed";
const QUERY: &str = "query execution failed";
/// PRELOGIN's answers to the offer of encryption (MS-TDS §2.2.6.5).
const OFF: u8 = 0;
const ON: u8 = 1;
const NOT_SUPPORTED: u8 = 2;
const REQUIRED: u8 = 3;
/// The type of answers.
const ANSWER: u8 = 0x04;

/// Connects, logs in and runs `query` in a transaction that is rolled back. As other clients do, goes once to where the
/// server sends it: Azure's gateways answer a login so.
pub(super) async fn query(
    config: &SqlServerConfig,
    settings: &mut Settings,
    query: &str,
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<Rows, Fault> {
    let mut answer = visit(config, settings, query, cx, trace).await?;
    if let Err((_, Error::Routing { host, port })) = answer {
        // An instance's name may be with it.
        let next = host.split('\\').next().unwrap_or(&host);
        if Host::parse(next).is_err() || port == 0 {
            let why = format!(
                "{} sends us on to `{next}`, port {port}, which is nowhere",
                settings.host
            );
            return Err(Fault::at(CONNECT)(NetError::Protocol(why)));
        }
        next.clone_into(&mut settings.host);
        settings.port = port;
        answer = visit(config, settings, query, cx, trace).await?;
    }
    answer.map_err(|(stage, error)| fault(stage, &settings.host, error))
}

/// A library's error, and the stage it came in.
type Failure = (&'static str, Error);

/// One connection, and what came of it.
async fn visit(
    config: &SqlServerConfig,
    settings: &Settings,
    query: &str,
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<Result<Rows, Failure>, Fault> {
    let session = Session::open(cx, trace, &settings.host, settings.port, config.ip_family).await;
    let session = session.map_err(Fault::at(CONNECT))?;
    let session = encrypted(session, config, settings)
        .await
        .map_err(Fault::at(CONNECT))?;
    let stream = Greeted::new(session.into_stream()).compat();
    // The library logs what the server says of an error, and that it knows of no TLS.
    let talk = talk(stream, settings, query).with_subscriber(NoSubscriber::new());
    time::timeout_at(cx.deadline, talk).await.map_err(|_| {
        let host = &settings.host;
        Fault::at(QUERY)(NetError::ResponseTimeout(format!(
            "{host} did not say all of its answer"
        )))
    })
}

async fn talk(stream: Compat<Greeted>, settings: &Settings, query: &str) -> Result<Rows, Failure> {
    let client = Client::connect(login(settings), stream).await;
    let mut client = client.map_err(|error| (CONNECT, error))?;
    let failed = |error| (QUERY, error);
    run(&mut client, "BEGIN TRANSACTION").await.map_err(failed)?;
    let rows = run(&mut client, query).await.map_err(failed)?;
    // With rows left unread the connection is of no more use; closing it rolls back as well.
    if !rows.more {
        run(&mut client, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
            .await
            .map_err(failed)?;
    }
    Ok(rows)
}

fn login(settings: &Settings) -> Config {
    let mut config = Config::new();
    config.host(&settings.host);
    config.port(settings.port);
    config.database(&settings.database);
    config.application_name("lapwing");
    config.authentication(AuthMethod::sql_server(&settings.user, &settings.password));
    // By the library, that is.
    config.encryption(EncryptionLevel::NotSupported);
    // The run has its own deadline, and needs no thread to keep it.
    config.handshake_timeout(None);
    config.command_timeout(None);
    config
}

/// Runs one batch and reads its first result as far as that goes.
async fn run(client: &mut Client<Compat<Greeted>>, batch: &str) -> Result<Rows, Error> {
    let mut stream = client.simple_query(batch).await?;
    let (mut rows, mut results) = (Rows::default(), 0);
    loop {
        let item = match stream.try_next().await {
            Ok(Some(item)) => item,
            Ok(None) => return Ok(rows),
            // As much as is ever read: an answer all the same.
            Err(Error::Io {
                kind: io::ErrorKind::FileTooLarge,
                ..
            }) if rows.count > 0 => {
                return Ok(Rows { more: true, ..rows });
            }
            Err(error) => return Err(error),
        };
        match item {
            QueryItem::Metadata(result) => {
                results += 1;
                if results == 1 {
                    rows.columns = result.columns().len();
                }
            }
            QueryItem::Row(_) if results > 1 => {}
            QueryItem::Row(_) if rows.count == MOST_ROWS => return Ok(Rows { more: true, ..rows }),
            QueryItem::Row(row) => {
                if rows.count == 0 {
                    rows.first = row.into_iter().next().and_then(value);
                }
                rows.count += 1;
            }
        }
    }
}

/// Says what encryption is wanted, hears what there is, and does accordingly (MS-TDS §3.2.5.1).
async fn encrypted<'a>(
    session: Session<'a>,
    config: &SqlServerConfig,
    settings: &Settings,
) -> Result<Session<'a>, NetError> {
    let trust = Trust {
        ignore_errors: settings.trust || !matches!(settings.encrypt, Encrypt::Mandatory | Encrypt::Strict),
        ca: &config.tls_ca,
        server_name: &config.server_name,
        ..Trust::default()
    };
    let options = trust.anonymous();
    if settings.encrypt == Encrypt::Strict {
        let alpn = vec!["tds/8.0".to_owned()];
        let mut session = session.secure(&TlsOptions { alpn, ..options }).await?;
        offer(&mut session, NOT_SUPPORTED).await?;
        return Ok(session);
    }
    let mut session = session;
    let wanted = if settings.encrypt == Encrypt::Disable {
        NOT_SUPPORTED
    } else {
        ON
    };
    let host = session.host().to_owned();
    match (offer(&mut session, wanted).await?, settings.encrypt) {
        (REQUIRED, Encrypt::Disable) => Err(NetError::Tls(format!("{host} insists on encryption"))),
        (NOT_SUPPORTED | OFF, Encrypt::Mandatory) => {
            Err(NetError::Tls(format!("{host} does not offer encryption")))
        }
        (ON | REQUIRED, Encrypt::Optional | Encrypt::Mandatory) => {
            session
                .secure_over(&options, Enveloped::new, |mut stream| {
                    stream.get_mut().0.finish();
                    Box::new(stream)
                })
                .await
        }
        (OFF..=REQUIRED, _) => Ok(session),
        _ => Err(session.breach("an offer of encryption that means nothing")),
    }
}

/// Exchanges PRELOGIN messages; the server's word on encryption.
async fn offer(session: &mut Session<'_>, encryption: u8) -> Result<u8, NetError> {
    let mut message = BytesMut::new();
    packet(PRELOGIN, true, &prelogin(encryption), &mut message);
    session.send(&message).await?;
    let head = session.take(HEAD).await?;
    let length = match head.as_ref() {
        [ANSWER, 1, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    };
    if !(HEAD + 1..=4096).contains(&length) {
        return Err(session.breach("does not speak SQL Server's protocol"));
    }
    let content = session.take(length - HEAD).await?;
    encryption_in(&content).ok_or_else(|| session.breach("a PRELOGIN without a word on encryption"))
}

/// The content of a PRELOGIN message: version and encryption.
fn prelogin(encryption: u8) -> Vec<u8> {
    let options = [[0, 0, 11, 0, 6], [1, 0, 17, 0, 1]].concat();
    let mut message = options;
    message.extend_from_slice(&[0xFF, 0, 0, 0, 0, 0, 0, encryption]);
    message
}

/// The value of the option ENCRYPTION.
fn encryption_in(message: &[u8]) -> Option<u8> {
    let mut options = message
        .chunks_exact(5)
        .take_while(|option| option.first() != Some(&0xFF));
    options.find_map(|option| match option {
        [1, high, low, ..] => message
            .get(usize::from(u16::from_be_bytes([*high, *low])))
            .copied(),
        _ => None,
    })
}

/// What the library said, told apart: the server's own errors, the network's, the protocol's.
fn fault(stage: &'static str, host: &str, error: Error) -> Fault {
    let net = match error {
        Error::Server(said) => {
            // Login failed, of whatever kind; 4060 and 4064 are of the database.
            let reason = match said.code() {
                18_450..=18_489 => Reason::AuthFailed,
                _ => Reason::AssertionFailed,
            };
            let what = if stage == CONNECT { "login error" } else { "error" };
            let message = format!(
                "{stage}: mssql: {what}: {} (code {})",
                said.message(),
                said.code()
            );
            return Fault::Told(reason, message);
        }
        Error::Routing { .. } => {
            return Fault::Told(
                Reason::ProtocolError,
                format!("{stage}: {host} sends us on, where we were sent already"),
            );
        }
        Error::Io {
            kind: io::ErrorKind::FileTooLarge,
            ..
        } => {
            let message = format!("{stage}: {host} answers with more than {MOST_BYTES} bytes");
            return Fault::Told(Reason::BodyTooLarge, message);
        }
        Error::Io { kind, message } => NetError::from_io(&io::Error::new(kind, message), host),
        error => NetError::Protocol(format!("{host}: {error}")),
    };
    Fault::at(stage)(net)
}

/// A value as text, as SQL Server's own tools spell it.
fn value(data: ColumnData<'static>) -> Option<String> {
    match data {
        ColumnData::U8(value) => value.map(|value| value.to_string()),
        ColumnData::I16(value) => value.map(|value| value.to_string()),
        ColumnData::I32(value) => value.map(|value| value.to_string()),
        ColumnData::I64(value) => value.map(|value| value.to_string()),
        ColumnData::F32(value) => value.map(|value| value.to_string()),
        ColumnData::F64(value) => value.map(|value| value.to_string()),
        ColumnData::Bit(value) => value.map(|value| u8::from(value).to_string()),
        ColumnData::String(value) => value.map(Into::into),
        ColumnData::Guid(value) => value.map(|value| value.to_string().to_uppercase()),
        ColumnData::Binary(value) => value.map(|value| {
            let digits = value.iter().map(|byte| format!("{byte:02X}"));
            format!("0x{}", digits.collect::<String>())
        }),
        ColumnData::Numeric(value) => value.map(|value| value.to_string()),
        ColumnData::Xml(value) => value.map(|value| value.to_string()),
        // In sixtieths of an hour, and in three hundredths of a second.
        ColumnData::SmallDateTime(value) => value
            .and_then(|value| instant(value.days().into(), i64::from(value.seconds_fragments()) * 60_000)),
        ColumnData::DateTime(value) => value.and_then(|value| {
            let milliseconds = (i64::from(value.seconds_fragments()) * 10 + 1) / 3;
            instant(value.days().into(), milliseconds)
        }),
        #[expect(
            unreachable_patterns,
            reason = "types the library knows when other features are on"
        )]
        _ => None,
    }
}

/// Days since 1900 and milliseconds of the day.
fn instant(days: i64, milliseconds: i64) -> Option<String> {
    let span = jiff::Span::new()
        .try_days(days)
        .ok()?
        .try_milliseconds(milliseconds)
        .ok()?;
    let instant = jiff::civil::date(1900, 1, 1)
        .at(0, 0, 0, 0)
        .checked_add(span)
        .ok()?;
    Some(instant.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string())
}

/// A stream on which PRELOGIN has been dealt with: the library's own is not sent, and answered with "no encryption",
/// which is what is left for it to do. No more than [`MOST_BYTES`] come through.
struct Greeted {
    stream: Stream,
    answer: BytesMut,
    read: usize,
}

impl Greeted {
    fn new(stream: Stream) -> Self {
        let mut answer = BytesMut::new();
        packet(ANSWER, true, &prelogin(NOT_SUPPORTED), &mut answer);
        Self {
            stream,
            answer,
            read: 0,
        }
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.answer.is_empty() {
            let length = self.answer.len().min(into.remaining());
            into.put_slice(&self.answer.split_to(length));
            return Poll::Ready(Ok(()));
        }
        if self.read > MOST_BYTES {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        self.read += into.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.answer.has_remaining() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
