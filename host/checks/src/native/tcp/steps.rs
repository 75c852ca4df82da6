//! A scripted conversation over one connection: send, expect, start TLS.

use crate::{
    CheckError, ProbeContext,
    native::pattern::Pattern,
    net::{NetError, Stream, tls::TlsOptions},
};
use lapwing_model::{Observation, Reason, TlsInfo};
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{self, Instant},
};

/// What a step may wait for at most; a peer that sends more without a match is not going to match.
const MAX_HEARD: usize = 64 * 1024;
/// How much of what was heard a message quotes.
const MAX_QUOTE: usize = 80;

/// One step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Text to send as it is (line ends included); `${1}` is the first group of the last `expect`.
    Send(String),
    /// A regular expression (RE2 syntax) that what the peer sends must come to match. What it matched is consumed. End
    /// it with a line end to have a whole line. `(?-u)` allows bytes that are no text.
    Expect(Pattern),
    /// Speak TLS from here on.
    StartTls,
}

/// A conversation in progress.
pub(super) struct Talk<'a> {
    stream: Option<Stream>,
    host: &'a str,
    options: TlsOptions,
    cx: &'a ProbeContext,
    heard: Vec<u8>,
    groups: Vec<String>,
    pub(super) tls: Option<TlsInfo>,
    pub(super) handshake: Duration,
    pub(super) waited: Duration,
}

/// Why a conversation ended early.
pub(super) enum Fault {
    Net(NetError),
    /// The peer spoke, but not as expected.
    Unexpected(String),
}

impl Fault {
    pub(super) fn verdict(self) -> Result<Observation, CheckError> {
        match self {
            Self::Unexpected(text) => Ok(Observation::down(Reason::AssertionFailed, text)),
            Self::Net(error) => error.into_verdict(|error| format!("TCP conversation failed: {error}")),
        }
    }
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: &'a str,
        options: TlsOptions,
        cx: &'a ProbeContext,
    ) -> Self {
        Self {
            stream: Some(Box::new(stream)),
            host,
            options,
            cx,
            heard: Vec::new(),
            groups: Vec::new(),
            tls: None,
            handshake: Duration::ZERO,
            waited: Duration::ZERO,
        }
    }

    /// Takes every step in turn.
    pub(super) async fn hold(&mut self, steps: &[Step]) -> Result<(), Fault> {
        for step in steps {
            match step {
                Step::Send(text) => self.send(text).await?,
                Step::Expect(pattern) => {
                    let start = Instant::now();
                    let met = self.expect(&pattern.0).await;
                    self.waited += start.elapsed();
                    met?;
                }
                Step::StartTls => self.start_tls().await?,
            }
        }
        Ok(())
    }

    async fn send(&mut self, text: &str) -> Result<(), Fault> {
        let text = self
            .groups
            .iter()
            .enumerate()
            .fold(text.to_owned(), |text, (index, group)| {
                text.replace(&format!("${{{index}}}"), group)
            });
        let (host, deadline) = (self.host, self.cx.deadline);
        let stream = self.stream()?;
        let sending = async {
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await
        };
        match time::timeout_at(deadline, sending).await {
            Ok(sent) => sent.map_err(|error| Fault::Net(NetError::from_io(&error, host))),
            Err(_) => Err(Fault::Net(NetError::ResponseTimeout(format!(
                "{host} does not take what is sent"
            )))),
        }
    }

    async fn expect(&mut self, pattern: &Regex) -> Result<(), Fault> {
        loop {
            if let Some(groups) = pattern.captures(&self.heard) {
                let text = |group: Option<regex::bytes::Match<'_>>| {
                    group
                        .map(|group| String::from_utf8_lossy(group.as_bytes()).into_owned())
                        .unwrap_or_default()
                };
                self.groups = groups.iter().map(text).collect();
                let end = groups.get(0).map_or(0, |whole| whole.end());
                self.heard.drain(..end);
                return Ok(());
            }
            if self.heard.len() >= MAX_HEARD {
                return Err(self.unexpected(pattern, "and too much of it"));
            }
            let (host, deadline) = (self.host, self.cx.deadline);
            let mut heard = std::mem::take(&mut self.heard);
            let read = time::timeout_at(deadline, self.stream()?.read_buf(&mut heard)).await;
            self.heard = heard;
            match read {
                Ok(Ok(0)) if self.heard.is_empty() => {
                    return Err(Fault::Net(NetError::Closed(host.to_owned())));
                }
                Ok(Ok(0)) => return Err(self.unexpected(pattern, "then the end")),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(Fault::Net(NetError::from_io(&error, host))),
                Err(_) if self.heard.is_empty() => {
                    return Err(Fault::Net(NetError::ResponseTimeout(format!(
                        "{host} says nothing"
                    ))));
                }
                Err(_) => return Err(self.unexpected(pattern, "then nothing more")),
            }
        }
    }

    async fn start_tls(&mut self) -> Result<(), Fault> {
        // Plain text that came before the handshake could be injected by anyone on the way (CVE-2011-0411).
        if !self.heard.is_empty() {
            return Err(Fault::Net(NetError::Protocol(format!(
                "{} spoke on before the TLS handshake",
                self.host
            ))));
        }
        let stream = self.stream.take().ok_or_else(closed)?;
        match self
            .cx
            .net
            .handshake(stream, self.host, &self.options, self.cx.deadline)
            .await
        {
            Ok(session) => {
                self.handshake += session.elapsed;
                self.tls = Some(session.info);
                self.stream = Some(Box::new(session.stream));
                Ok(())
            }
            Err(error) => {
                if let NetError::Certificate { info: Some(info), .. } = &error {
                    self.tls = Some((**info).clone());
                }
                Err(Fault::Net(error))
            }
        }
    }

    fn stream(&mut self) -> Result<&mut Stream, Fault> {
        self.stream.as_mut().ok_or_else(closed)
    }

    fn unexpected(&self, pattern: &Regex, end: &str) -> Fault {
        let quote = String::from_utf8_lossy(self.heard.get(..MAX_QUOTE).unwrap_or(&self.heard))
            .escape_debug()
            .to_string();
        Fault::Unexpected(format!(
            "TCP conversation failed: expected '{pattern}', heard '{quote}', {end}"
        ))
    }
}

/// A stream is only gone after a failed handshake, which ends the conversation.
fn closed() -> Fault {
    Fault::Net(NetError::from_io(
        &io::ErrorKind::NotConnected.into(),
        "connection",
    ))
}
