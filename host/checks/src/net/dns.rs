//! Raw DNS questions: one question to one server, the reply as it came.
//!
//! For plugins and checks that look at DNS itself. Names that are to be dialled go through
//! [`Net::resolve`](super::Net::resolve).

mod server;

pub(crate) use server::{Answer, NameServer, Transport};

use super::{Counted, Host, IpFamily, Net, NetError, datagram, host::MAX_UNICODE, quota::Toll};
use hickory_resolver::proto::{
    op::{DEFAULT_MAX_PAYLOAD_LEN, Edns, Message, MessageType, Query, ResponseCode},
    rr::{Name, RecordType},
};
use std::{io, net::SocketAddr, str::FromStr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinError,
    time::{self, Instant},
};

/// How long a datagram is waited for before it is sent again, or the next server is asked.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Most records of a message that is read: names in it can refer to each other, so that 64 KiB of them become megabytes.
const MOST_RECORDS: usize = 1000;
/// Most bytes of an answer's records as text.
const MOST_TEXT: usize = 256 << 10;
/// From this size on, in bytes, a message is read where it holds up nobody.
const LARGE: usize = 4 << 10;
/// Of a message's header (RFC 1035 §4.1.1).
const HEADER: usize = 12;

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Owner name, with the trailing dot.
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    /// `A`, `MX`, …
    pub rtype: String,
    /// In presentation format.
    pub data: String,
}

/// The reply to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 0 NOERROR, 3 NXDOMAIN, …
    pub rcode: u16,
    /// The AA bit.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// Round-trip time.
    pub elapsed: Duration,
}

impl Net {
    /// Asks one question, of `server` (host, port) or of the system's resolvers; UDP, then TCP on truncation.
    ///
    /// NXDOMAIN and empty answers are replies, not errors. `rtype` is a mnemonic (`A`, `mx`) or `TYPE123`; `name` is
    /// taken as absolute. The policy judges the name, and the address of a given `server`.
    pub async fn query(
        &self,
        name: &str,
        rtype: &str,
        server: Option<(&str, u16)>,
        deadline: Instant,
    ) -> Result<Reply, NetError> {
        let question = question(name, rtype)?;
        let plain = question
            .name()
            .to_ascii()
            .trim_end_matches('.')
            .to_ascii_lowercase();
        self.judge_question(&plain)?;
        let servers = match server {
            None => self.inner.resolver.servers()?.to_vec(),
            Some((host, port)) => {
                let found = self.resolve(host, Some(port), IpFamily::Any, deadline).await?;
                found
                    .addresses
                    .into_iter()
                    .map(|address| SocketAddr::new(address, port))
                    .collect()
            }
        };
        if servers.is_empty() {
            return Err(NetError::Local("no name server to ask".to_owned()));
        }
        let mut last = NetError::DnsTimeout(format!("`{plain}`: no answer"));
        // Round after round until the deadline: a lost datagram is no failure yet.
        while Instant::now() < deadline {
            for server in &servers {
                let patience = deadline.min(Instant::now() + RETRY_AFTER);
                match time::timeout_at(patience, ask(&question, *server, &self.toll)).await {
                    Ok(Ok(reply)) => return Ok(reply),
                    Ok(Err(error)) => last = error,
                    Err(_) => last = NetError::DnsTimeout(format!("`{plain}` at {server}")),
                }
            }
            if !matches!(last, NetError::DnsTimeout(_)) {
                break;
            }
        }
        Err(last)
    }
}

fn question(name: &str, rtype: &str) -> Result<Query, NetError> {
    let unfit = |what: &str, text: &str| NetError::InvalidInput(format!("`{text}` is no DNS {what}"));
    if name.len() > MAX_UNICODE {
        let why = format!("a DNS name of {} bytes: {MAX_UNICODE} at most", name.len());
        return Err(NetError::InvalidInput(why));
    }
    if let Ok(Host::Address(_)) = Host::parse(name) {
        return Err(unfit("name", name));
    }
    let mut parsed = Name::from_str(name).map_err(|_| unfit("name", name))?;
    parsed.set_fqdn(true);
    let upper = rtype.to_ascii_uppercase();
    let number = upper
        .strip_prefix("TYPE")
        .and_then(|number| number.parse::<u16>().ok());
    let rtype = match number {
        Some(number) => RecordType::from(number),
        None => RecordType::from_str(&upper).map_err(|_| unfit("record type", rtype))?,
    };
    Ok(Query::query(parsed, rtype))
}

