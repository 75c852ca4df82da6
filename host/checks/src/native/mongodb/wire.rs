//! The conversation with a MongoDB server: OP_MSG, one document each way.

use super::target::{MOST_SERVERS, SCRAM_SHA_1, SCRAM_SHA_256, Target, member};
use crate::{
    CheckError, ProbeContext,
    native::{
        judging::judged,
        scram::{self, Hash, Scram},
        session::{Fault, MOST_FRAME, Session, Trace, share},
    },
    net::{IpFamily, NetError},
};
use bson::{Binary, Bson, Document, RawBsonRef, RawDocument, doc, spec::BinarySubtype};
use bytes::{Buf, Bytes};
use lapwing_model::Reason;
use md5::{Digest, Md5};
use std::{borrow::Cow, fmt::Write};
use tokio::time;

const CONNECT: &str = "MongoDB command failed: failed to connect to MongoDB";
const COMMAND: &str = "MongoDB command failed: failed to execute MongoDB command";
const OP_MSG: i32 = 2013;
/// Length, request, response to, operation code.
const HEAD: usize = 16;

/// Longest answer to a greeting or a login, in bytes: read where it holds others up.
const MOST_ANSWER: usize = 256 * 1024;
/// Errors of a member that is going, coming back or not the primary (any more), as the drivers' specification of server
/// discovery lists them: another may do.
const MEMBER: [i64; 8] = [91, 189, 10058, 10107, 11600, 11602, 13435, 13436];

/// Why a server did not do, and whether another may.
enum Failure {
    Member(Fault),
    Final(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            // Another server cannot mend what is our own trouble.
            Fault::Net { ref error, .. } if error.blames_target() => Self::Member(fault),
            fault => Self::Final(fault),
        }
    }
}

/// Runs `command` on a server that will do, and returns its reply.
pub(super) async fn run(
    target: &Target,
    mut command: Document,
    family: IpFamily,
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<Reply, Fault> {
    command.insert("$db", target.url.database.as_str());
    let mut servers = target.servers(cx).await.map_err(Fault::at(CONNECT))?;
    let (mut tried, mut last) = (Vec::new(), None);
    while let Some(server) = servers.pop_front() {
        if tried.contains(&server) || tried.len() == MOST_SERVERS {
            continue;
        }
        tried.push(server.clone());
        let greeting = Server::greet(target, &server, family, cx, trace);
        let greeted = time::timeout_at(share(cx, servers.len() + 1), greeting).await;
        let slow = |_| Fault::at(CONNECT)(NetError::ResponseTimeout(server.0)).into();
        let ended = match greeted.map_err(slow).flatten() {
            Ok((mut at, hello))
                if target.any_member || hello.is_router() || hello.is("isWritablePrimary") =>
            {
                at.execute(target, &hello, &command, cx).await
            }
            Ok((_, hello)) => {
                servers.extend(hello.text("primary").and_then(member));
                continue;
            }
            Err(failure) => Err(failure),
        };
        match ended {
            Ok(reply) => return Ok(reply),
            Err(Failure::Final(fault)) => return Err(fault),
            Err(Failure::Member(fault)) => last = Some(fault),
        }
        if cx.remaining().is_zero() {
            break;
        }
    }
    let none = || {
        Fault::at(CONNECT)(NetError::Protocol(
            "none of the servers is the primary".to_owned(),
        ))
    };
    Err(last.unwrap_or_else(none))
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
    ) -> Result<(Self, Reply), Failure> {
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
        let reply = server.ask(&hello, MOST_ANSWER).await.map_err(&fail)?;
        reply.accepted(CONNECT)?;
        Ok((server, reply))
    }

    /// Logs in and runs `command`.
    async fn execute(
        &mut self,
        target: &Target,
        hello: &Reply,
        command: &Document,
        cx: &ProbeContext,
    ) -> Result<Reply, Failure> {
        self.authenticate(target, hello).await?;
        let member = !hello.is_router() && !hello.is("isWritablePrimary") && hello.get("setName").is_some();
        let preferring = member.then(|| {
            let mut command = command.clone();
            command.insert("$readPreference", doc! { "mode": "primaryPreferred" });
            command
        });
        let asked = self.ask(preferring.as_ref().unwrap_or(command), MOST_FRAME).await;
        let reply = asked.map_err(Fault::at(COMMAND))?;
        let size = reply.len();
        let look = move || reply.accepted(COMMAND).map(|()| reply);
        let looked = judged("looking at the reply", size, cx.deadline, look).await;
        looked.map_err(Fault::from)?
    }

    async fn authenticate(&mut self, target: &Target, hello: &Reply) -> Result<(), Failure> {
        let (Some(user), Some(password)) = (&target.url.user, &target.url.password) else {
            return Ok(());
        };
        let (hash, name) = match target.mechanism {
            Some(mechanism) => mechanism,
            None if hello.lists("saslSupportedMechs", SCRAM_SHA_256.1) => SCRAM_SHA_256,
            None => SCRAM_SHA_1,
        };
        let prepared = match hash {
            // The password as it was hashed before SCRAM: "user:mongo:password".
            Hash::Sha1 => Cow::Owned(hex(&Md5::digest(format!("{user}:mongo:{password}")))),
            _ => stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password)),
        };
        let nonce = scram::nonce().map_err(|why| Fault::from(CheckError::Internal(why)))?;
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
    async fn sasl(&mut self, step: Document) -> Result<(String, Bson, bool), Failure> {
        let asked = self.ask(&step, MOST_ANSWER).await;
        let reply = asked.map_err(Fault::at(CONNECT))?;
        reply.accepted(CONNECT)?;
        let payload = match reply.get("payload") {
            Some(RawBsonRef::Binary(payload)) => String::from_utf8(payload.bytes.to_vec()).ok(),
            _ => None,
        };
        let payload = payload.ok_or_else(|| self.foul("no payload"))?;
        let conversation = match reply.get("conversationId") {
            Some(RawBsonRef::Int64(number)) => Bson::Int64(number),
            Some(RawBsonRef::Int32(number)) => Bson::Int32(number),
            _ => Bson::Int32(1),
        };
        Ok((payload, conversation, reply.is("done")))
    }

    /// Sends a document and hears the answer to it, of `most` bytes at most.
    async fn ask(&mut self, question: &Document, most: usize) -> Result<Reply, NetError> {
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
        if length > most {
            let why = format_args!("an answer of {length} bytes to a greeting or a login");
            return Err(self.session.breach(why));
        }
        let message = self.session.take(length - HEAD).await?;
        Reply::read(&message.freeze()).ok_or_else(|| self.session.breach("a reply that is no document"))
    }

    fn foul(&self, why: &str) -> Fault {
        Fault::at(CONNECT)(self.session.breach(format_args!("SCRAM: {why}")))
    }
}

