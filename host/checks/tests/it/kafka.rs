//! Kind `kafka-producer`, against a stand-in made of the `kafka-protocol` library's generated messages: Debian has no
//! Kafka.

use crate::support::{
    Probe,
    certificates::{Authority, Leaf},
    reason,
    scram::ScramServer,
    server::{Server, closed_port},
    with,
};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, BrokerId, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader,
        ResponseHeader, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
        SaslHandshakeResponse, TopicName,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::{Decodable, Encodable, StrBytes},
    records::RecordBatchDecoder,
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a stand-in is, and what it stored.
#[derive(Clone, Default)]
struct Kafka {
    /// `None` is itself.
    leader: Arc<Mutex<Option<SocketAddr>>>,
    own: Arc<Mutex<Option<SocketAddr>>>,
    mechanism: &'static str,
    /// Error codes of the topic, one an answer, then none.
    topic_errors: Arc<Mutex<Vec<i16>>>,
    produce_errors: Arc<Mutex<Vec<i16>>>,
    stored: Arc<Mutex<Vec<String>>>,
}

impl Kafka {
    async fn serve(&self) -> Server {
        let kafka = self.clone();
        let server = Server::raw(move |stream| kafka.clone().talk(stream)).await;
        *self.own.lock().unwrap() = Some(server.address);
        server
    }

    async fn talk(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut login: Option<ScramServer> = None;
        let mut known = self.mechanism.is_empty();
        while let Ok(length) = stream.read_u32().await {
            let mut frame = vec![0; length as usize];
            stream.read_exact(&mut frame).await.unwrap();
            let mut frame = Bytes::from(frame);
            // Not flexible: header version 1.
            let header = RequestHeader::decode(&mut frame, 1).unwrap();
            let version = header.request_api_version;
            assert_eq!(header.client_id.as_deref(), Some("lapwing-monitor-m"));
            let mut answer = BytesMut::new();
            ResponseHeader::default()
                .with_correlation_id(header.correlation_id)
                .encode(&mut answer, 0)
                .unwrap();
            match ApiKey::try_from(header.request_api_key).unwrap() {
                ApiKey::SaslHandshake => {
                    let asked = SaslHandshakeRequest::decode(&mut frame, version).unwrap();
                    let code = if asked.mechanism.as_str() == self.mechanism {
                        0
                    } else {
                        33
                    };
                    SaslHandshakeResponse::default()
                        .with_error_code(code)
                        .encode(&mut answer, version)
                        .unwrap();
                }
                ApiKey::SaslAuthenticate => {
                    let asked = SaslAuthenticateRequest::decode(&mut frame, version).unwrap();
                    let said = String::from_utf8(asked.auth_bytes.to_vec()).unwrap();
                    let told = self.authenticate(&said, &mut login);
                    let response = SaslAuthenticateResponse::default();
                    let response = match told {
                        Some((over, text)) => {
                            known = over;
                            response.with_auth_bytes(text.into())
                        }
                        None => response
                            .with_error_code(58)
                            .with_error_message(Some(StrBytes::from_string(format!("not you: {said}")))),
                    };
                    response.encode(&mut answer, version).unwrap();
                }
                // As a broker does with strangers.
                _ if !known => return,
                ApiKey::Metadata => {
                    let asked = MetadataRequest::decode(&mut frame, version).unwrap();
                    self.metadata(&asked).encode(&mut answer, version).unwrap();
                }
                ApiKey::Produce => {
                    let asked = ProduceRequest::decode(&mut frame, version).unwrap();
                    self.produce(&asked).encode(&mut answer, version).unwrap();
                }
                other => panic!("{other:?} was not expected"),
            }
            assert!(!frame.has_remaining(), "nothing is left of the request");
            stream
                .write_u32(u32::try_from(answer.len()).unwrap())
                .await
                .unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    }

    fn authenticate(&self, said: &str, login: &mut Option<ScramServer>) -> Option<(bool, String)> {
        if self.mechanism == "PLAIN" {
            return (said == "\0mon\0hunter2x").then(|| (true, String::new()));
        }
        if let Some(server) = login {
            return server.last(said).map(|verdict| (true, verdict));
        }
        let (server, user) = ScramServer::new(self.mechanism, "hunter2x", said);
        assert_eq!(user, "mon");
        let first = server.first().to_owned();
        *login = Some(server);
        Some((false, first))
    }

    fn metadata(&self, asked: &MetadataRequest) -> MetadataResponse {
        let own = self.own.lock().unwrap().unwrap();
        let leader = self.leader.lock().unwrap().unwrap_or(own);
        let broker = |id: i32, address: SocketAddr| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id))
                .with_host(StrBytes::from_string(address.ip().to_string()))
                .with_port(address.port().into())
        };
        let errors = &mut *self.topic_errors.lock().unwrap();
        let code = if errors.is_empty() { 0 } else { errors.remove(0) };
        let partition = MetadataResponsePartition::default()
            .with_partition_index(3)
            .with_leader_id(BrokerId(2));
        let leaderless = MetadataResponsePartition::default()
            .with_error_code(5)
            .with_leader_id(BrokerId(-1));
        let topic = MetadataResponseTopic::default()
            .with_name(asked.topics.as_ref().unwrap()[0].name.clone())
            .with_error_code(code)
            .with_partitions(vec![leaderless, partition]);
        MetadataResponse::default()
            .with_brokers(vec![broker(1, own), broker(2, leader)])
            .with_cluster_id(Some(StrBytes::from_static_str("c")))
            .with_topics(vec![topic])
    }

    fn produce(&self, asked: &ProduceRequest) -> ProduceResponse {
        assert_eq!(asked.acks, -1, "all replicas");
        let topic = &asked.topic_data[0];
        let partition = &topic.partition_data[0];
        assert_eq!((topic.name.as_str(), partition.index), ("uptime", 3));
        // Checks the checksum, too.
        let sets = RecordBatchDecoder::decode_all(&mut partition.records.clone().unwrap()).unwrap();
        let records = &sets[0].records;
        assert!(records.len() == 1 && records[0].key.is_none() && records[0].timestamp > 1_500_000_000_000);
        let value = String::from_utf8(records[0].value.clone().unwrap().to_vec()).unwrap();
        let errors = &mut *self.produce_errors.lock().unwrap();
        let code = if errors.is_empty() { 0 } else { errors.remove(0) };
        let mut stored = self.stored.lock().unwrap();
        if code == 0 {
            stored.push(value);
        }
        let offset = i64::try_from(stored.len()).unwrap() + 40;
        let told = PartitionProduceResponse::default()
            .with_index(3)
            .with_error_code(code)
            .with_base_offset(offset);
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(StrBytes::from_static_str("uptime")))
            .with_partition_responses(vec![told]);
        ProduceResponse::default().with_responses(vec![topic])
    }
}

