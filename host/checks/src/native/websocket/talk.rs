//! A scripted conversation over one WebSocket: messages, ping, goodbye.

use crate::{
    CheckError,
    findings::invalid,
    native::{
        condition::Condition,
        http::query::{Query, Unmet},
        judging::judged,
        pattern::Pattern,
    },
    net::{NetError, Stream, by},
    schema,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use lapwing_model::{Observation, Reason};
use regex::bytes::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{borrow::Cow, sync::Arc};
use tokio::time::{self, Instant};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// How much of what was heard a message quotes, in characters.
const MAX_QUOTE: usize = 80;
/// What a ping carries, and a pong must bring back.
const PING: &[u8] = b"lapwing";

/// One step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A text message to send.
    Send(String),
    /// A binary message to send, in base64.
    SendBytes(Base64),
    /// A regular expression (RE2 syntax) that one of the next messages must match; others are passed over. `(?-u)`
    /// allows bytes that are no text.
    Expect(Pattern),
    /// Bytes, in base64, that one of the next messages must be; others are passed over.
    ExpectBytes(Base64),
    /// A value that one of the next messages must have as JSON; others are passed over.
    ExpectJson(JsonRule),
    /// A ping that the server must answer.
    Ping,
    /// Says goodbye with this code (1000 to 4999); the server must answer with the same.
    Close(u16),
    /// The server itself must say goodbye, with this code.
    ExpectClose(u16),
}

impl Step {
    /// Bytes that it sends.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Send(text) => text.len(),
            Self::SendBytes(bytes) => bytes.0.len(),
            _ => 0,
        }
    }
}

/// A condition on a JSON message.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonRule {
    /// A gjson path, or with a leading `$` a `JSONPath` (RFC 9535).
    #[schemars(length(min = 1))]
    pub query: String,
    /// How the value is compared. Default: `==`; without `value` it must merely be there.
    #[serde(default)]
    pub condition: Condition,
    /// What it is compared with.
    #[serde(default)]
    pub value: String,
}

/// Bytes, written in base64.
#[derive(Debug, Clone)]
pub struct Base64(Bytes);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text.trim()).map_err(D::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

impl JsonSchema for Base64 {
    fn schema_name() -> Cow<'static, str> {
        "Base64".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "contentEncoding": "base64", "description": "Bytes, in base64." })
    }
}

/// What is wrong with `steps`, beyond what their types say.
pub(super) fn review(steps: &[Step]) -> Result<(), schema::Fault> {
    for step in steps {
        match step {
            Step::Close(code) if !CloseCode::from(*code).is_allowed() => {
                let why = format_args!("`close`: no side may say goodbye with code {code}");
                return Err(invalid("steps", why));
            }
            Step::ExpectJson(rule) => _ = rule.compile()?,
            _ => {}
        }
    }
    Ok(())
}

impl JsonRule {
    fn compile(&self) -> Result<Query, schema::Fault> {
        let query = Query::of("steps", &self.query, self.condition, &self.value)?;
        query.ok_or_else(|| invalid("steps", "`expect_json`: `query` is missing"))
    }
}

/// A message that is waited for.
enum Wanted {
    Match(Regex),
    Bytes(Bytes),
    Json(Arc<Query>),
    Pong,
}

impl Wanted {
    async fn is(&self, message: &Message, deadline: Instant) -> Result<bool, CheckError> {
        let said = message.is_text() || message.is_binary();
        let (heard, size) = (payload(message), message.len());
        match self {
            Self::Pong => Ok(matches!(message, Message::Pong(bytes) if bytes == PING)),
            _ if !said => Ok(false),
            Self::Bytes(bytes) => Ok(heard == bytes),
            Self::Match(pattern) => {
                let pattern = pattern.clone();
                let search = move || pattern.is_match(&heard);
                judged("the search in a message", size, deadline, search).await
            }
            Self::Json(query) => {
                let query = query.clone();
                let look = move || query.check(&heard);
                match judged("the JSON query", size, deadline, look).await? {
                    Ok(()) => Ok(true),
                    Err(Unmet::Otherwise(_)) => Ok(false),
                    Err(Unmet::Beyond(why)) => Err(CheckError::limit_hit(why)),
                }
            }
        }
    }
}

/// A conversation in progress.
pub(super) struct Talk<'a> {
    socket: WebSocketStream<Stream>,
    target: &'a str,
    deadline: Instant,
    goodbye: Option<CloseCode>,
}

/// Why a conversation ended early.
pub(super) enum Fault {
    Net(NetError),
    /// The server spoke, but not as expected.
    Unexpected(String),
    /// The server said goodbye.
    Left(String),
    Unfit(CheckError),
}

impl Fault {
    pub(super) fn verdict(self) -> Result<Observation, CheckError> {
        let failed = |text| format!("WebSocket conversation failed: {text}");
        match self {
            Self::Net(error) => error.into_verdict(|error| failed(error.to_string())),
            Self::Unexpected(text) => Ok(Observation::down(Reason::AssertionFailed, failed(text))),
            Self::Left(text) => Ok(Observation::down(Reason::ConnectionClosed, failed(text))),
            Self::Unfit(error) => Err(error),
        }
    }
}

impl<'a> Talk<'a> {
    pub(super) fn new(socket: WebSocketStream<Stream>, target: &'a str, deadline: Instant) -> Self {
        Self {
            socket,
            target,
            deadline,
            goodbye: None,
        }
    }

    /// Takes every step in turn.
    pub(super) async fn hold(&mut self, steps: &[Step]) -> Result<(), Fault> {
        for step in steps {
            self.take(step).await?;
        }
        Ok(())
    }