async fn ask(question: &Query, server: SocketAddr, toll: &Toll) -> Result<Reply, NetError> {
    let start = Instant::now();
    let fail = |error: NetError| match error {
        ours @ (NetError::Local(_) | NetError::Limit(_)) => ours,
        error => NetError::DnsFailed(error.to_string()),
    };
    let mut reply = over_udp(question, server, toll).await.map_err(fail)?;
    if reply.metadata.truncation {
        let connecting = TcpStream::connect(server).await;
        let stream = connecting.map_err(|error| fail(NetError::from_io(&error, &server.to_string())))?;
        let stream = Counted::by(stream, toll.clone());
        reply = framed(stream, question, &server.to_string())
            .await
            .map_err(fail)?;
    }
    let elapsed = start.elapsed();
    aside(reply.answers.len() * HEADER, move || {
        Ok(Reply {
            rcode: reply.metadata.response_code.into(),
            authoritative: reply.metadata.authoritative,
            elapsed,
            answers: records(&reply, &server.to_string())?,
        })
    })
    .await
}

/// A question, and as bytes. Made anew for each try: a fresh random id.
fn message(question: &Query, edns: bool) -> Result<(Message, Vec<u8>), NetError> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(question.clone());
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(DEFAULT_MAX_PAYLOAD_LEN);
        message.set_edns(edns);
    }
    let bytes = message.to_vec();
    Ok((
        message,
        bytes.map_err(|error| NetError::InvalidInput(error.to_string()))?,
    ))
}

/// RFC 6891 §7: so answers who knows no EDNS; it is to be asked without.
fn knows_no_edns(reply: &Message) -> bool {
    let code = reply.metadata.response_code;
    matches!(code, ResponseCode::FormErr | ResponseCode::NotImp) && reply.edns.is_none()
}

/// The answer to `question` from a fresh port, as it came: maybe truncated. Waits for ever.
async fn over_udp(question: &Query, server: SocketAddr, toll: &Toll) -> Result<Message, NetError> {
    let fail = |error: io::Error| NetError::from_io(&error, &server.to_string());
    let socket = datagram::open(server).map_err(fail)?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let mut edns = true;
    'asking: loop {
        let (asked, bytes) = message(question, edns)?;
        toll.message(bytes.len())?;
        socket.send(&bytes).await.map_err(fail)?;
        loop {
            let length = socket.recv(&mut buffer).await.map_err(fail)?;
            toll.message(length)?;
            // Anybody can send us a datagram: only one with our id and our question is the answer.
            let datagram = buffer.get(..length).unwrap_or_default();
            let reply = if replies_to(datagram, &asked) {
                parsed(datagram.to_vec(), &server.to_string()).await.ok()
            } else {
                None
            };
            match reply.filter(|reply| answers(reply, &asked)) {
                Some(reply) if edns && knows_no_edns(&reply) => {
                    edns = false;
                    continue 'asking;
                }
                Some(reply) => return Ok(reply),
                None => {}
            }
        }
    }
}

/// RFC 7766 §8: each message behind its length in two bytes. What is no answer to `question` is passed over; waits for
/// ever.
async fn framed(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    question: &Query,
    server: &str,
) -> Result<Message, NetError> {
    let fail = |error: io::Error| NetError::from_io(&error, server);
    let mut edns = true;
    'asking: loop {
        let (asked, bytes) = message(question, edns)?;
        let length = u16::try_from(bytes.len());
        let length = length.map_err(|error| NetError::InvalidInput(error.to_string()))?;
        let written = stream
            .write_all(&[&length.to_be_bytes(), &bytes[..]].concat())
            .await;
        written.map_err(fail)?;
        stream.flush().await.map_err(fail)?;
        loop {
            let length = stream.read_u16().await.map_err(fail)?;
            let mut reply = vec![0; usize::from(length)];
            stream.read_exact(&mut reply).await.map_err(fail)?;
            if reply.len() >= HEADER && !replies_to(&reply, &asked) {
                continue;
            }
            let reply = parsed(reply, server).await?;
            if !answers(&reply, &asked) {
                continue;
            }
            if edns && knows_no_edns(&reply) {
                edns = false;
                continue 'asking;
            }
            return Ok(reply);
        }
    }
}

