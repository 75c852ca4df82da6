//! The conversation with a MongoDB server: OP_MSG, one document each way.

use super::target::{MOST_SERVERS, Target, member};
use crate::{
    CheckError, ProbeContext,
    native::{
        scram::{self, Hash, Scram},
        session::{Fault, MOST_FRAME, Session, Trace, share},
    },
    net::{IpFamily, NetError},
};
use bson::{Binary, Bson, Document, RawBsonRef, RawDocument, doc, spec::BinarySubtype};
use bytes::Buf;
use lapwing_model::Reason;
use md5::{Digest, Md5};
use serde_json::{Map, Value};
use std::{borrow::Cow, fmt::Write};
use tokio::time;

const CONNECT: &str = "MongoDB command failed: failed to connect to MongoDB";
const COMMAND: &str = "MongoDB command failed: failed to execute MongoDB command";
const OP_MSG: i32 = 2013;
/// Length, request, response to, operation code.
const HEAD: usize = 16;
/// Documents nest no deeper than this in MongoDB.
const MOST_DEPTH: usize = 100;

/// Runs `command` on a server that will do, and returns its reply as relaxed extended JSON.
pub(super) async fn run(
    target: &Target,
    mut command: Document,
    family: IpFamily,
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<Value, Fault> {
    let mut servers = target.servers(cx).await.map_err(Fault::at(CONNECT))?;
    let (mut tried, mut last) = (Vec::new(), None);
    while let Some(server) = servers.pop_front() {
        if tried.contains(&server) || tried.len() == MOST_SERVERS {
            continue;
        }
        let greeting = Server::greet(target, &server, family, cx, trace);
        let greeted = time::timeout_at(share(cx, servers.len() + 1), greeting).await;
        let slow = NetError::ResponseTimeout(server.0.clone());
        tried.push(server);
        let (mut server, hello) = match greeted {
            Ok(Ok(greeted)) => greeted,
            Err(_) => {
                last = Some(slow);
                continue;
            }
            // Another server cannot mend what is our own trouble.
            Ok(Err(Fault::Net { error, .. })) if error.blames_target() => {
                last = Some(error);
                continue;
            }
            Ok(Err(fault)) => return Err(fault),
        };
        let is = |field: &str| hello.get(field).and_then(Value::as_bool) == Some(true);
        let router = hello.get("msg").and_then(Value::as_str) == Some("isdbgrid");
        if !(target.any_member || router || is("isWritablePrimary")) {
            let primary = hello.get("primary").and_then(Value::as_str).and_then(member);
            servers.extend(primary);
            continue;
        }
        server.authenticate(target, &hello).await?;
        command.insert("$db", target.url.database.as_str());
        if !router && !is("isWritablePrimary") && hello.get("setName").is_some() {
            command.insert("$readPreference", doc! { "mode": "primaryPreferred" });
        }
        let reply = server.ask(&command).await.map_err(Fault::at(COMMAND))?;
        return accepted(COMMAND, reply);
    }
    let none = || NetError::Protocol("none of the servers is the primary".to_owned());
    Err(Fault::at(CONNECT)(last.unwrap_or_else(none)))
}

struct Server<'a> {
    session: Session<'a>,
    request: i32,
}

impl<'a> Server<'a> {
    /// Connects, and has the server introduce itself.
    async fn greet(
        target: &Target,
        (host, port): &(String, u16),
        family: IpFamily,
        cx: &'a ProbeContext,
        trace: &'a mut Trace,
    ) -> Result<(Self, Value), Fault> {
        let fail = Fault::at(CONNECT);
        let session = Session::open(cx, trace, host, *port, family).await;
        let mut session = session.map_err(&fail)?;
        if let Some(tls) = &target.tls {
            session = session.secure(tls).await.map_err(&fail)?;
        }
        let mut server = Self { session, request: 0 };
        let mut hello = doc! {
            "hello": 1,
            "client": {
                "application": { "name": "lapwing" },
                "driver": { "name": "lapwing", "version": env!("CARGO_PKG_VERSION") },
                "os": { "type": std::env::consts::OS },
            },
        };
        if let Some(user) = &target.url.user {
            hello.insert("saslSupportedMechs", format!("{}.{user}", target.auth_source()));
        }
        hello.insert("$db", "admin");
        let reply = server.ask(&hello).await.map_err(&fail)?;
        Ok((server, accepted(CONNECT, reply)?))
    }

