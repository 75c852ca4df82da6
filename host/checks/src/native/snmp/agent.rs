//! One GET with one agent: sent again while it says nothing, and matched by request id, version, and community or proof.

use super::{
    config::{Access, Plan},
    message::{
        self, AUTHENTICATED, ENCRYPTED, Head, Pdu, REPORT, REPORTABLE, RESPONSE, Secured, read_community,
        read_scoped, read_secured,
    },
    usm::{Keys, User},
};
use crate::{
    ProbeContext,
    native::ber::{self, OCTETS, SEQUENCE},
    net::{Datagrams, NetError},
};
use tokio::{task, time::Instant};

/// Most retries that a monitor may ask for.
const MAX_RETRIES: u32 = 10;
/// How often keys or clocks may turn out to be old ones.
const MAX_ROUNDS: usize = 4;
/// usmStats (RFC 3414 §5), but for the number of the counter and the instance.
const USM_STATS: &[u8] = &[0x2b, 6, 1, 6, 3, 15, 1, 1];

/// Why there is no answer.
pub(super) enum Fault {
    Net(NetError),
    /// The agent does not let us in.
    Refused(String),
}

impl From<NetError> for Fault {
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

/// What an agent says of a request it does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    UnsupportedLevel,
    NotInTimeWindow,
    UnknownUser,
    UnknownEngine,
    WrongDigest,
    DecryptionError,
    Other,
}

/// A reply to a version 3 request.
enum Reply {
    Answer(Pdu),
    Report(Report, Head),
}

/// The other side, and how long it has.
pub(super) struct Agent<'a> {
    socket: Datagrams,
    cx: &'a ProbeContext,
    /// Of the reply to a single request, by the number of requests.
    tries: u32,
}

impl<'a> Agent<'a> {
    /// With as many retries as the monitor asks for, all within its time.
    pub(super) fn new(socket: Datagrams, cx: &'a ProbeContext) -> Self {
        let tries = 1 + cx.task.monitor.max_retries.min(MAX_RETRIES);
        Self { socket, cx, tries }
    }

    pub(super) async fn get(&self, plan: &Plan) -> Result<Pdu, Fault> {
        match &plan.access {
            Access::Community(version, community) => {
                self.with_community(*version, community, &plan.oid).await
            }
            Access::User(user) => self.as_user(user, &plan.oid).await,
        }
    }

    async fn with_community(&self, version: i64, community: &[u8], oid: &[u8]) -> Result<Pdu, Fault> {
        let id = fresh_id();
        let request = message::with_community(version, community, message::get(id, Some(oid)));
        let answer = |bytes: &[u8]| {
            let (its_version, its_community, pdu) = read_community(bytes)?;
            let ours = its_version == version && its_community == community && pdu.request_id == id;
            (ours && pdu.kind == RESPONSE).then_some(pdu)
        };
        self.ask(
            &request,
            answer,
            "a wrong community is answered with silence, too",
        )
        .await
    }

    async fn as_user(&self, user: &User, oid: &[u8]) -> Result<Pdu, Fault> {
        let mut engine = self.discover().await?;
        let mut keys = keys(user, &engine.engine).await?;
        for _ in 0..MAX_ROUNDS {
            match self.round(user, &keys, &engine, oid).await? {
                Reply::Answer(pdu) => return Ok(pdu),
                Reply::Report(Report::NotInTimeWindow, head) => engine = head,
                Reply::Report(Report::UnknownEngine, head) if head.engine != engine.engine => {
                    keys = self::keys(user, &head.engine).await?;
                    engine = head;
                }
                Reply::Report(report, _) => return Err(Fault::Refused(report.text().to_owned())),
            }
        }
        Err(Fault::Refused(
            "the agent's clock and ours do not come together".to_owned(),
        ))
    }

    /// Who the agent is, and its clock: RFC 3414 §4.
    async fn discover(&self) -> Result<Head, Fault> {
        let id = fresh_id();
        let head = Head {
            id,
            flags: REPORTABLE,
            ..Head::default()
        };
        let (request, _) = message::secured(&head, &message::scoped(b"", b"", message::get(id, None)));
        let answer = |bytes: &[u8]| {
            let read = read_secured(bytes)?;
            (read.head.id == id && !read.head.engine.is_empty()).then_some(read.head)
        };
        self.ask(&request, answer, "the agent may not speak SNMPv3").await
    }

    async fn round(&self, user: &User, keys: &Keys, engine: &Head, oid: &[u8]) -> Result<Reply, Fault> {
        let id = fresh_id();
        let scoped = message::scoped(&engine.engine, &user.context, message::get(id, Some(oid)));
        let mut head = Head {
            id,
            flags: REPORTABLE,
            user: user.name.clone(),
            auth: vec![0; keys.proof_length()],
            salt: Vec::new(),
            ..engine.clone()
        };
        if keys.proof_length() > 0 {
            head.flags |= AUTHENTICATED;
        } else {
            // Nobody proves anything by a clock.
            (head.boots, head.time) = (0, 0);
        }
        let mut content = scoped;
        if let Some((encrypted, salt)) = keys.encrypt(&content, head.boots, head.time, fastrand::u64(..)) {
            head.flags |= ENCRYPTED;
            head.salt = salt.to_vec();
            content = ber::value(OCTETS, &encrypted);
        }
        let (mut request, at) = message::secured(&head, &content);
        let proof = keys.proof(&request);
        request
            .iter_mut()
            .skip(at)
            .zip(&proof)
            .for_each(|(place, byte)| *place = *byte);
        let answer = |bytes: &[u8]| reply(bytes, &head, keys);
        self.ask(&request, answer, "answers without a valid proof are passed over")
            .await
    }