/// A message as it came, if it is one and has no more than 1,000 records.
async fn parsed(bytes: Vec<u8>, server: &str) -> Result<Message, NetError> {
    let no_message = |why: &str| NetError::Protocol(format!("{server} answered no DNS message: {why}"));
    // Behind the questions' count: those of answers, authorities and additional records.
    let counts = bytes.get(6..HEADER).ok_or_else(|| no_message("too short"))?;
    let counts = counts.as_chunks().0.iter();
    let records: usize = counts.map(|count| usize::from(u16::from_be_bytes(*count))).sum();
    if records > MOST_RECORDS {
        let why = format!("{server} answered with {records} records: {MOST_RECORDS} at most");
        return Err(NetError::Protocol(why));
    }
    let read = aside(bytes.len(), move || Message::from_vec(&bytes)).await;
    read.map_err(|error| no_message(&error.to_string()))
}

/// Does `work` on `size` bytes: where it may take its time, if those are many. What is given up goes on to its end there.
async fn aside<T: Send + 'static>(size: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if size < LARGE {
        return work();
    }
    match tokio::task::spawn_blocking(work)
        .await
        .map_err(JoinError::try_into_panic)
    {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and all that waits with it.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Whether a message says that it is a reply to that question: its id, and the bit for responses. Costs nothing, so that a
/// flood of others' does not either.
fn replies_to(bytes: &[u8], question: &Message) -> bool {
    matches!(bytes, [high, low, flags, ..] if u16::from_be_bytes([*high, *low]) == question.metadata.id && flags & 0x80 != 0)
}

/// Who cannot read a question may answer with a header alone.
fn answers(reply: &Message, question: &Message) -> bool {
    let unread = reply.queries.is_empty() && reply.metadata.response_code == ResponseCode::FormErr;
    reply.metadata.id == question.metadata.id
        && reply.metadata.message_type == MessageType::Response
        && (unread || reply.queries == question.queries)
}

/// The answer section as text.
fn records(reply: &Message, server: &str) -> Result<Vec<Record>, NetError> {
    let mut length = 0;
    let mut records = Vec::with_capacity(reply.answers.len());
    for record in &reply.answers {
        let record = Record {
            name: record.name.to_ascii(),
            ttl: record.ttl,
            rtype: record.record_type().to_string(),
            data: record.data.to_string(),
        };
        length += record.name.len() + record.data.len();
        if length > MOST_TEXT {
            let why = format!(
                "{server} answered with records of more than {} KiB",
                MOST_TEXT >> 10
            );
            return Err(NetError::Protocol(why));
        }
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply with so many name servers of the longest name there is; all but the first are pointers to it.
    fn many(count: u16) -> Vec<u8> {
        let [high, low] = count.to_be_bytes();
        let mut reply = vec![0, 1, 0x80, 0, 0, 0, high, low, 0, 0, 0, 0];
        for number in 0..count {
            if number == 0 {
                for length in [63, 63, 63, 61] {
                    reply.push(length);
                    reply.extend(vec![1; usize::from(length)]);
                }
                reply.push(0);
            } else {
                reply.extend([0xc0, 12]);
            }
            // NS, IN, 60 s, two bytes: a pointer.
            reply.extend([0, 2, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 12]);
        }
        reply
    }

    #[tokio::test]
    async fn a_message_that_unfolds_to_megabytes_is_refused() {
        let fine = parsed(many(10), "server").await.unwrap();
        assert_eq!(records(&fine, "server").unwrap().len(), 10);
        let long = many(1000);
        assert!(long.len() < 16 << 10, "{}", long.len());
        let long = parsed(long, "server").await.unwrap();
        assert_eq!(
            records(&long, "server").unwrap_err().to_string(),
            "protocol error: server answered with records of more than 256 KiB"
        );
        assert_eq!(
            parsed(many(1001), "server").await.unwrap_err().to_string(),
            "protocol error: server answered with 1001 records: 1000 at most"
        );
        for short in [&[][..], &[0; 11]] {
            assert!(parsed(short.to_vec(), "server").await.is_err());
        }
    }

    #[test]
    fn what_replies_to_nothing_of_ours_is_not_read() {
        let (asked, bytes) = message(&question("a.test", "A").unwrap(), true).unwrap();
        let mut reply = bytes.clone();
        assert!(!replies_to(&reply, &asked), "a question");
        reply[2] |= 0x80;
        assert!(replies_to(&reply, &asked));
        reply[0] ^= 1;
        assert!(!replies_to(&reply, &asked), "of another");
        assert!(!replies_to(&reply[..2], &asked));
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long = "\u{fc}".repeat(MAX_UNICODE);
        for (name, why) in [
            ("127.0.0.1", "`127.0.0.1` is no DNS name"),
            ("a..b", "`a..b` is no DNS name"),
            (&long, "a DNS name of 2024 bytes: 1012 at most"),
        ] {
            let error = question(name, "A").unwrap_err().to_string();
            assert_eq!(error, why);
        }
    }
}
