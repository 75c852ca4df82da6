//! The conversation with a broker.

use super::MqttConfig;
use crate::{
    CheckError, ProbeContext,
    native::session::{Fault, Session, Trace},
    net::{NetError, tls::TlsOptions},
};
use bytes::{Bytes, BytesMut};
use lapwing_model::Reason;
use rumqttc::mqttbytes::{
    Error, QoS,
    v4::{Connect, ConnectReturnCode, Disconnect, Packet, PingReq, Publish, Subscribe, SubscribeReasonCode},
};
use std::time::Duration;
use tokio::time::Instant;

const CONNECT: &str = "MQTT connection failed: MQTT connection failed";
const SUBSCRIBE: &str = "MQTT connection failed: MQTT subscription failed";
const WAIT: &str = "MQTT connection failed";
/// Largest packet to take.
const MOST_PACKET: usize = 1024 * 1024;
/// Seconds.
const KEEP_ALIVE: u16 = 60;

/// The payload of the first message on the topic.
pub(super) async fn first_message(
    config: &MqttConfig,
    tls: Option<&TlsOptions>,
    cx: &ProbeContext,
    trace: &mut Trace,
) -> Result<Bytes, Fault> {
    let (began, span) = (Instant::now(), cx.remaining());
    let session = connect(config, tls, cx, trace)
        .await
        .map_err(Fault::at(CONNECT))?;
    let mut broker = Broker { session };
    broker.log_in(config).await?;
    let message = broker.subscribe(&config.topic).await?;
    let message = match message {
        Some(message) => message,
        // 0.8 of the time, as Peekaping.
        None => broker.wait(config, began + span.mul_f64(0.8), span).await?,
    };
    let mut goodbye = BytesMut::new();
    let _ = Disconnect.write(&mut goodbye);
    broker.session.part(&goodbye).await;
    Ok(message.payload)
}

async fn connect<'a>(
    config: &MqttConfig,
    tls: Option<&TlsOptions>,
    cx: &'a ProbeContext,
    trace: &'a mut Trace,
) -> Result<Session<'a>, NetError> {
    let session = Session::open(cx, trace, &config.host(), config.port, config.ip_family).await?;
    match tls {
        Some(tls) => session.secure(tls).await,
        None => Ok(session),
    }
}

struct Broker<'a> {
    session: Session<'a>,
}