    /// Sends until something comes back that `answer` makes sense of; everything else is passed over.
    async fn ask<T>(
        &self,
        request: &[u8],
        answer: impl Fn(&[u8]) -> Option<T>,
        hint: &str,
    ) -> Result<T, Fault> {
        let (start, all) = (Instant::now(), self.cx.remaining());
        for turn in 1..=self.tries {
            let end = start + all * turn / self.tries;
            match self.socket.send(request, end).await {
                Err(NetError::ResponseTimeout(_)) => continue,
                sent => sent?,
            }
            loop {
                match self.socket.receive(end).await {
                    Ok(bytes) => {
                        if let Some(made_sense) = answer(&bytes) {
                            return Ok(made_sense);
                        }
                    }
                    Err(NetError::ResponseTimeout(_)) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let text = format!("{}: no valid answer ({hint})", self.socket.peer);
        Err(NetError::ResponseTimeout(text).into())
    }
}

/// A reply to the request with this head; `None` when it is none, or not proven.
fn reply(bytes: &[u8], asked: &Head, keys: &Keys) -> Option<Reply> {
    let read = read_secured(bytes)?;
    if read.head.id != asked.id {
        return None;
    }
    let proven = read.head.flags & AUTHENTICATED != 0 && is_proven(&read, keys);
    let encrypted = read.scoped_tag == OCTETS;
    let pdu = match read.scoped_tag {
        OCTETS => {
            let Head {
                boots, time, salt, ..
            } = &read.head;
            let plain = keys.decrypt(read.scoped, *boots, *time, salt)?;
            read_scoped(ber::Reader(&plain).take(SEQUENCE)?)?
        }
        SEQUENCE => read_scoped(read.scoped)?,
        _ => return None,
    };
    if pdu.kind == REPORT {
        let report = Report::of(&pdu);
        // A clock is only believed with a proof; who does not know us cannot give any.
        let believed = proven || report != Report::NotInTimeWindow || keys.proof_length() == 0;
        return believed.then_some(Reply::Report(report, read.head));
    }
    let as_asked = pdu.kind == RESPONSE
        && pdu.request_id == asked.id
        && read.head.engine == asked.engine
        && read.head.user == asked.user
        && (proven || keys.proof_length() == 0)
        && (encrypted || !keys.encrypts());
    as_asked.then_some(Reply::Answer(pdu))
}

/// Whether the message carries the proof that these keys make of it.
fn is_proven(read: &Secured<'_>, keys: &Keys) -> bool {
    let length = keys.proof_length();
    let mut blank = read.whole.to_vec();
    blank
        .iter_mut()
        .skip(read.auth_at)
        .take(length)
        .for_each(|byte| *byte = 0);
    length > 0 && read.head.auth.len() == length && keys.proof(&blank) == read.head.auth
}

/// Computed where it holds up nobody.
async fn keys(user: &User, engine: &[u8]) -> Result<Keys, Fault> {
    let (user, engine) = (user.clone(), engine.to_vec());
    let computed = task::spawn_blocking(move || Keys::of(&user, &engine)).await;
    computed.map_err(|error| NetError::Local(format!("computing keys: {error}")).into())
}

/// An id that a stale answer will not have.
fn fresh_id() -> i64 {
    i64::from(fastrand::i32(1..))
}

impl Report {
    fn of(pdu: &Pdu) -> Self {
        let counter = pdu.varbinds.first().and_then(|(oid, _)| match oid.as_slice() {
            [stats @ .., counter, 0] if stats == USM_STATS => Some(*counter),
            _ => None,
        });
        match counter {
            Some(1) => Self::UnsupportedLevel,
            Some(2) => Self::NotInTimeWindow,
            Some(3) => Self::UnknownUser,
            Some(4) => Self::UnknownEngine,
            Some(5) => Self::WrongDigest,
            Some(6) => Self::DecryptionError,
            _ => Self::Other,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::UnsupportedLevel => "the agent does not let this user in at this security level",
            Self::NotInTimeWindow => "the agent's clock and ours do not come together",
            Self::UnknownUser => "the agent does not know the user",
            Self::UnknownEngine => "the agent does not know its own engine id",
            Self::WrongDigest => "the agent does not accept the authentication password or protocol",
            Self::DecryptionError => "the agent cannot decrypt: another privacy password or protocol",
            Self::Other => "the agent reports an error that RFC 3414 does not know",
        }
    }
}