    /// Says goodbye without waiting for an answer, and tells what is known in the end.
    pub(super) fn leave(mut self, seen: Observation) -> Observation {
        if let Some(code) = self.goodbye {
            return seen.with_attribute("websocket.close_code", u16::from(code));
        }
        // What does not fit into the socket's buffer now is not worth a wait.
        let _ = self.socket.close(Some(frame(CloseCode::Normal))).now_or_never();
        seen
    }

    async fn take(&mut self, step: &Step) -> Result<(), Fault> {
        match step {
            Step::Send(text) => self.send(Message::text(text.clone())).await,
            Step::SendBytes(bytes) => self.send(Message::Binary(bytes.0.clone())).await,
            Step::Expect(pattern) => {
                let told = format!("a message that matches '{}'", pattern.0);
                self.until(&told, &Wanted::Match(pattern.0.clone())).await
            }
            Step::ExpectBytes(bytes) => {
                let told = format!("a message of {} certain bytes", bytes.0.len());
                self.until(&told, &Wanted::Bytes(bytes.0.clone())).await
            }
            Step::ExpectJson(rule) => {
                let query = rule.compile().map_err(|fault| Fault::Unfit(fault.into()))?;
                let told = format!("a message with '{}' as asked", rule.query);
                self.until(&told, &Wanted::Json(Arc::new(query))).await
            }
            Step::Ping => {
                self.send(Message::Ping(Bytes::from_static(PING))).await?;
                self.until("a pong", &Wanted::Pong).await
            }
            Step::Close(code) => {
                let code = CloseCode::from(*code);
                self.send(Message::Close(Some(frame(code)))).await?;
                self.goodbye(code).await
            }
            Step::ExpectClose(code) => self.goodbye(CloseCode::from(*code)).await,
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), Fault> {
        match time::timeout_at(self.deadline, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|error| self.sort(error)),
            Err(_) => Err(Fault::Net(NetError::ResponseTimeout(format!(
                "{} does not take what is sent",
                self.target
            )))),
        }
    }

    /// Passes messages over until one is as `wanted`, which `told` is for a person. Where one was more than we look at,
    /// it may have been the one.
    async fn until(&mut self, told: &str, wanted: &Wanted) -> Result<(), Fault> {
        let (mut last, mut beyond) = (None, None);
        loop {
            let message = match self.next(told, last.as_deref()).await {
                Ok(Message::Close(frame)) => {
                    let code = self.told(frame);
                    let heard = last.map(|last| format!(", after '{last}'")).unwrap_or_default();
                    let left = format!("expected {told}, but the server said goodbye {code}{heard}");
                    return Err(beyond.map_or(Fault::Left(left), Fault::Unfit));
                }
                Ok(message) => message,
                Err(fault) => return Err(beyond.map_or(fault, Fault::Unfit)),
            };
            match wanted.is(&message, self.deadline).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => beyond = Some(error),
            }
            if message.is_text() || message.is_binary() {
                last = Some(quote(&payload(&message)));
            }
        }
    }

    /// Waits for the server's goodbye.
    async fn goodbye(&mut self, code: CloseCode) -> Result<(), Fault> {
        loop {
            if let Message::Close(frame) = self.next("a goodbye", None).await? {
                let told = self.told(frame);
                if self.goodbye == Some(code) {
                    return Ok(());
                }
                return Err(Fault::Unexpected(format!(
                    "expected a goodbye with code {code}, got one {told}"
                )));
            }
        }
    }

    async fn next(&mut self, wanted: &str, last: Option<&str>) -> Result<Message, Fault> {
        match by(self.deadline, self.socket.next()).await {
            Ok(Some(Ok(message))) => Ok(message),
            Ok(Some(Err(error))) => Err(self.sort(error)),
            Ok(None) => Err(Fault::Net(NetError::Closed(self.target.to_owned()))),
            Err(_) => Err(match last {
                Some(last) => Fault::Unexpected(format!(
                    "expected {wanted}, heard '{last}' last, and not that in time"
                )),
                None => Fault::Net(NetError::ResponseTimeout(format!(
                    "expected {wanted}, but {} does not say it",
                    self.target
                ))),
            }),
        }
    }

    /// Notes the server's goodbye, and tells it.
    fn told(&mut self, frame: Option<CloseFrame>) -> String {
        self.goodbye = Some(frame.as_ref().map_or(CloseCode::Status, |frame| frame.code));
        match frame {
            None => "without a code".to_owned(),
            Some(frame) if frame.reason.is_empty() => format!("with code {}", frame.code),
            Some(frame) => format!("with code {} ('{}')", frame.code, quote(frame.reason.as_bytes())),
        }
    }

    fn sort(&self, error: Error) -> Fault {
        let target = self.target;
        Fault::Net(match error {
            Error::Io(error) => NetError::from_io(&error, target),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                NetError::Closed(format!("{target}, without a goodbye"))
            }
            Error::Capacity(error) => {
                return Fault::Unexpected(format!("a message larger than `max_message_bytes`: {error}"));
            }
            other => NetError::Protocol(format!("{target}: {other}")),
        })
    }
}

fn frame(code: CloseCode) -> CloseFrame {
    CloseFrame {
        code,
        reason: "".into(),
    }
}

fn payload(message: &Message) -> Bytes {
    message.clone().into_data()
}

fn quote(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(MAX_QUOTE)
        .collect::<String>()
        .escape_debug()
        .to_string()
}
