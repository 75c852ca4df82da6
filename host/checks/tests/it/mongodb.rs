//! Kind `mongodb`, against a stand-in that speaks OP_MSG with MongoDB's own BSON library: Debian has no MongoDB.

use crate::support::{
    Probe,
    certificates::{Authority, Leaf},
    dns::{Answer, NameServer},
    policy_of, reason,
    scram::ScramServer,
    server::{Server, closed_port},
    with,
};
use bson::{Document, doc, spec::BinarySubtype};
use hickory_resolver::proto::op::ResponseCode;
use lapwing_checks::{CheckError, Net};
use lapwing_model::{Observation, Status};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a stand-in is, and what was asked of it.
#[derive(Clone, Default)]
struct Mongo {
    hello: Document,
    mechanism: &'static str,
    /// What it answers to commands, whatever they are.
    answer: Option<Document>,
    asked: Arc<Mutex<Vec<Document>>>,
}

impl Mongo {
    /// The whole of `hunter2x`'s server.
    fn new(mechanism: &'static str) -> Self {
        let hello = doc! { "ok": 1.0, "isWritablePrimary": true, "maxWireVersion": 21, "saslSupportedMechs": [mechanism] };
        Self {
            hello,
            mechanism,
            answer: None,
            asked: Arc::default(),
        }
    }

    async fn serve(self) -> Server {
        Server::raw(move |stream| self.clone().talk(stream)).await
    }

    async fn talk(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut login: Option<ScramServer> = None;
        let mut known = false;
        while let Some((request, question)) = heard(&mut stream).await {
            self.asked.lock().unwrap().push(question.clone());
            let reply = match question.keys().next().unwrap().as_str() {
                "hello" => self.hello.clone(),
                "saslStart" => {
                    let text = payload(&question);
                    let (server, user) =
                        ScramServer::new(question.get_str("mechanism").unwrap(), &self.secret(), &text);
                    assert_eq!(
                        (user.as_str(), question.get_str("$db").unwrap()),
                        ("mon", "admin")
                    );
                    let first = server.first().to_owned();
                    login = Some(server);
                    doc! { "ok": 1.0, "conversationId": 7, "done": false, "payload": binary(&first) }
                }
                "saslContinue" => {
                    assert_eq!(question.get_i32("conversationId").unwrap(), 7);
                    let last = payload(&question);
                    match login.as_ref().unwrap().last(&last) {
                        Some(verdict) => {
                            known = true;
                            doc! { "ok": 1.0, "conversationId": 7, "done": true, "payload": binary(&verdict) }
                        }
                        None => {
                            doc! { "ok": 0.0, "errmsg": "Authentication failed.", "code": 18, "codeName": "AuthenticationFailed" }
                        }
                    }
                }
                _ if !known && !self.mechanism.is_empty() => {
                    doc! { "ok": 0.0, "errmsg": "command requires authentication", "code": 13, "codeName": "Unauthorized" }
                }
                _ if self.answer.is_some() => self.answer.clone().unwrap(),
                "ping" => doc! { "ok": 1.0 },
                "dbStats" => {
                    doc! { "ok": 1.0, "db": "app", "objects": 41_i64, "raw": { "a.b": true }, "none": null }
                }
                "notOk" | "count" => doc! { "ok": 0.5 },
                other => {
                    doc! { "ok": 0.0, "errmsg": format!("no such command: '{other}'"), "code": 59, "codeName": "CommandNotFound" }
                }
            };
            let body = reply.to_vec().unwrap();
            let length = i32::try_from(21 + body.len()).unwrap();
            let head = [length, 99, request, 2013, 0].map(i32::to_le_bytes).concat();
            stream
                .write_all(&[&head[..], &[0], &body].concat())
                .await
                .unwrap();
        }
    }

    /// What SCRAM takes for the password.
    fn secret(&self) -> String {
        if self.mechanism == "SCRAM-SHA-256" {
            return "hunter2x".to_owned();
        }
        let digest = Md5::digest(b"mon:mongo:hunter2x");
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .concat()
    }

    fn asked(&self) -> Vec<Document> {
        self.asked.lock().unwrap().clone()
    }
}

async fn heard(stream: &mut (impl AsyncRead + Unpin)) -> Option<(i32, Document)> {
    let mut head = [0; 21];
    stream.read_exact(&mut head).await.ok()?;
    let word = |at: usize| i32::from_le_bytes(head[at..at + 4].try_into().unwrap());
    assert_eq!(
        (word(12), word(16), head[20]),
        (2013, 0, 0),
        "OP_MSG, no flags, a body"
    );
    let mut body = vec![0; usize::try_from(word(0)).unwrap() - 21];
    stream.read_exact(&mut body).await.ok()?;
    Some((word(4), Document::from_reader(body.as_slice()).unwrap()))
}

fn payload(question: &Document) -> String {
    String::from_utf8(question.get_binary_generic("payload").unwrap().clone()).unwrap()
}

