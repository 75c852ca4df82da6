//! The conversation with a Kafka cluster: who leads, and the message to that one.

use super::{
    KafkaProducerConfig, Plan,
    codec::{Answer, Api, Metadata, Request, error_name, metadata, produced},
    record,
};
use crate::{
    ProbeContext,
    native::{
        judging::judged,
        session::{Fault, Session, Trace, share},
    },
    net::{Host, NetError},
};
use bytes::Buf;
use lapwing_model::Reason;
use std::time::Duration;
use tokio::time;

pub(super) const CREATE: &str = "Failed to create Kafka producer";
pub(super) const SEND: &str = "Failed to send message";
/// Tries before a cluster that is sorting itself out is given up, and the time between them.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);
const UNKNOWN_TOPIC: i16 = 3;
const NO_LEADER: i16 = 5;
const NOT_LEADER: i16 = 6;

/// Has one partition's leader store the message; partition and offset.
pub(super) async fn send(
    config: &KafkaProducerConfig,
    plan: &Plan,
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<(i32, i64), Fault> {
    let mut tries = 1;
    loop {
        match attempt(config, plan, cx, trace).await {
            Err(Told::Passing(_)) if tries < TRIES => {
                tries += 1;
                if time::timeout_at(cx.deadline, time::sleep(PAUSE)).await.is_err() {
                    let error = NetError::ResponseTimeout("no leader was found".to_owned());
                    return Err(Fault::at(CREATE)(error));
                }
            }
            Ok(stored) => return Ok(stored),
            Err(Told::Passing(fault) | Told::Final(fault)) => return Err(fault),
        }
    }
}

/// Whether another try may end otherwise.
enum Told {
    Passing(Fault),
    Final(Fault),
}

impl From<Fault> for Told {
    fn from(fault: Fault) -> Self {
        Self::Final(fault)
    }
}

async fn attempt(
    config: &KafkaProducerConfig,
    plan: &Plan,
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<(i32, i64), Told> {
    let metadata = bootstrap(config, plan, cx, trace).await?;
    let leader = match (metadata.error, metadata.leader) {
        (0, Some(leader)) => leader,
        (0, None) | (NO_LEADER, _) => return Err(Told::Passing(refusal(CREATE, NO_LEADER))),
        (code @ UNKNOWN_TOPIC, _) if config.allow_auto_topic_creation => {
            return Err(Told::Passing(refusal(CREATE, code)));
        }
        (code, _) => return Err(Told::Final(refusal(CREATE, code))),
    };
    let (partition, Some(leader)) = (leader.partition, leader.broker) else {
        let error = NetError::Protocol("the leader is none of the brokers".to_owned());
        return Err(Told::Final(Fault::at(CREATE)(error)));
    };
    if Host::parse(&leader.0).is_err() {
        let error = NetError::Protocol(format!(
            "the leader calls itself `{}`, which is no host",
            leader.0
        ));
        return Err(Told::Final(Fault::at(CREATE)(error)));
    }
    let mut node = Node::connect(config, plan, &leader, cx, trace).await?;
    match node.produce(config, partition, cx).await? {
        (0, offset) => Ok((partition, offset)),
        (code @ (NO_LEADER | NOT_LEADER), _) => Err(Told::Passing(refusal(SEND, code))),
        (code, _) => Err(Told::Final(refusal(SEND, code))),
    }
}

/// What the first broker that answers says of the topic. Each has its share of the time.
async fn bootstrap(
    config: &KafkaProducerConfig,
    plan: &Plan,
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<Metadata, Fault> {
    let mut last = NetError::Protocol("no broker".to_owned());
    for (at, broker) in plan.brokers.iter().enumerate() {
        let share = share(cx, plan.brokers.len() - at);
        let asked = async {
            let mut node = Node::connect(config, plan, broker, cx, trace).await?;
            node.metadata(config, cx).await
        };
        match time::timeout_at(share, asked).await {
            Ok(Err(Fault::Net { error, .. })) if error.blames_target() => last = error,
            Ok(answer) => return answer,
            Err(_) => last = NetError::ResponseTimeout(broker.0.clone()),
        }
    }
    Err(Fault::at(EXHAUSTED)(last))
}

const EXHAUSTED: &str =
    "Failed to create Kafka producer: kafka: client has run out of available brokers to talk to";

/// One broker.
pub(super) struct Node<'a> {
    session: Session<'a>,
    client: String,
    correlation: i32,
}

impl<'a> Node<'a> {
    /// Connects, speaks TLS and logs in, as configured.
    async fn connect(
        config: &KafkaProducerConfig,
        plan: &Plan,
        (host, port): &(String, u16),
        cx: &'a ProbeContext,
        trace: &'a mut Trace,
    ) -> Result<Self, Fault> {
        let session = Session::open(cx, trace, host, *port, config.ip_family).await;
        let mut session = session.map_err(Fault::at(CREATE))?;
        if let Some(tls) = &plan.tls {
            session = session.secure(tls).await.map_err(Fault::at(CREATE))?;
        }
        let mut node = Self {
            session,
            client: format!("lapwing-monitor-{}", cx.task.monitor.id),
            correlation: 0,
        };
        if let Some(mechanism) = plan.mechanism {
            node.log_in(mechanism, &config.sasl_options).await?;
        }
        Ok(node)
    }

    async fn metadata(&mut self, config: &KafkaProducerConfig, cx: &ProbeContext) -> Result<Metadata, Fault> {
        let request = self.request(Api::Metadata).int32(1).string(&config.topic);
        let request = request.boolean(config.allow_auto_topic_creation);
        let mut answer = self.ask(CREATE, request).await?;
        let (size, read) = (answer.0.len(), move || metadata(&mut answer));
        let read = judged("reading the metadata", size, cx.deadline, read).await?;
        read.ok_or_else(|| self.broken(CREATE))
    }

    /// Error and offset.
    async fn produce(
        &mut self,
        config: &KafkaProducerConfig,
        partition: i32,
        cx: &ProbeContext,
    ) -> Result<(i16, i64), Fault> {
        let timestamp = cx.clock.now().as_millisecond();
        let batch = record::batch(config.message.as_bytes(), timestamp);
        let timeout = i32::try_from(cx.remaining().as_millis()).unwrap_or(i32::MAX);
        // No transaction; acknowledged by all.
        let request = self.request(Api::Produce).int16(-1).int16(-1).int32(timeout);
        let request = request.int32(1).string(&config.topic);
        let request = request.int32(1).int32(partition).bytes(&batch);
        let mut answer = self.ask(SEND, request).await?;
        produced(&mut answer).ok_or_else(|| self.broken(SEND))
    }

    pub(super) fn request(&mut self, api: Api) -> Request {
        self.correlation += 1;
        Request::new(api, self.correlation, &self.client)
    }

    /// Sends a request and hears the answer to it.
    pub(super) async fn ask(&mut self, stage: &'static str, request: Request) -> Result<Answer, Fault> {
        let fail = Fault::at(stage);
        self.session.send(&request.finish()).await.map_err(&fail)?;
        let mut head = self.session.take(8).await.map_err(&fail)?;
        let (length, correlation) = (head.get_u32(), head.get_i32());
        if correlation != self.correlation || length < 4 {
            return Err(fail(self.session.breach("does not speak Kafka's protocol")));
        }
        let answer = self.session.take(length as usize - 4).await.map_err(&fail)?;
        Ok(Answer(answer.freeze()))
    }

    pub(super) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Fault> {
        self.session.within(work).await.map_err(Fault::at(CREATE))
    }

    pub(super) fn broken(&self, stage: &'static str) -> Fault {
        Fault::at(stage)(self.session.breach("an answer that is cut short"))
    }

    pub(super) fn foul(&self, why: &str) -> Fault {
        Fault::at(CREATE)(self.session.breach(format_args!("SCRAM: {why}")))
    }
}

fn refusal(stage: &str, code: i16) -> Fault {
    // The topic, or the cluster, is not for us.
    let reason = match code {
        29 | 31 => Reason::AuthFailed,
        _ => Reason::AssertionFailed,
    };
    Fault::Told(reason, format!("{stage}: {}", error_name(code)))
}