/// The document of a reply, as it came: sixteen mebibytes of it may be five million values.
#[derive(Debug)]
pub(super) struct Reply(Bytes);

impl Reply {
    /// The document of a message: flags, kind 0, body; a checksum may follow.
    fn read(message: &Bytes) -> Option<Self> {
        let [_, _, _, _, 0, body @ ..] = &message[..] else {
            return None;
        };
        let length = usize::try_from(i32::from_le_bytes(body.get(..4)?.try_into().ok()?)).ok()?;
        RawDocument::from_bytes(body.get(..length)?).ok()?;
        Some(Self(message.slice(5..5 + length)))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// `None` where a field before its end is broken.
    pub(super) fn document(&self) -> Option<&RawDocument> {
        RawDocument::from_bytes(&self.0).ok()
    }

    fn get(&self, field: &str) -> Option<RawBsonRef<'_>> {
        self.document()?.get(field).ok().flatten()
    }

    fn is(&self, field: &str) -> bool {
        matches!(self.get(field), Some(RawBsonRef::Boolean(true)))
    }

    fn is_router(&self) -> bool {
        self.text("msg") == Some("isdbgrid")
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.get(field)?.as_str()
    }

    pub(super) fn number(&self, field: &str) -> Option<f64> {
        match self.get(field)? {
            RawBsonRef::Double(number) => Some(number),
            RawBsonRef::Int32(number) => Some(number.into()),
            #[expect(clippy::cast_precision_loss, reason = "codes and flags")]
            RawBsonRef::Int64(number) => Some(number as f64),
            _ => None,
        }
    }

    fn lists(&self, field: &str, word: &str) -> bool {
        let list = self.get(field).and_then(RawBsonRef::as_array);
        list.is_some_and(|list| list.into_iter().flatten().any(|item| item.as_str() == Some(word)))
    }

    /// Whether it is no error.
    fn accepted(&self, stage: &str) -> Result<(), Failure> {
        if self.number("ok") != Some(0.0) {
            return Ok(());
        }
        let word = |field| self.text(field).unwrap_or_default();
        let told = format!("{stage}: ({}) {}", word("codeName"), word("errmsg"));
        let code = match self.get("code") {
            Some(RawBsonRef::Int32(code)) => code.into(),
            Some(RawBsonRef::Int64(code)) => code,
            _ => 0,
        };
        // Unauthorized, AuthenticationFailed.
        Err(if matches!(code, 13 | 18) {
            Failure::Final(Fault::Told(Reason::AuthFailed, told))
        } else if MEMBER.contains(&code) {
            Failure::Member(Fault::Told(Reason::AssertionFailed, told))
        } else {
            Failure::Final(Fault::Told(Reason::AssertionFailed, told))
        })
    }
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
    fn what_is_no_reply_is_none() {
        let fine = doc! { "ok": 1.0, "n": 7_i64, "a": ["x", "y"], "t": true };
        let message = |body: &[u8]| Bytes::from([&[0; 5][..], body].concat());
        let reply = Reply::read(&message(&[fine.to_vec().unwrap(), vec![1; 4]].concat())).unwrap();
        assert_eq!((reply.number("ok"), reply.number("n")), (Some(1.0), Some(7.0)));
        assert!(reply.lists("a", "y") && !reply.lists("a", "z") && !reply.lists("t", "y"));
        assert!(reply.is("t") && !reply.is("ok") && reply.get("absent").is_none());
        for broken in [
            &b""[..],
            &[0; 9],
            &[0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0x7F],
            &[0, 0, 0, 0, 1, 5, 0, 0, 0, 0],
        ] {
            assert!(Reply::read(&Bytes::copy_from_slice(broken)).is_none());
        }
    }
}