fn binary(text: &str) -> bson::Binary {
    bson::Binary {
        subtype: BinarySubtype::Generic,
        bytes: text.as_bytes().to_vec(),
    }
}

async fn run(url: &str, more: Value) -> Observation {
    Probe::new()
        .seen("mongodb", with(json!({ "connectionString": url }), more))
        .await
}

#[tokio::test]
async fn both_ways_to_log_in_work_and_a_wrong_password_does_not() {
    for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256"] {
        let mongo = Mongo::new(mechanism);
        let server = mongo.clone().serve().await;
        let seen = run(
            &format!("mongodb://mon:hunter2x@{}/app", server.address),
            json!({}),
        )
        .await;
        assert_eq!(
            (seen.status, seen.message.as_str()),
            (Status::Up, "Command executed successfully")
        );
        let asked = mongo.asked();
        assert_eq!(asked[0].get_str("saslSupportedMechs").unwrap(), "admin.mon");
        assert_eq!(asked[1].get_str("mechanism").unwrap(), mechanism);
        assert_eq!(asked.last().unwrap(), &doc! { "ping": 1, "$db": "app" });
        let seen = run(
            &format!("mongodb://mon:wrongpass@{}/app", server.address),
            json!({}),
        )
        .await;
        assert_eq!((seen.status, reason(&seen)), (Status::Down, "auth_failed"));
        assert_eq!(
            seen.message,
            "MongoDB command failed: failed to connect to MongoDB: (AuthenticationFailed) Authentication failed."
        );
        let seen = run(&format!("mongodb://{}/app", server.address), json!({})).await;
        assert_eq!(
            (reason(&seen), seen.message.as_str()),
            (
                "auth_failed",
                "MongoDB command failed: failed to execute MongoDB command: (Unauthorized) command requires authentication"
            )
        );
        server.drained().await;
    }
}

#[tokio::test]
async fn a_reply_is_looked_at_as_asked() {
    let server = Mongo::new("").serve().await;
    let url = format!("mongodb://{}/app", server.address);
    let looked = |path: &str, value: &str| json!({ "command": "{\"dbStats\": 1}", "jsonPath": path, "expectedValue": value });
    for (more, text) in [
        (looked("", ""), Ok("Command executed successfully")),
        (
            looked("$", ""),
            Ok("Command executed successfully and the jsonata expression produces a result"),
        ),
        (
            looked("$.ok", "1"),
            Ok("Command executed successfully and expected value was found"),
        ),
        (
            looked("objects", "41.0"),
            Ok("Command executed successfully and expected value was found"),
        ),
        (
            looked(r"raw.a\.b", "true"),
            Ok("Command executed successfully and expected value was found"),
        ),
        (
            looked("objects", "42"),
            Err("Query executed, but value is not equal to expected value, value was: [41]"),
        ),
        (looked("none", "42"), Err("Queried value not found")),
        (
            looked("absent", ""),
            Err("JSON path evaluation failed: field 'absent' not found"),
        ),
        (
            looked("db.x", ""),
            Err("JSON path evaluation failed: cannot access field 'x' on non-object type"),
        ),
        (
            json!({ "command": "{\"count\": \"t\"}" }),
            Err("MongoDB command failed"),
        ),
        (
            json!({ "command": "{\"top\": 1}" }),
            Err(
                "MongoDB command failed: failed to execute MongoDB command: (CommandNotFound) no such command: 'top'",
            ),
        ),
    ] {
        let seen = run(&url, more.clone()).await;
        let (status, text) = text.map_or_else(|text| (Status::Down, text), |text| (Status::Up, text));
        assert_eq!((seen.status, seen.message.as_str()), (status, text), "{more}");
    }
    for (more, part) in [
        (json!({ "command": "{" }), "invalid MongoDB command JSON: "),
        (json!({ "command": "{\"drop\": \"t\"}" }), "`allowWrites`"),
    ] {
        let error = Probe::new()
            .run("mongodb", with(json!({ "connectionString": url }), more))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(part)),
            "{error}"
        );
    }
    let allowed = json!({ "command": "{\"drop\": \"t\"}", "allowWrites": true });
    assert!(
        run(&url, allowed)
            .await
            .message
            .contains("no such command: 'drop'")
    );
}

