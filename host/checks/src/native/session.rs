//! One connection to a server whose protocol is spoken here: opened through the network guard, every wait bounded by
//! the run's deadline, nothing allocated because a peer announces it.

use crate::{
    CheckError, ProbeContext,
    net::{Connection, IpFamily, NetError, Stream, by, tls::TlsOptions},
};
use bytes::{Buf, BytesMut};
use lapwing_model::{Observation, Phase, Reason, TlsInfo};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{self, Instant},
};

/// Longest frame to wait for; who announces more is not of this protocol, or not to be believed.
pub(super) const MOST_FRAME: usize = 16 * 1024 * 1024;
/// Shorter secrets are not looked for in messages: they would be found in every other word.
const LEAST_SECRET: usize = 4;

/// What is told of a probe beside its verdict, whatever that is.
pub(super) struct Trace {
    start: Instant,
    peer: Option<SocketAddr>,
    resolve: Duration,
    connect: Duration,
    handshake: Duration,
    tls: Option<TlsInfo>,
    secrets: Vec<String>,
}

/// Why a conversation ended early.
#[derive(Debug)]
pub(super) enum Fault {
    /// The way to the server, or its protocol; told as `{stage}: {error}`.
    Net { stage: &'static str, error: NetError },
    /// What the server said, and it was not what was hoped for.
    Told(Reason, String),
    /// Nothing that can be blamed on the server.
    Ours(CheckError),
}

impl Fault {
    /// For `map_err`: blames `stage`.
    pub(super) fn at(stage: &'static str) -> impl Fn(NetError) -> Self {
        move |error| Self::Net { stage, error }
    }

    /// `redact` is asked for what is not our own words: all after the stage.
    fn verdict(self, redact: impl Fn(&str) -> String) -> Result<Observation, CheckError> {
        match self {
            Self::Net { stage, error } => {
                error.into_verdict(|error| format!("{stage}: {}", redact(&error.to_string())))
            }
            Self::Told(reason, message) => {
                let message = match message.split_once(": ") {
                    Some((stage, theirs)) => format!("{stage}: {}", redact(theirs)),
                    None => redact(&message),
                };
                Ok(Observation::down(reason, message))
            }
            Self::Ours(error) => Err(error),
        }
    }
}

impl From<CheckError> for Fault {
    fn from(error: CheckError) -> Self {
        Self::Ours(error)
    }
}

impl Trace {
    /// Starts the clock; `secrets` never reach a message, whoever repeats them.
    pub(super) fn start(secrets: &[&str]) -> Self {
        let secrets = secrets.iter().filter(|secret| secret.len() >= LEAST_SECRET);
        Self {
            start: Instant::now(),
            peer: None,
            resolve: Duration::ZERO,
            connect: Duration::ZERO,
            handshake: Duration::ZERO,
            tls: None,
            secrets: secrets.map(|&secret| secret.to_owned()).collect(),
        }
    }

    /// Time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// A peer's text without the secrets. A verdict of `Ok` has to ask for it; faults are seen to by
    /// [`Trace::finish`].
    pub(super) fn redact(&self, text: &str) -> String {
        let secrets = self.secrets.iter();
        secrets.fold(text.to_owned(), |text, secret| {
            text.replace(secret.as_str(), "***")
        })
    }

    /// The verdict, with all that was seen on the way.
    pub(super) fn finish(self, verdict: Result<Observation, Fault>) -> Result<Observation, CheckError> {
        let latency = self.elapsed();
        let mut seen = match verdict {
            Ok(seen) => seen,
            Err(fault) => fault.verdict(|text| self.redact(text))?,
        };
        let known = self.resolve + self.connect + self.handshake;
        seen.phases = [
            ("resolve", self.resolve),
            ("connect", self.connect),
            ("tls", self.handshake),
            ("receive", latency.saturating_sub(known)),
        ]
        .into_iter()
        .filter(|(_, elapsed)| *elapsed > Duration::ZERO)
        .map(|(name, elapsed)| Phase {
            name: name.to_owned(),
            elapsed,
        })
        .collect();
        seen.tls = self.tls;
        if let Some(peer) = self.peer {
            seen = seen.with_attribute("peer", peer.to_string());
        }
        Ok(seen.with_latency(latency))
    }
}

/// An open connection. Dropping it closes it.
pub(super) struct Session<'a> {
    stream: Stream,
    heard: BytesMut,
    host: String,
    cx: &'a ProbeContext,
    trace: &'a mut Trace,
}

impl<'a> Session<'a> {
    /// Resolves, judges and connects.
    pub(super) async fn open(
        cx: &'a ProbeContext,
        trace: &'a mut Trace,
        host: &str,
        port: u16,
        family: IpFamily,
    ) -> Result<Self, NetError> {
        let Connection {
            stream,
            peer,
            resolve,
            connect,
        } = cx.net.connect(host, port, family, cx.deadline).await?;
        trace.peer = Some(peer);
        trace.resolve += resolve;
        trace.connect += connect;
        Ok(Self {
            stream: Box::new(stream),
            heard: BytesMut::new(),
            host: host.to_owned(),
            cx,
            trace,
        })
    }

