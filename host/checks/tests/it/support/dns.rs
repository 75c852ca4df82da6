//! A DNS server on loopback that answers as the test says, over UDP and TCP.

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{
        RData, Record, RecordType,
        rdata::{A, AAAA},
    },
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};
use tokio_util::task::AbortOnDropHandle;

/// What to answer to one question.
pub(crate) enum Answer {
    Addresses(Vec<IpAddr>),
    Code(ResponseCode),
    /// The TC bit over UDP, the addresses over TCP.
    Truncated(Vec<IpAddr>),
    /// First no message at all, a reply with a wrong id and one to another question, with lies in them; then the truth.
    AfterForgery(Vec<IpAddr>),
    /// As who has never heard of EDNS: FORMERR over UDP with nothing behind the header, NOTIMP over TCP; the addresses to
    /// who asks without.
    WithoutEdns(Vec<IpAddr>),
    Silence,
}

pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl NameServer {
    /// `answer` is given the lower-case name without its last dot.
    pub(crate) async fn start(answer: impl Fn(&str, RecordType) -> Answer + Send + Sync + 'static) -> Self {
        // Both transports on one port.
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let answer = Arc::new(answer);
        let (noted, answers) = (asked.clone(), answer.clone());
        let datagrams = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                let Ok(question) = Message::from_vec(&buffer[..length]) else {
                    continue;
                };
                for reply in replies(&question, &*answers, &noted, false) {
                    let _ = udp.send_to(&reply, from).await;
                }
            }
        });
        let noted = asked.clone();
        let streams = tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                while let Ok(length) = stream.read_u16().await {
                    let mut bytes = vec![0; usize::from(length)];
                    if stream.read_exact(&mut bytes).await.is_err() {
                        break;
                    }
                    let Ok(question) = Message::from_vec(&bytes) else {
                        break;
                    };
                    for reply in replies(&question, &*answer, &noted, true) {
                        let length = u16::try_from(reply.len()).unwrap();
                        let _ = stream
                            .write_all(&[&length.to_be_bytes()[..], &reply].concat())
                            .await;
                    }
                }
            }
        });
        Self {
            address,
            asked,
            _tasks: [datagrams, streams].map(AbortOnDropHandle::new),
        }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn replies(
    question: &Message,
    answer: &(dyn Fn(&str, RecordType) -> Answer + Send + Sync),
    noted: &Mutex<Vec<String>>,
    tcp: bool,
) -> Vec<Vec<u8>> {
    let query = &question.queries[0];
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    noted.lock().unwrap().push(format!(
        "{name} {}{}",
        query.query_type(),
        if tcp { " tcp" } else { "" }
    ));
    let mut reply = Message::new(
        question.metadata.id,
        MessageType::Response,
        question.metadata.op_code,
    );
    reply.add_query(query.clone());
    let with = |reply: &Message, addresses: Vec<IpAddr>| {
        let mut reply = reply.clone();
        for address in addresses {
            let data = match address {
                IpAddr::V4(v4) if query.query_type() == RecordType::A => RData::A(A(v4)),
                IpAddr::V6(v6) if query.query_type() == RecordType::AAAA => RData::AAAA(AAAA(v6)),
                _ => continue,
            };
            reply.add_answer(Record::from_rdata(query.name().clone(), 3600, data));
        }
        reply.to_vec().unwrap()
    };
    match answer(&name, query.query_type()) {
        Answer::Silence => vec![],
        Answer::Addresses(addresses) => vec![with(&reply, addresses)],
        Answer::Truncated(addresses) if tcp => vec![with(&reply, addresses)],
        Answer::Truncated(_) => {
            reply.metadata.truncation = true;
            vec![reply.to_vec().unwrap()]
        }
        Answer::AfterForgery(addresses) => {
            let mut forged = reply.clone();
            forged.metadata.id = !forged.metadata.id;
            let mut other = reply.clone();
            other.queries[0].set_query_type(RecordType::NS);
            let lies = vec!["6.6.6.6".parse().unwrap()];
            vec![
                b"no DNS at all".to_vec(),
                with(&forged, lies.clone()),
                with(&other, lies),
                with(&reply, addresses),
            ]
        }
        Answer::WithoutEdns(addresses) if question.edns.is_none() => vec![with(&reply, addresses)],
        Answer::WithoutEdns(_) => {
            reply.metadata.response_code = ResponseCode::NotImp;
            if !tcp {
                reply.metadata.response_code = ResponseCode::FormErr;
                reply.queries.clear();
            }
            vec![reply.to_vec().unwrap()]
        }
        Answer::Code(code) => {
            reply.metadata.response_code = code;
            vec![reply.to_vec().unwrap()]
        }
    }
}