    async fn authenticate(&mut self, target: &Target, hello: &Value) -> Result<(), Fault> {
        let (Some(user), Some(password)) = (&target.url.user, &target.url.password) else {
            return Ok(());
        };
        let mechanisms = hello.get("saslSupportedMechs").and_then(Value::as_array);
        let offers = |name: &str| mechanisms.is_some_and(|offered| offered.iter().any(|offer| offer == name));
        let preferred = if offers("SCRAM-SHA-256") {
            "SCRAM-SHA-256"
        } else {
            "SCRAM-SHA-1"
        };
        let (hash, name) = match target.url.param("authMechanism").unwrap_or(preferred) {
            "SCRAM-SHA-256" => (Hash::Sha256, "SCRAM-SHA-256"),
            "SCRAM-SHA-1" => (Hash::Sha1, "SCRAM-SHA-1"),
            _ => {
                let why = "`authMechanism` is not one of SCRAM-SHA-256, SCRAM-SHA-1";
                return Err(CheckError::InvalidConfig(why.to_owned()).into());
            }
        };
        let prepared = match hash {
            // The password as it was hashed before SCRAM: "user:mongo:password".
            Hash::Sha1 => Cow::Owned(hex(&Md5::digest(format!("{user}:mongo:{password}")))),
            _ => stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password)),
        };
        let nonce = scram::nonce().map_err(CheckError::Internal)?;
        let mut scram = Scram::new(hash, user, &prepared, nonce);
        let source = target.auth_source();
        let start = doc! {
            "saslStart": 1,
            "mechanism": name,
            "payload": binary(&scram.first()),
            "options": { "skipEmptyExchange": true },
            "$db": source,
        };
        let (first, conversation, _) = self.sasl(start).await?;
        let last = self.session.within(scram.last(&first)).await;
        let last = last.map_err(Fault::at(CONNECT))?.map_err(|why| self.foul(&why))?;
        let proof = go_on(&conversation, &last, source);
        let (verdict, _, done) = self.sasl(proof).await?;
        scram.verify(&verdict).map_err(|why| self.foul(&why))?;
        if !done {
            self.sasl(go_on(&conversation, "", source)).await?;
        }
        Ok(())
    }

    /// One step: the server's text, the conversation's number, and whether it is over.
    async fn sasl(&mut self, step: Document) -> Result<(String, Bson, bool), Fault> {
        let reply = self.ask(&step).await.map_err(Fault::at(CONNECT))?;
        let reply = accepted(CONNECT, reply)?;
        let payload = reply.pointer("/payload/$binary/base64").and_then(Value::as_str);
        let payload = payload.and_then(base64_text);
        let payload = payload.ok_or_else(|| self.foul("no payload"))?;
        let conversation = reply.get("conversationId").and_then(Value::as_i64).unwrap_or(1);
        let conversation = i32::try_from(conversation).map_or(Bson::Int64(conversation), Bson::Int32);
        let done = reply.get("done").and_then(Value::as_bool) == Some(true);
        Ok((payload, conversation, done))
    }

    /// Sends a document and hears the answer to it.
    async fn ask(&mut self, question: &Document) -> Result<Value, NetError> {
        self.request += 1;
        let body = question
            .to_vec()
            .map_err(|error| NetError::InvalidInput(error.to_string()))?;
        let length = i32::try_from(HEAD + 5 + body.len());
        let length = length.map_err(|_| NetError::InvalidInput("`command` is too long".to_owned()))?;
        let head = [length, self.request, 0, OP_MSG, 0]
            .map(i32::to_le_bytes)
            .concat();
        self.session
            .send(&[head.as_slice(), &[0], &body].concat())
            .await?;
        let mut head = self.session.take(HEAD).await?;
        let length = usize::try_from(head.get_i32_le()).unwrap_or_default();
        let (_, response_to, operation) = (head.get_i32_le(), head.get_i32_le(), head.get_i32_le());
        if operation != OP_MSG || response_to != self.request || !(HEAD + 10..=MOST_FRAME).contains(&length) {
            return Err(self.session.breach("does not speak MongoDB's protocol"));
        }
        let message = self.session.take(length - HEAD).await?;
        let value = read(&message).ok_or_else(|| self.session.breach("a reply that is no document"))?;
        Ok(value)
    }

    fn foul(&self, why: &str) -> Fault {
        Fault::at(CONNECT)(self.session.breach(format_args!("SCRAM: {why}")))
    }
}

