//! A scripted conversation over one connection: send, expect, start TLS.

use crate::{
    CheckError, ProbeContext,
    native::payload::{Payload, Wanted, quote},
    net::{NetError, Stream, TimeIsUp, by, tls::TlsOptions},
};
use lapwing_model::{Observation, Reason, TlsInfo};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{self, Instant},
};

/// What a step may wait for at most; a peer that sends more without a match is not going to match.
const MAX_HEARD: usize = 64 * 1024;

/// One step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Text to send as it is (line ends included), or bytes as `{"hex": "…"}` or `{"base64": "…"}`. In text, `${1}` is the
    /// first group of the last `expect`.
    Send(Payload),
    /// A regular expression (RE2 syntax) that what the peer sends must come to match, or bytes it must come to hold,
    /// written as for `send`. What matched is consumed. End it with a line end to have a whole line. `(?-u)` allows bytes
    /// that are no text.
    Expect(Wanted),
    /// Speak TLS from here on. The rest of the line in which the last `expect` stopped is dropped; if more came than that,
    /// the target is down.
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
    /// The step itself cannot be used.
    Unfit(String),
    Net(NetError),
    /// The peer spoke, but not as expected.
    Unexpected(String),
}

impl Fault {
    pub(super) fn verdict(self) -> Result<Observation, CheckError> {
        match self {
            Self::Unfit(text) => Err(CheckError::InvalidConfig(text)),
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
                Step::Send(payload) => self.send(payload).await?,
                Step::Expect(wanted) => {
                    let start = Instant::now();
                    let met = self.expect(wanted).await;
                    self.waited += start.elapsed();
                    met?;
                }
                Step::StartTls => self.start_tls().await?,
            }
        }
        Ok(())
    }

    async fn send(&mut self, payload: &Payload) -> Result<(), Fault> {
        let bytes = match payload {
            Payload::Text(text) => filled_in(text, &self.groups).into_bytes(),
            payload => payload.as_bytes().to_vec(),
        };
        let (host, deadline) = (self.host, self.cx.deadline);
        let stream = self.stream()?;
        let sending = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        match time::timeout_at(deadline, sending).await {
            Ok(sent) => sent.map_err(|error| Fault::Net(NetError::from_io(&error, host))),
            Err(_) => Err(Fault::Net(NetError::ResponseTimeout(format!(
                "{host} does not take what is sent"
            )))),
        }
    }

    async fn expect(&mut self, wanted: &Wanted) -> Result<(), Fault> {
        let pattern = wanted
            .regex()
            .map_err(|error| Fault::Unfit(format!("`steps`: {error}")))?;
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
                return Err(self.unexpected(wanted, "and too much of it"));
            }
            let host = self.host;
            match self.hear().await? {
                Ok(0) if self.heard.is_empty() => {
                    return Err(Fault::Net(NetError::Closed(host.to_owned())));
                }
                Ok(0) => return Err(self.unexpected(wanted, "then the end")),
                Ok(_) => {}
                Err(TimeIsUp) if self.heard.is_empty() => {
                    return Err(Fault::Net(NetError::ResponseTimeout(format!(
                        "{host} does not answer"
                    ))));
                }
                Err(TimeIsUp) => return Err(self.unexpected(wanted, "and nothing more in time")),
            }
        }
    }

    /// Waits for more, and says how much came; 0 is the end.
    async fn hear(&mut self) -> Result<Result<usize, TimeIsUp>, Fault> {
        let (host, deadline) = (self.host, self.cx.deadline);
        let mut heard = std::mem::take(&mut self.heard);
        let read = by(deadline, self.stream()?.read_buf(&mut heard)).await;
        self.heard = heard;
        match read {
            Ok(Ok(count)) => Ok(Ok(count)),
            Ok(Err(error)) => Err(Fault::Net(NetError::from_io(&error, host))),
            Err(time_is_up) => Ok(Err(time_is_up)),
        }
    }

    /// Drops the rest of the line that the last `expect` stopped in. Plain text that came behind it could be injected by
    /// anyone on the way (CVE-2011-0411).
    async fn end_line(&mut self) -> Result<(), Fault> {
        while !self.heard.is_empty() {
            if let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
                self.heard.drain(..=end);
                break;
            }
            let more = self.heard.len() < MAX_HEARD && matches!(self.hear().await?, Ok(1..));
            if !more {
                break;
            }
        }
        if self.heard.is_empty() {
            return Ok(());
        }
        Err(Fault::Net(NetError::Protocol(format!(
            "{} spoke on before the TLS handshake",
            self.host
        ))))
    }

    async fn start_tls(&mut self) -> Result<(), Fault> {
        self.end_line().await?;
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

    fn unexpected(&self, wanted: &Wanted, end: &str) -> Fault {
        Fault::Unexpected(format!(
            "TCP conversation failed: expected {wanted}, heard '{}', {end}",
            quote(&self.heard)
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

/// `text` with the groups of the last `expect` in their places. What a peer said is not looked into again: it could name
/// other groups, and grow without end.
fn filled_in(text: &str, groups: &[String]) -> String {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let group = part.split_once('}').and_then(|(index, rest)| {
            let group = groups.get(index.parse::<usize>().ok()?)?;
            Some((group.as_str(), rest))
        });
        let (start, rest) = group.unwrap_or(("${", part));
        filled.extend([start, rest]);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_said_is_filled_in_once_and_not_looked_into() {
        let groups = ["all", "${2}${2}", "b"].map(str::to_owned);
        let filled = |text| filled_in(text, &groups);
        assert_eq!(filled("<${1}> ${2} ${0}"), "<${2}${2}> b all");
        assert_eq!(filled("${9} ${x} ${1 $"), "${9} ${x} ${1 $");
    }
}