async fn send(brokers: &[String], more: Value) -> Observation {
    Probe::new().seen("kafka-producer", config(brokers, more)).await
}

fn config(brokers: &[String], more: Value) -> Value {
    with(
        json!({ "brokers": brokers, "topic": "uptime", "message": "{\"up\": \"ünverändert\"}" }),
        more,
    )
}

fn sasl(mechanism: &str, password: &str) -> Value {
    json!({ "sasl_options": { "mechanism": mechanism, "username": "mon", "password": password } })
}

#[tokio::test]
async fn a_message_is_stored_by_its_partitions_leader() {
    let (first, leader) = (Kafka::default(), Kafka::default());
    let (here, there) = (first.serve().await, leader.serve().await);
    *first.leader.lock().unwrap() = Some(there.address);
    let dead = format!("127.0.0.1:{}", closed_port().await);
    let seen = send(&[dead, here.address.to_string()], json!({})).await;
    assert_eq!(
        (seen.status, seen.message.as_str()),
        (
            Status::Up,
            "Message sent successfully to topic 'uptime' (partition: 3, offset: 41)"
        )
    );
    assert_eq!(*leader.stored.lock().unwrap(), ["{\"up\": \"ünverändert\"}"]);
    assert_eq!(
        (first.stored.lock().unwrap().len(), &seen.attributes["peer"]),
        (0, &json!(there.address.to_string()))
    );
    here.drained().await;
    there.drained().await;
}