/// The document of a message: flags, kind 0, body; a checksum may follow.
fn read(message: &[u8]) -> Option<Value> {
    let [_, _, _, _, 0, body @ ..] = message else {
        return None;
    };
    let length = usize::try_from(i32::from_le_bytes(body.get(..4)?.try_into().ok()?)).ok()?;
    object(RawDocument::from_bytes(body.get(..length)?).ok()?, 0)
}

/// A document as relaxed extended JSON. Not left to the library, which goes as deep as a server makes it.
fn object(document: &RawDocument, depth: usize) -> Option<Value> {
    let mut object = Map::new();
    for field in document {
        let (key, value) = field.ok()?;
        object.insert(key.as_str().to_owned(), json(value, depth + 1)?);
    }
    Some(Value::Object(object))
}

fn json(value: RawBsonRef<'_>, depth: usize) -> Option<Value> {
    match value {
        _ if depth > MOST_DEPTH => None,
        RawBsonRef::Document(document) => object(document, depth),
        RawBsonRef::Array(items) => {
            let items = items.into_iter().map(|item| json(item.ok()?, depth + 1));
            items.collect::<Option<_>>().map(Value::Array)
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => Some(code.code.into()),
        value => Some(Bson::try_from(value).ok()?.into_relaxed_extjson()),
    }
}

/// A reply, unless it is an error.
fn accepted(stage: &str, reply: Value) -> Result<Value, Fault> {
    if reply.get("ok").and_then(Value::as_f64) != Some(0.0) {
        return Ok(reply);
    }
    let word = |field: &str| reply.get(field).and_then(Value::as_str).unwrap_or_default();
    // Unauthorized, AuthenticationFailed.
    let reason = match reply.get("code").and_then(Value::as_i64) {
        Some(13 | 18) => Reason::AuthFailed,
        _ => Reason::AssertionFailed,
    };
    let (name, text) = (word("codeName"), word("errmsg"));
    Err(Fault::Told(reason, format!("{stage}: ({name}) {text}")))
}

fn go_on(conversation: &Bson, payload: &str, source: &str) -> Document {
    doc! { "saslContinue": 1, "conversationId": conversation.clone(), "payload": binary(payload), "$db": source }
}

fn binary(text: &str) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes: text.as_bytes().to_vec(),
    }
}

fn base64_text(text: &str) -> Option<String> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_as_deep_as_it_is_long_is_none() {
        let mut document = vec![5, 0, 0, 0, 0];
        for _ in 0..100_000 {
            let length = i32::try_from(document.len() + 8).unwrap();
            document = [&length.to_le_bytes()[..], b"\x03a\0", &document, &[0]].concat();
            if document.len() > 20_000 {
                break;
            }
        }
        assert_eq!(read(&[&[0; 5][..], &document].concat()), None);
        let fine = doc! { "ok": 1.0, "a": [1, { "b": bson::oid::ObjectId::from_bytes([7; 12]) }] };
        let value = read(&[&[0; 5][..], &fine.to_vec().unwrap()].concat()).unwrap();
        assert_eq!(value.pointer("/a/1/b/$oid").unwrap(), "070707070707070707070707");
        for broken in [
            &b""[..],
            &[0; 9],
            &[0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0x7F],
            &[0, 0, 0, 0, 1, 5, 0, 0, 0, 0],
        ] {
            assert_eq!(read(broken), None);
        }
    }
}