#[tokio::test]
async fn of_a_replica_set_the_primary_is_found_wherever_it_is() {
    let primary = Mongo::new("");
    let leading = primary.clone().serve().await;
    let hello = doc! { "ok": 1.0, "isWritablePrimary": false, "secondary": true, "setName": "r", "primary": leading.address.to_string() };
    let secondary = Mongo {
        hello,
        ..Mongo::default()
    };
    let following = secondary.clone().serve().await;
    let dead = closed_port().await;
    let url = format!(
        "mongodb://127.0.0.1:{dead},{}/app?replicaSet=r",
        following.address
    );
    let seen = run(&url, json!({})).await;
    assert_eq!(
        (seen.status, &seen.attributes["peer"]),
        (Status::Up, &json!(leading.address.to_string())),
        "{}",
        seen.message
    );
    assert_eq!((secondary.asked().len(), primary.asked().len()), (1, 2));

    let seen = run(&format!("{url}&readPreference=secondaryPreferred"), json!({})).await;
    assert_eq!(
        seen.attributes["peer"],
        following.address.to_string(),
        "{}",
        seen.message
    );
    let preference = secondary
        .asked()
        .last()
        .unwrap()
        .get_document("$readPreference")
        .unwrap()
        .clone();
    assert_eq!(preference, doc! { "mode": "primaryPreferred" });

    drop(leading);
    let seen = run(&url, json!({})).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "connection_refused"),
        "{}",
        seen.message
    );
    let seen = run(&format!("mongodb://127.0.0.1:{dead}/app"), json!({})).await;
    assert!(
        seen.message
            .starts_with("MongoDB command failed: failed to connect to MongoDB: connection refused"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_member_that_is_going_is_left_for_the_next() {
    for (code, name) in [(91, "ShutdownInProgress"), (10107, "NotWritablePrimary")] {
        let going = doc! { "ok": 0.0, "code": code, "codeName": name, "errmsg": "going" };
        let stale = Mongo::new("");
        let mut first = stale.clone();
        first.answer = Some(going.clone());
        let (at_greeting, at_command) = (
            Mongo {
                hello: going,
                ..Mongo::default()
            }
            .serve()
            .await,
            first.serve().await,
        );
        let well = Mongo::new("").serve().await;
        let url = |last: SocketAddr| {
            let (one, two) = (at_greeting.address, at_command.address);
            format!("mongodb://{one},{two},{last}/app?replicaSet=r")
        };
        let seen = run(&url(well.address), json!({})).await;
        assert_eq!(
            (seen.status, &seen.attributes["peer"]),
            (Status::Up, &json!(well.address.to_string())),
            "{}",
            seen.message
        );
        let seen = run(&url(at_command.address), json!({})).await;
        assert_eq!(
            (reason(&seen), seen.message.as_str()),
            (
                "assertion_failed",
                format!("MongoDB command failed: failed to execute MongoDB command: ({name}) going").as_str()
            )
        );
    }
}

#[tokio::test]
async fn a_primary_that_the_policy_forbids_is_not_reached_over_its_secondary() {
    let hello = doc! { "ok": 1.0, "isWritablePrimary": false, "primary": "169.254.169.254:27017" };
    let server = Mongo {
        hello,
        ..Mongo::default()
    }
    .serve()
    .await;
    let url = format!("mongodb://{}/app?replicaSet=r", server.address);
    let probe = Probe::under(json!({}));
    let error = probe
        .run("mongodb", json!({ "connectionString": url }))
        .await
        .unwrap_err();
    assert!(matches!(error, CheckError::Denied(_)), "{error:?}");
}

#[tokio::test]
async fn srv_records_lead_to_the_servers_and_tls_is_on() {
    let authority = Authority::new();
    let acceptor = authority
        .issue(&Leaf {
            names: &["localhost"],
            ..Leaf::default()
        })
        .acceptor();
    let mongo = Mongo::new("");
    let server = Server::raw(move |stream| {
        let (acceptor, mongo) = (acceptor.clone(), mongo.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                mongo.talk(stream).await;
            }
        }
    })
    .await;
    let seen = run(
        &format!("mongodb://{}/app?tls=true", server.address),
        json!({ "serverName": "localhost", "tlsCa": authority.pem() }),
    )
    .await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert!(seen.tls.unwrap().verified);
    let seen = run(&format!("mongodb://{}/app?tls=true", server.address), json!({})).await;
    assert_eq!(reason(&seen), "tls_certificate", "{}", seen.message);
    let seen = run(
        &format!("mongodb://{}/app?tls=true&tlsInsecure=true", server.address),
        json!({}),
    )
    .await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);

    let names = NameServer::start(|_, _| Answer::Silence).await;
    let net = Net::with_name_servers(policy_of(json!({})), &[names.address]);
    let probe = Probe::through(net).within(std::time::Duration::from_secs(1));
    let seen = probe
        .seen(
            "mongodb",
            json!({ "connectionString": "mongodb+srv://cluster.example.net/app" }),
        )
        .await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "dns_timeout"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_name_server_that_fails_is_not_told_as_a_name_that_is_not_there() {
    for (code, word) in [
        (ResponseCode::ServFail, "dns_failed"),
        (ResponseCode::Refused, "dns_failed"),
        (ResponseCode::NXDomain, "dns_not_found"),
    ] {
        let names = NameServer::start(move |_, _| Answer::Code(code)).await;
        let net = Net::with_name_servers(policy_of(json!({ "mode": "open" })), &[names.address]);
        let config = json!({ "connectionString": "mongodb+srv://u:p@cluster.example.net/app" });
        let seen = Probe::through(net).seen("mongodb", config).await;
        assert_eq!(reason(&seen), word, "{}", seen.message);
    }
}