    /// Speaks TLS from here on. What came in plain before could be anyone's (CVE-2011-0411) and is refused.
    pub(super) async fn secure(self, options: &TlsOptions) -> Result<Self, NetError> {
        self.secure_over(options, |stream| stream, |stream| Box::new(stream))
            .await
    }

    /// As [`Session::secure`], where the protocol wraps the handshake in frames of its own.
    pub(super) async fn secure_over<S>(
        self,
        options: &TlsOptions,
        wrap: impl FnOnce(Stream) -> S,
        unwrap: impl FnOnce(tokio_rustls::client::TlsStream<S>) -> Stream,
    ) -> Result<Self, NetError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
    {
        if !self.heard.is_empty() {
            let host = &self.host;
            return Err(NetError::Protocol(format!(
                "{host} spoke on before the TLS handshake"
            )));
        }
        let (net, deadline) = (&self.cx.net, self.cx.deadline);
        let start = Instant::now();
        let shaken = net
            .handshake(wrap(self.stream), &self.host, options, deadline)
            .await;
        self.trace.handshake += start.elapsed();
        match shaken {
            Ok(session) => {
                self.trace.tls = Some(session.info);
                Ok(Self {
                    stream: unwrap(session.stream),
                    ..self
                })
            }
            Err(error) => {
                if let NetError::Certificate { info: Some(info), .. } = &error {
                    self.trace.tls = Some((**info).clone());
                }
                Err(error)
            }
        }
    }

    /// Whether TLS is spoken.
    pub(super) fn is_secure(&self) -> bool {
        self.trace.tls.is_some()
    }

    /// Who is spoken to.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// A breach of the protocol by this server.
    pub(super) fn breach(&self, what: impl std::fmt::Display) -> NetError {
        NetError::Protocol(format!("{}: {what}", self.host))
    }

    /// Sends all of `bytes`.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match time::timeout_at(self.cx.deadline, sending).await {
            Ok(sent) => sent.map_err(|error| NetError::from_io(&error, &self.host)),
            Err(_) => Err(NetError::ResponseTimeout(format!(
                "{} does not take what is sent",
                self.host
            ))),
        }
    }

    /// Waits for `work` that is not about the network, within the run's deadline.
    pub(super) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T, NetError> {
        let done = time::timeout_at(self.cx.deadline, work).await;
        done.map_err(|_| NetError::ResponseTimeout(format!("{} asks for too much work", self.host)))
    }

    /// Sends what may not arrive any more: a goodbye.
    pub(super) async fn part(mut self, bytes: &[u8]) {
        let _ = self.send(bytes).await;
    }

    /// Waits for more bytes, until `deadline` or the run's own.
    pub(super) async fn hear(&mut self, deadline: Instant) -> Result<(), NetError> {
        let deadline = deadline.min(self.cx.deadline);
        let host = &self.host;
        match by(deadline, self.stream.read_buf(&mut self.heard)).await {
            Ok(Ok(0)) => Err(NetError::Closed(host.clone())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(match NetError::from_io(&error, host) {
                NetError::ConnectTimeout(text) => NetError::ResponseTimeout(text),
                error => error,
            }),
            Err(_) if self.heard.is_empty() => {
                Err(NetError::ResponseTimeout(format!("{host} does not answer")))
            }
            Err(_) => Err(NetError::ResponseTimeout(format!(
                "{host} did not say all of its answer"
            ))),
        }
    }

    /// The next `count` bytes, left where they are.
    pub(super) async fn peek(&mut self, count: usize) -> Result<&[u8], NetError> {
        if count > MOST_FRAME {
            return Err(self.breach(format_args!(
                "announces {count} bytes, and more than {MOST_FRAME} are not believed"
            )));
        }
        while self.heard.len() < count {
            self.hear(self.cx.deadline).await?;
        }
        Ok(self.heard.get(..count).unwrap_or_default())
    }

    /// The next `count` bytes.
    pub(super) async fn take(&mut self, count: usize) -> Result<BytesMut, NetError> {
        self.peek(count).await?;
        Ok(self.heard.split_to(count))
    }

    /// Passes the next `count` bytes over.
    pub(super) async fn skip(&mut self, mut count: usize) -> Result<(), NetError> {
        loop {
            let heard = count.min(self.heard.len());
            self.heard.advance(heard);
            count -= heard;
            if count == 0 {
                return Ok(());
            }
            self.hear(self.cx.deadline).await?;
        }
    }

    /// Everything heard and not yet taken.
    pub(super) fn heard(&mut self) -> &mut BytesMut {
        &mut self.heard
    }

    /// The line up to CRLF, at most `most` bytes.
    pub(super) async fn line(&mut self, most: usize) -> Result<BytesMut, NetError> {
        loop {
            if let Some(at) = self.heard.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.heard.split_to(at);
                self.heard.advance(2);
                return Ok(line);
            }
            if self.heard.len() > most {
                return Err(self.breach("a line that does not end"));
            }
            self.hear(self.cx.deadline).await?;
        }
    }

    /// The stream itself, for a library that takes one ready made.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }
}

/// When one of `parts` things to try, one after the other, must have ended for the rest to have as much time.
pub(super) fn share(cx: &ProbeContext, parts: usize) -> Instant {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
    if parts == 1 {
        return cx.deadline;
    }
    Instant::now() + cx.remaining() / parts
}