impl Broker<'_> {
    async fn log_in(&mut self, config: &MqttConfig) -> Result<(), Fault> {
        let mut hello = Connect::new(client_id(&config.client_id)?);
        hello.keep_alive = KEEP_ALIVE;
        hello.clean_session = true;
        if !config.username.is_empty() || !config.password.is_empty() {
            hello.set_login(&config.username, &config.password);
        }
        self.say(CONNECT, |buffer| hello.write(buffer)).await?;
        // A CONNACK is these two bytes and two more; what is none of that need not be waited for.
        if self.session.peek(2).await.map_err(Fault::at(CONNECT))? != [0x20, 2] {
            let breach = self.session.breach("does not speak MQTT");
            return Err(Fault::at(CONNECT)(breach));
        }
        let far = Instant::now() + Duration::from_secs(3600);
        match self.hear(CONNECT, far).await? {
            Packet::ConnAck(answer) => admitted(answer.code),
            _ => Err(self.unexpected(CONNECT)),
        }
    }

    /// Subscribes. A retained message may come before the broker's word that it is so.
    async fn subscribe(&mut self, topic: &str) -> Result<Option<Publish>, Fault> {
        let mut subscribe = Subscribe::new(topic, QoS::AtMostOnce);
        subscribe.pkid = 1;
        self.say(SUBSCRIBE, |buffer| subscribe.write(buffer)).await?;
        let far = Instant::now() + Duration::from_secs(3600);
        let mut early = None;
        loop {
            match self.hear(SUBSCRIBE, far).await? {
                Packet::Publish(message) if early.is_none() && fits(&message.topic, topic) => {
                    early = Some(message);
                }
                Packet::SubAck(answer) if answer.pkid == 1 => {
                    return match answer.return_codes.as_slice() {
                        [SubscribeReasonCode::Success(_)] => Ok(early),
                        _ => Err(Fault::Told(
                            Reason::AuthFailed,
                            format!("{SUBSCRIBE}: the broker does not allow the topic"),
                        )),
                    };
                }
                Packet::Publish(_) | Packet::PingResp => {}
                _ => return Err(self.unexpected(SUBSCRIBE)),
            }
        }
    }

    async fn wait(&mut self, config: &MqttConfig, until: Instant, span: Duration) -> Result<Publish, Fault> {
        let mut ping = Instant::now() + Duration::from_secs(u64::from(KEEP_ALIVE) * 3 / 4);
        loop {
            match self.hear(WAIT, until.min(ping)).await {
                Ok(Packet::Publish(message)) if fits(&message.topic, &config.topic) => return Ok(message),
                Ok(Packet::Publish(_) | Packet::PingResp) => {}
                Ok(_) => return Err(self.unexpected(WAIT)),
                Err(Fault::Net {
                    error: NetError::ResponseTimeout(_),
                    ..
                }) if Instant::now() < until => {
                    ping = Instant::now() + Duration::from_secs(u64::from(KEEP_ALIVE) * 3 / 4);
                    self.say(WAIT, |buffer| PingReq.write(buffer)).await?;
                }
                Err(Fault::Net {
                    error: NetError::ResponseTimeout(_),
                    ..
                }) => {
                    let span = go_duration(span);
                    let text = format!("{WAIT}: timeout, message not received within {span}");
                    return Err(Fault::Told(Reason::ResponseTimeout, text));
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn say(
        &mut self,
        stage: &'static str,
        write: impl FnOnce(&mut BytesMut) -> Result<usize, Error>,
    ) -> Result<(), Fault> {
        let mut buffer = BytesMut::new();
        write(&mut buffer).map_err(|error| CheckError::InvalidConfig(format!("{stage}: {error}")))?;
        self.session.send(&buffer).await.map_err(Fault::at(stage))
    }

    /// The next packet, until `deadline` or the run's own.
    async fn hear(&mut self, stage: &'static str, deadline: Instant) -> Result<Packet, Fault> {
        loop {
            match Packet::read(self.session.heard(), MOST_PACKET) {
                Ok(packet) => return Ok(packet),
                Err(Error::InsufficientBytes(_)) => {}
                // PUBLISH: a message, and nothing wrong with it but that it is long.
                Err(Error::PayloadSizeLimitExceeded(_))
                    if self.session.heard().first().is_some_and(|byte| byte >> 4 == 3) =>
                {
                    let text = format!("{stage}: the message is longer than {MOST_PACKET} bytes");
                    return Err(Fault::Told(Reason::BodyTooLarge, text));
                }
                Err(error) => return Err(Fault::at(stage)(self.session.breach(error))),
            }
            self.session.hear(deadline).await.map_err(Fault::at(stage))?;
        }
    }

    fn unexpected(&self, stage: &'static str) -> Fault {
        Fault::at(stage)(self.session.breach("a packet out of turn"))
    }
}

/// Whether `topic` is one of those that `filter` stands for (MQTT 3.1.1 §4.7). Not rumqttc's, which has no topic begin with
/// `$` and takes the first byte of each for a character.
fn fits(topic: &str, filter: &str) -> bool {
    // The first two levels of a shared subscription name its group (MQTT 5 §4.8.2; brokers of 3.1.1 have it, too).
    let shared = filter
        .strip_prefix("$share/")
        .and_then(|rest| rest.split_once('/'));
    let filter = shared.map_or(filter, |(_, filter)| filter);
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut topic, mut filter) = (topic.split('/'), filter.split('/'));
    loop {
        match (topic.next(), filter.next()) {
            (_, Some("#")) | (None, None) => return true,
            (Some(_), Some("+")) => {}
            (Some(level), Some(wanted)) if level == wanted => {}
            _ => return false,
        }
    }
}

fn admitted(code: ConnectReturnCode) -> Result<(), Fault> {
    let (reason, text) = match code {
        ConnectReturnCode::Success => return Ok(()),
        ConnectReturnCode::RefusedProtocolVersion => {
            (Reason::VersionMismatch, "unacceptable protocol version")
        }
        ConnectReturnCode::BadClientId => (Reason::AssertionFailed, "identifier rejected"),
        ConnectReturnCode::ServiceUnavailable => (Reason::AssertionFailed, "server unavailable"),
        ConnectReturnCode::BadUserNamePassword => (Reason::AuthFailed, "bad user name or password"),
        ConnectReturnCode::NotAuthorized => (Reason::AuthFailed, "not authorized"),
    };
    Err(Fault::Told(reason, format!("{CONNECT}: {text}")))
}

fn client_id(configured: &str) -> Result<String, CheckError> {
    if !configured.is_empty() {
        return Ok(configured.to_owned());
    }
    let mut bytes = [0; 4];
    let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    filled.map_err(|_| CheckError::Internal("no random numbers".to_owned()))?;
    Ok(format!("lapwing_{:08x}", u32::from_be_bytes(bytes)))
}

/// `16s`, as Go writes it, to the nearest second.
fn go_duration(span: Duration) -> String {
    let seconds = span.as_millis().div_ceil(1000);
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn topics_are_those_of_the_filter() {
        for (filter, topic, fit) in [
            ("a/b", "a/b", true),
            ("a/b", "a", false),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/+", "a", false),
            ("+/x", "é/x", true),
            ("#", "é", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("+", "/x", false),
            ("/+", "/x", true),
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/broker/uptime", true),
            ("$SYS/+", "$SYS/uptime", true),
            ("$share/g/b/c", "b/c", true),
            ("$share/g/#", "$SYS/uptime", false),
            ("$share/g/b/+", "b/c", true),
            ("$share/g/b", "c", false),
        ] {
            assert_eq!(fits(topic, filter), fit, "`{filter}` and `{topic}`");
        }
    }
}
