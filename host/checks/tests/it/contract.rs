//! What every native executor owes, whatever its kind. A new kind adds one arm to `target_config`.

use crate::support::{
    AMPLE, Probe,
    dns::{Answer, NameServer},
    eventually, paused_from, policy_of, reason, registry,
    server::Server,
    servers::free_port,
};
use hickory_resolver::proto::op::ResponseCode;
use jsonschema::Draft;
use lapwing_checks::{CheckError, KindInfo, Net};
use lapwing_model::Status;
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::UdpSocket, time::Instant};

fn kinds() -> Vec<KindInfo> {
    let kinds: Vec<_> = registry().kinds().cloned().collect();
    assert!(kinds.len() >= 10);
    kinds
}

/// What must never be read in a message.
pub(crate) const PASSWORD: &str = "hunter2hunter2";

/// A configuration of `kind` that needs an answer from `target`.
pub(crate) fn target_config(kind: &str, target: SocketAddr) -> Value {
    match kind {
        "http" | "http-keyword" | "http-json-query" => json!({ "url": format!("http://{target}/") }),
        "tcp" => json!({ "host": target.ip(), "port": target.port(), "steps": [{ "expect": "never" }] }),
        "tls" | "grpc" => json!({ "host": target.ip(), "port": target.port() }),
        "udp" => json!({ "host": target.ip(), "port": target.port(), "payload": "anybody?" }),
        "dns" => json!({
            "host": "x.example", "resolver_server": target.ip(), "port": target.port(), "resolve_type": "A",
        }),
        "snmp" => json!({
            "host": target.ip(), "port": target.port(), "snmp_version": "v2c", "community": "c", "oid": "1.3.6.1",
        }),
        "ping" => json!({ "host": target.ip() }),
        "websocket" => json!({ "url": format!("ws://{target}/") }),
        "docker" => json!({
            "container_id": "c", "connection_type": "tcp", "docker_daemon": format!("tcp://{target}"),
        }),
        "rabbitmq" => json!({ "nodes": [format!("http://{target}")], "username": "u", "password": "p" }),
        "grpc-keyword" => json!({
            "grpcUrl": target.to_string(), "grpcServiceName": "S", "grpcMethod": "M",
            "grpcProtobuf": "syntax = \"proto3\"; message E {} service S { rpc M(E) returns (E); }",
        }),
        "postgres" => json!({
            "database_connection_string": format!("postgres://monitor:{PASSWORD}@{target}/app"),
        }),
        "mysql" => json!({ "connection_string": format!("mysql://monitor:{PASSWORD}@{target}/app") }),
        "sqlserver" => json!({
            "database_connection_string": format!(
                "Server={},{};Database=app;User Id=monitor;Password={PASSWORD}", target.ip(), target.port(),
            ),
        }),
        "mongodb" => json!({ "connectionString": format!("mongodb://monitor:{PASSWORD}@{target}/app") }),
        "redis" => json!({ "databaseConnectionString": format!("redis://monitor:{PASSWORD}@{target}/1") }),
        "mqtt" => json!({
            "hostname": target.ip(), "port": target.port(), "topic": "t", "username": "monitor", "password": PASSWORD,
        }),
        "kafka-producer" => json!({
            "brokers": [target.to_string()], "topic": "t", "message": "m",
            "sasl_options": { "mechanism": "PLAIN", "username": "monitor", "password": PASSWORD },
        }),
        other => panic!("how is kind `{other}` pointed at an address? add it here"),
    }
}

/// The kinds that read their configuration: all but `push`, as Peekaping's worker does not either (§4.2), and a monitor that
/// is pushed to must not be down for it.
fn kinds_that_read_their_config() -> Vec<KindInfo> {
    let mut kinds = kinds();
    kinds.retain(|info| info.kind != "push");
    kinds
}

/// The kinds that have a port to connect or to send to: all but `push`, which probes nothing, and `ping`, whose targets are
/// in namespaces of its own tests.
fn kinds_with_a_port() -> Vec<KindInfo> {
    let mut kinds = kinds();
    kinds.retain(|info| !["push", "ping"].contains(&info.kind.as_str()));
    kinds
}

/// The word for a target that never answers.
fn silence_of(kind: &str) -> &'static str {
    match kind {
        "dns" => "dns_timeout",
        "tls" => "tls_timeout",
        _ => "response_timeout",
    }
}