#[tokio::test]
async fn every_mechanism_logs_in_and_a_wrong_password_does_not() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let kafka = Kafka {
            mechanism,
            ..Kafka::default()
        };
        let server = kafka.serve().await;
        let brokers = [server.address.to_string()];
        let seen = send(&brokers, sasl(mechanism, "hunter2x")).await;
        assert_eq!(seen.status, Status::Up, "{mechanism}: {}", seen.message);
        let seen = send(&brokers, sasl(mechanism, "wrongpass")).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "auth_failed"),
            "{}",
            seen.message
        );
        assert!(
            seen.message.starts_with(
                "Failed to create Kafka producer: kafka server: SASL_AUTHENTICATION_FAILED: not you: "
            ),
            "{}",
            seen.message
        );
        assert!(!seen.message.contains("wrongpass"), "{}", seen.message);
        let other = if mechanism == "PLAIN" {
            "SCRAM-SHA-256"
        } else {
            "PLAIN"
        };
        let seen = send(&brokers, sasl(other, "hunter2x")).await;
        assert_eq!(reason(&seen), "auth_failed");
        assert!(
            seen.message.contains("UNSUPPORTED_SASL_MECHANISM"),
            "{}",
            seen.message
        );
        let seen = send(&brokers, sasl("None", "")).await;
        assert_eq!(reason(&seen), "connection_closed", "{}", seen.message);
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_told() {
    let kafka = Kafka::default();
    let server = kafka.serve().await;
    let brokers = [server.address.to_string()];
    kafka.topic_errors.lock().unwrap().extend([5, 3]);
    kafka.produce_errors.lock().unwrap().push(6);
    let seen = send(&brokers, json!({ "allow_auto_topic_creation": true })).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    for (topic, produce, word, part) in [
        (
            &[3][..],
            &[][..],
            "assertion_failed",
            "Failed to create Kafka producer: kafka server: UNKNOWN_TOPIC_OR_PARTITION",
        ),
        (
            &[29],
            &[],
            "auth_failed",
            "Failed to create Kafka producer: kafka server: TOPIC_AUTHORIZATION_FAILED",
        ),
        (&[5; 4], &[], "assertion_failed", "LEADER_NOT_AVAILABLE"),
        (
            &[],
            &[10],
            "assertion_failed",
            "Failed to send message: kafka server: MESSAGE_TOO_LARGE",
        ),
        (&[], &[19], "assertion_failed", "NOT_ENOUGH_REPLICAS"),
        (&[], &[99], "assertion_failed", "kafka server: error 99"),
    ] {
        *kafka.topic_errors.lock().unwrap() = topic.to_vec();
        *kafka.produce_errors.lock().unwrap() = produce.to_vec();
        let seen = send(&brokers, json!({})).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, word),
            "{}",
            seen.message
        );
        assert!(seen.message.contains(part), "{}", seen.message);
    }
    let dead = format!("127.0.0.1:{}", closed_port().await);
    let seen = send(&[dead], json!({})).await;
    assert_eq!(reason(&seen), "connection_refused");
    let part = "Failed to create Kafka producer: kafka: client has run out of available brokers to talk to: connection refused";
    assert!(seen.message.starts_with(part), "{}", seen.message);
}

#[tokio::test]
async fn a_leader_that_the_policy_forbids_is_not_reached_over_its_cluster() {
    let kafka = Kafka::default();
    let server = kafka.serve().await;
    *kafka.leader.lock().unwrap() = Some(SocketAddr::from(([169, 254, 169, 254], 9092)));
    let brokers = [server.address.to_string()];
    let error = Probe::under(json!({}))
        .run("kafka-producer", config(&brokers, json!({})))
        .await
        .unwrap_err();
    assert!(matches!(error, CheckError::Denied(_)), "{error:?}");
}

#[tokio::test]
async fn tls_is_verified_unless_errors_are_ignored() {
    let authority = Authority::new();
    let acceptor = authority.issue(&Leaf::default()).acceptor();
    let kafka = Kafka::default();
    let shared = kafka.clone();
    let server = Server::raw(move |stream| {
        let (acceptor, kafka) = (acceptor.clone(), shared.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                kafka.talk(stream).await;
            }
        }
    })
    .await;
    *kafka.own.lock().unwrap() = Some(server.address);
    let brokers = [server.address.to_string()];
    for (more, word) in [
        (json!({ "ssl": true, "tls_ca": authority.pem() }), ""),
        (json!({ "ssl": true, "ignore_tls_errors": true }), ""),
        (json!({ "ssl": true }), "tls_certificate"),
    ] {
        let seen = send(&brokers, more).await;
        assert_eq!(
            (reason(&seen), seen.tls.is_some()),
            (word, true),
            "{}",
            seen.message
        );
    }
}

#[tokio::test]
async fn an_unfit_configuration_is_told_and_nobody_is_asked() {
    for (more, part) in [
        (json!({ "brokers": [] }), "`brokers`"),
        (
            json!({ "brokers": ["kafka1"] }),
            "`brokers`: expected `host:port`",
        ),
        (json!({ "topic": " " }), "`topic`"),
        (json!({ "message": "\n" }), "`message`"),
        (sasl("GSSAPI", "hunter2x"), "unsupported SASL mechanism: GSSAPI"),
        (sasl("PLAIN", ""), "`sasl_options`"),
    ] {
        let error = Probe::new()
            .run("kafka-producer", config(&["h:1".to_owned()], more))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(part)),
            "{error}"
        );
        assert!(!error.to_string().contains("hunter2x"), "{error}");
    }
}