/// Never says a word, by TCP and by UDP on one port.
struct Silent {
    tcp: Server,
    udp: UdpSocket,
}

impl Silent {
    async fn new() -> Self {
        loop {
            let tcp = silent().await;
            if let Ok(udp) = UdpSocket::bind(tcp.address).await {
                return Self { tcp, udp };
            }
        }
    }

    /// Whether somebody connected, or sent something.
    fn is_asked(&self) -> bool {
        self.tcp.accepted() == 1 || self.udp.try_recv(&mut [0; 1024]).is_ok()
    }

    /// Whether nobody has a connection, or a socket that is connected to here.
    fn is_left(&self) -> bool {
        let here = format!(":{:04X} ", self.tcp.port());
        let sockets = std::fs::read_to_string("/proc/net/udp").unwrap();
        let remote = |line: &str| {
            line.split_whitespace()
                .nth(2)
                .is_some_and(|remote| format!("{remote} ").ends_with(&here))
        };
        self.tcp.open() == 0 && !sockets.lines().any(remote)
    }
}

/// The value at `pointer`, whose last step need not be there.
fn place<'a>(config: &'a mut Value, pointer: &str) -> &'a mut Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    &mut config.pointer_mut(parent).unwrap()[field]
}

/// Accepts, and never says a word; ends with the client.
async fn silent() -> Server {
    Server::raw(|stream| async move {
        let mut buffer = [0; 4096];
        loop {
            match stream
                .readable()
                .await
                .and_then(|()| stream.try_read(&mut buffer))
            {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_unknown_field_is_named_together_with_the_known_ones() {
    for kind in kinds_that_read_their_config() {
        let mut config = kind.example.clone().unwrap();
        config["frobnicate"] = json!(1);
        let error = Probe::new().run(&kind.kind, config).await.unwrap_err();
        let CheckError::InvalidConfig(text) = &error else {
            panic!("{error:?}")
        };
        let known = kind.schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap();
        assert!(
            text.contains("unknown field `frobnicate`") && text.contains(&format!("`{known}`")),
            "{text}"
        );
    }
}

/// A value just outside of each bound that the schema of a field has.
fn out_of_bounds(field: &Value) -> Vec<Value> {
    let bound = |word: &str| field.get(word).and_then(Value::as_i64);
    let text = |length: i64| "x".repeat(usize::try_from(length).unwrap());
    [
        bound("minimum").map(|least| json!(least - 1)),
        bound("maximum").map(|most| json!(most + 1)),
        bound("minLength").map(|least| json!(text(least - 1))),
        bound("maxLength").map(|most| json!(text(most + 1))),
        bound("minItems").map(|_| json!([])),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[tokio::test]
async fn what_a_schema_bounds_is_bounded_in_a_run_as_well() {
    let mut tried = 0;
    for kind in kinds_that_read_their_config() {
        for (name, field) in kind.schema["properties"].as_object().unwrap() {
            for value in out_of_bounds(field) {
                let mut config = kind.example.clone().unwrap();
                config[name] = value.clone();
                let error = Probe::new().run(&kind.kind, config).await.unwrap_err();
                assert!(
                    matches!(&error, CheckError::InvalidConfig(text) if text.contains(&format!("`{name}`"))),
                    "{}: {name}: {value}: {error:?}",
                    kind.kind
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn every_schema_is_one_that_faults_can_be_explained_by() {
    for kind in kinds() {
        let schema = lapwing_checks::schema::Schema::new(&kind.schema, &kind.sensitive);
        assert!(schema.is_ok(), "{}: {schema:?}", kind.kind);
    }
}

#[tokio::test]
async fn every_fault_of_a_config_is_told_at_once() {
    for (kind, config, parts) in [
        (
            "tcp",
            json!({ "hots": "x", "port": "25", "ip_family": "v5" }),
            &[
                "`host`: is missing",
                "`hots`: unknown field",
                "`port`: ",
                "`ip_family`: ",
            ][..],
        ),
        (
            "tcp",
            json!({ "host": "", "port": 0 }),
            &["`host`: ", "`port`: expected 1 to 65535"],
        ),
        (
            "http",
            json!({ "url": "x", "headers": "[1]", "max_redirects": -1, "body_must_match": ["("] }),
            &["`headers`: invalid headers json", "`max_redirects`: "],
        ),
        (
            "http-json-query",
            json!({ "url": "not a url", "authMethod": "oauth2-cc", "json_query": "$[" }),
            &[
                "`url`: ",
                "`oauth_token_url`: ",
                "`oauth_client_id`: ",
                "`json_query`: ",
            ],
        ),
        (
            "http",
            json!({ "url": "http://x", "authMethod": "mtls" }),
            &["`tlsCert`: ", "`tlsKey`: "],
        ),
    ] {
        let error = Probe::new().run(kind, config).await.unwrap_err();
        assert!(matches!(error, CheckError::InvalidConfig(_)), "{error:?}");
        let text = error.to_string();
        for part in parts {
            assert_eq!(text.matches(part).count(), 1, "{part} in {text}");
        }
    }
}

#[tokio::test]
async fn a_field_of_a_wrong_type_is_named() {
    for kind in kinds_that_read_their_config() {
        let (field, _) = kind
            .example
            .clone()
            .unwrap()
            .as_object()
            .unwrap()
            .iter()
            .next()
            .map(|(k, v)| (k.clone(), v.clone()))
            .unwrap();
        let mut config = kind.example.clone().unwrap();
        config[&field] = json!([[]]);
        let error = Probe::new().run(&kind.kind, config).await.unwrap_err();
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
    }
}

#[tokio::test]
async fn a_secret_of_a_wrong_type_is_named_but_not_told() {
    let refusal = async |kind: &KindInfo, config: Value| {
        let error = Probe::new().run(&kind.kind, config).await.unwrap_err();
        let text = error.to_string();
        assert!(!text.contains("987654321") && !text.contains("hunter2"), "{text}");
        text
    };
    for kind in kinds_that_read_their_config() {
        for pointer in &kind.sensitive {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            for wrong in [
                json!(987_654_321),
                json!(["hunter2"]),
                json!({ "X-Key": 987_654_321 }),
            ] {
                let mut config = kind.example.clone().unwrap();
                *place(&mut config, pointer) = wrong;
                let text = refusal(&kind, config).await;
                assert!(
                    text.contains(&format!("`{field}")) && text.contains("expected"),
                    "{text}"
                );
            }
        }
        let again_as_text = json!(json!({ "bearer_token": "hunter2" }).to_string());
        let text = refusal(&kind, again_as_text).await;
        assert!(text.contains("expected a JSON object"), "{text}");
    }
}

#[tokio::test]
async fn keys_match_without_case_and_null_is_unset_as_in_go() {
    let server = Server::raw(|_| async {}).await;
    let config = json!({ "HOST": "127.0.0.1", "Port": server.port(), "steps": null });
    assert_eq!(Probe::new().seen("tcp", config).await.status, Status::Up);
}

#[test]
fn every_schema_is_self_contained_2020_12_and_fits_its_example() {
    for kind in kinds() {
        assert!(
            jsonschema::draft202012::meta::is_valid(&kind.schema),
            "{}",
            kind.kind
        );
        assert_eq!(
            kind.schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .build(&kind.schema)
            .unwrap();
        let example = kind
            .example
            .as_ref()
            .unwrap_or_else(|| panic!("kind `{}` has no example", kind.kind));
        let faults: Vec<String> = validator
            .iter_errors(example)
            .map(|error| error.to_string())
            .collect();
        assert!(faults.is_empty(), "{}: {faults:?}", kind.kind);
        let mut unfit = example.clone();
        unfit["frobnicate"] = json!(1);
        assert!(
            !validator.is_valid(&unfit),
            "the schema of `{}` lets unknown fields pass",
            kind.kind
        );
        let text = kind.schema.to_string();
        assert!(
            text.matches("\"$ref\":\"").count() == text.matches("\"$ref\":\"#/").count(),
            "{}",
            kind.kind
        );
        for pointer in &kind.sensitive {
            let field = pointer.split('/').nth(1).unwrap();
            assert!(
                kind.schema["properties"].get(field).is_some(),
                "`{pointer}` of `{}`",
                kind.kind
            );
        }
        for (field, schema) in kind.schema["properties"].as_object().unwrap() {
            assert!(
                schema.get("description").is_some(),
                "field `{field}` of `{}` has no description",
                kind.kind
            );
        }
    }
}

#[tokio::test]
async fn a_target_that_never_answers_is_down_at_the_deadline_and_not_later() {
    for kind in kinds_with_a_port() {
        let server = Silent::new().await;
        let budget = AMPLE * 3;
        let start = Instant::now();
        let probe = Probe::new().within(budget);
        let connected = eventually("connected", || server.is_asked());
        let run = probe.seen(&kind.kind, target_config(&kind.kind, server.tcp.address));
        let seen = paused_from(connected, run).await;
        let took = start.elapsed();
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, silence_of(&kind.kind)),
            "{}: {}",
            kind.kind,
            seen.message
        );
        assert!(
            took >= budget && took <= budget + Duration::from_millis(50),
            "{} took {took:?}",
            kind.kind
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_already_past_is_our_own_trouble_and_nothing_is_sent() {
    for kind in kinds_with_a_port() {
        let server = Silent::new().await;
        let start = Instant::now();
        let probe = Probe::new().within(Duration::ZERO);
        let error = probe
            .run(&kind.kind, target_config(&kind.kind, server.tcp.address))
            .await
            .unwrap_err();
        assert!(matches!(error, CheckError::Internal(_)), "{error:?}");
        assert!(error.to_string().contains("no time was left"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(server.tcp.accepted(), 0);
    }
}

#[tokio::test]
async fn a_dropped_probe_closes_its_sockets() {
    for kind in kinds_with_a_port() {
        let server = Silent::new().await;
        let probe = Arc::new(Probe::new());
        let (running, config) = (probe.clone(), target_config(&kind.kind, server.tcp.address));
        let name = kind.kind.clone();
        let task = tokio::spawn(async move { running.run(&name, config).await });
        eventually("connected", || server.is_asked()).await;
        assert!(!server.is_left(), "{}", kind.kind);
        task.abort();
        eventually("all sockets closed", || server.is_left()).await;
    }
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_down_with_that_reason() {
    let names = NameServer::start(|_, _| Answer::Code(ResponseCode::NXDomain)).await;
    let net = Net::with_name_servers(policy_of(json!({ "mode": "open" })), &[names.address]);
    let probe = Probe::through(net);
    for kind in kinds().iter().filter(|kind| kind.kind != "push") {
        let target = target_config(&kind.kind, "127.0.0.1:80".parse().unwrap());
        let config: Value =
            serde_json::from_str(&target.to_string().replace("127.0.0.1", "nowhere.example.")).unwrap();
        let seen = probe.seen(&kind.kind, config).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "dns_not_found"),
            "{}: {}",
            kind.kind,
            seen.message
        );
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_down_as_refused() {
    for kind in kinds_with_a_port() {
        let closed = SocketAddr::from(([127, 0, 0, 1], free_port().await));
        let seen = Probe::new()
            .seen(&kind.kind, target_config(&kind.kind, closed))
            .await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "connection_refused"),
            "{}: {}",
            kind.kind,
            seen.message
        );
    }
}

#[tokio::test]
async fn a_denied_target_gives_unknown_and_no_packet_leaves() {
    for kind in kinds().iter().filter(|kind| kind.kind != "push") {
        let server = Silent::new().await;
        let probe = Probe::under(json!({ "mode": "public-only" }));
        let error = probe
            .run(&kind.kind, target_config(&kind.kind, server.tcp.address))
            .await
            .unwrap_err();
        assert!(matches!(error, CheckError::Denied(_)), "{error:?}");
        assert!(error.to_string().contains("127.0.0.0/8"), "{error}");
        assert!(!server.is_asked());
    }
}

#[test]
fn a_second_claim_on_a_kind_is_refused_with_both_names() {
    let mut registry = registry();
    let clash = lapwing_checks::native::register(&mut registry).unwrap_err();
    assert_eq!(
        clash.to_string(),
        "kind `http` of native is already provided by native"
    );
}

#[test]
fn an_unknown_kind_lists_the_known_ones() {
    let Err(error) = registry().executor("telepathy").map(|_| ()) else {
        panic!("found")
    };
    let known: Vec<_> = kinds().into_iter().map(|kind| kind.kind).collect();
    assert_eq!(
        error.to_string(),
        format!("unknown monitor type `telepathy`; known: {}", known.join(", "))
    );
    assert!(
        known.is_sorted() && known.iter().any(|kind| kind == "tcp"),
        "{known:?}"
    );
    assert_eq!(registry().executor("https").unwrap().info().kind, "http");
}
