//! Kinds `grpc` and `grpc-keyword` against tonic's server: its health service, and one of ours.

use crate::support::{
    Probe,
    certificates::{Authority, Leaf},
    reason,
    server::{Server, ok},
    with,
};
use futures_util::future::BoxFuture;
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use prost::Message;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tonic::{
    Request, Response,
    body::Body,
    server::{NamedService, UnaryService},
    service::Routes,
};
use tonic_health::{ServingStatus, server::health_reporter};
use tonic_prost::ProstCodec;
use tower_service::Service;

const PROTO: &str = r#"
    syntax = "proto3";
    package shop.v1;
    import "google/protobuf/timestamp.proto";
    service Orders {
        rpc Count(Query) returns (Total);
        rpc Watch(Query) returns (stream Total);
    }
    message Query { string state = 1; State kind = 2; }
    enum State { OPEN = 0; CLOSED = 1; }
    message Total { int64 orders = 1; string note = 2; google.protobuf.Timestamp at = 3; }
"#;

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(string, tag = "1")]
    state: String,
    #[prost(int32, tag = "2")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Total {
    #[prost(int64, tag = "1")]
    orders: i64,
    #[prost(string, tag = "2")]
    note: String,
}

/// `/shop.v1.Orders/Count`: what was asked comes back as a note; some states fail.
#[derive(Clone, Default)]
struct Orders {
    metadata: Arc<Mutex<Vec<String>>>,
}

impl UnaryService<Query> for Orders {
    type Response = Total;
    type Future = BoxFuture<'static, Result<Response<Total>, tonic::Status>>;

    fn call(&mut self, request: Request<Query>) -> Self::Future {
        let token = request
            .metadata()
            .get("x-token")
            .map(|token| token.to_str().unwrap().to_owned());
        self.metadata.lock().unwrap().extend(token);
        let Query { state, kind } = request.into_inner();
        let answer = match state.as_str() {
            "denied" => Err(tonic::Status::permission_denied("not for you")),
            "broken" => Err(tonic::Status::internal("disk on fire")),
            "late" => Err(tonic::Status::deadline_exceeded("")),
            "huge" => Ok(Total {
                orders: 0,
                note: "x".repeat((256 << 10) + 1),
            }),
            _ => Ok(Total {
                orders: 12,
                note: format!("{state} {kind}"),
            }),
        };
        Box::pin(std::future::ready(answer.map(Response::new)))
    }
}

impl NamedService for Orders {
    const NAME: &'static str = "shop.v1.Orders";
}

impl Service<http::Request<Body>> for Orders {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let orders = self.clone();
        Box::pin(async move {
            if request.uri().path() != "/shop.v1.Orders/Count" {
                return Ok(tonic::Status::unimplemented("").into_http());
            }
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            Ok(grpc.unary(orders, request).await)
        })
    }
}

/// Serves `routes`, over TLS where there is an acceptor.
async fn serve(routes: Routes, tls: Option<TlsAcceptor>) -> Server {
    let routes = routes.prepare();
    Server::raw(move |stream| {
        let (routes, tls) = (routes.clone(), tls.clone());
        async move {
            match tls {
                None => talk(stream, routes).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        talk(stream, routes).await;
                    }
                }
            }
        }
    })
    .await
}

async fn talk<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, routes: Routes) {
    let _ = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .await;
}

/// tonic's health service: the server and `good` serve, `bad` does not, `new` does not know yet.
async fn health() -> Routes {
    let (reporter, service) = health_reporter();
    for (name, status) in [
        ("good", ServingStatus::Serving),
        ("bad", ServingStatus::NotServing),
        ("new", ServingStatus::Unknown),
    ] {
        reporter.set_service_status(name, status).await;
    }
    Routes::new(service)
}

async fn healthy(server: &Server, more: Value) -> Observation {
    let config = json!({ "host": "127.0.0.1", "port": server.port() });
    Probe::new().seen("grpc", with(config, more)).await
}

async fn keyword(server: &Server, more: Value) -> Result<Observation, CheckError> {
    let config = json!({
        "grpcUrl": server.address.to_string(), "grpcProtobuf": PROTO, "grpcServiceName": "Orders",
        "grpcMethod": "Count", "grpcBody": r#"{"state": "open"}"#,
    });
    Probe::new().run("grpc-keyword", with(config, more)).await
}

#[tokio::test]
async fn the_health_of_a_service_is_what_the_server_says() {
    let server = serve(health().await, None).await;
    for service in ["", "good"] {
        let seen = healthy(&server, json!({ "service": service })).await;
        assert_eq!((seen.status, seen.message.as_str()), (Status::Up, "SERVING"));
        assert_eq!(seen.attributes["grpc.status"], "OK");
        assert_eq!(seen.attributes["peer"], server.address.to_string());
    }
    for (service, told) in [
        ("bad", "service `bad` says NOT_SERVING"),
        (
            "new",
            "service `new` does not know yet whether it serves (UNKNOWN)",
        ),
        ("nobody", "the server does not know service `nobody` (NOT_FOUND)"),
    ] {
        let seen = healthy(&server, json!({ "service": service })).await;
        assert_eq!((seen.status, reason(&seen)), (Status::Down, "assertion_failed"));
        assert_eq!(seen.message, told);
    }
    server.drained().await;
}

#[tokio::test]
async fn a_server_without_health_checks_says_so_by_name() {
    let server = serve(Routes::new(Orders::default()), None).await;
    let seen = healthy(&server, json!({})).await;
    assert_eq!(
        (seen.status, seen.attributes["grpc.status"].as_str()),
        (Status::Down, Some("UNIMPLEMENTED"))
    );
    assert!(
        seen.message.contains("grpc.health.v1.Health is UNIMPLEMENTED"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_web_server_is_no_grpc_server() {
    let server = Server::http2(|_| ok("<html>")).await;
    let seen = healthy(&server, json!({})).await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "protocol_error"));
    assert!(
        seen.message.contains("the answer is no gRPC: HTTP status 200"),
        "{}",
        seen.message
    );
    let old = Server::http(|_| ok("<html>")).await;
    assert_eq!(healthy(&old, json!({})).await.status, Status::Down);
}

#[tokio::test]
async fn tls_is_verified_and_a_client_certificate_shown() {
    let authority = Authority::new();
    let identity = authority.issue(&Leaf::default());
    let acceptor = identity.acceptor_with(&["h2"], Some(&authority), &[&rustls::version::TLS12]);
    let server = serve(health().await, Some(acceptor)).await;
    let ca = json!({ "host": "localhost", "ip_family": "4", "tls": true, "tls_ca": authority.pem() });
    let shown = json!({ "tls_cert": identity.chain, "tls_key": identity.key });
    let up = healthy(&server, with(ca.clone(), shown.clone())).await;
    assert_eq!(up.status, Status::Up, "{}", up.message);
    assert_eq!(up.tls.unwrap().alpn.as_deref(), Some("h2"));
    let anonymous = healthy(&server, ca.clone()).await;
    assert_eq!(
        (anonymous.status, reason(&anonymous)),
        (Status::Down, "tls_failed"),
        "{}",
        anonymous.message
    );
    let unknown = healthy(&server, json!({ "tls": true })).await;
    assert_eq!(reason(&unknown), "tls_certificate");
    let ignored = healthy(
        &server,
        with(shown, json!({ "tls": true, "ignore_tls_errors": true })),
    )
    .await;
    assert_eq!(ignored.status, Status::Up, "{}", ignored.message);
    let half = json!({ "host": "localhost", "port": server.port(), "tls": true, "tls_cert": "x" });
    let error = Probe::new().run("grpc", half).await.unwrap_err();
    assert!(
        error.to_string().contains("`tls_key`: `tls_cert` needs it"),
        "{error}"
    );

    let http1 = serve(health().await, Some(identity.acceptor())).await;
    let seen = healthy(&http1, ca).await;
    assert_eq!(seen.status, Status::Down);
}

#[tokio::test]
async fn a_real_call_is_made_and_its_answer_searched() {
    let orders = Orders::default();
    let server = serve(Routes::new(orders.clone()), None).await;
    for (more, up, told) in [
        (
            json!({}),
            true,
            r#"gRPC call successful: {"orders":"12","note":"open 0"}"#,
        ),
        (
            json!({ "keyword": "open" }),
            true,
            r#"{"orders":"12","note":"open 0"}, keyword [open] is found"#,
        ),
        (
            json!({ "keyword": "shut" }),
            false,
            r#"but keyword [shut] is not in [{"orders":"12","note":"open 0"}]"#,
        ),
        (
            json!({ "keyword": "shut", "invertKeyword": true }),
            true,
            r#"{"orders":"12","note":"open 0"}, keyword [shut] not found"#,
        ),
        (
            json!({ "keyword": "12", "invertKeyword": true }),
            false,
            r#"but keyword [12] is present in [{"orders":"12","note":"open 0"}]"#,
        ),
        (
            json!({ "grpcBody": r#"{"state": "0123456789012345678901234567890", "kind": "CLOSED"}"# }),
            true,
            r#"gRPC call successful: {"orders":"12","note":"012345678901234567890123..."#,
        ),
        (
            json!({ "grpcServiceName": "shop.v1.Orders", "grpcBody": "" }),
            true,
            r#"gRPC call successful: {"orders":"12","note":" 0"}"#,
        ),
    ] {
        let seen = keyword(&server, more).await.unwrap();
        assert_eq!((seen.status == Status::Up, seen.message.as_str()), (up, told));
    }
    keyword(&server, json!({ "metadata": { "X-Token": "t0p" } }))
        .await
        .unwrap();
    assert_eq!(*orders.metadata.lock().unwrap(), ["t0p"]);
    server.drained().await;
}

#[tokio::test]
async fn a_failed_call_is_never_a_success() {
    let server = serve(Routes::new(Orders::default()), None).await;
    for (state, word, told) in [
        (
            "denied",
            "auth_failed",
            "Error in send gRPC: PERMISSION_DENIED: not for you",
        ),
        (
            "broken",
            "assertion_failed",
            "Error in send gRPC: INTERNAL: disk on fire",
        ),
        (
            "late",
            "response_timeout",
            "Error in send gRPC: DEADLINE_EXCEEDED",
        ),
        ("huge", "body_too_large", "Error in send gRPC: OUT_OF_RANGE: "),
    ] {
        let body = json!({ "state": state }).to_string();
        let seen = keyword(&server, json!({ "grpcBody": body })).await.unwrap();
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, word),
            "{}",
            seen.message
        );
        assert!(seen.message.starts_with(told), "{}", seen.message);
    }
    // Peekaping makes up SERVING for a service called `Health`, whoever listens or not.
    let health = r#"syntax = "proto3"; service Health { rpc Check(E) returns (E); } message E {}"#;
    let more =
        json!({ "grpcServiceName": "Health", "grpcMethod": "Check", "grpcProtobuf": health, "grpcBody": "" });
    let seen = keyword(&server, more).await.unwrap();
    assert_eq!(seen.message, "Error in send gRPC: UNIMPLEMENTED");
}

#[tokio::test]
async fn an_answer_of_another_type_breaks_the_protocol() {
    let server = serve(Routes::new(Orders::default()), None).await;
    let other = PROTO.replace("string note = 2", "fixed64 note = 2");
    let seen = keyword(&server, json!({ "grpcProtobuf": other })).await.unwrap();
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "protocol_error"));
    assert!(
        seen.message
            .starts_with("Error in send gRPC: the answer is no `shop.v1.Total`"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn an_unfit_definition_is_told_and_nothing_is_sent() {
    let server = Server::raw(|_| async {}).await;
    let deep = format!("syntax = \"proto3\"; {}", "message M {".repeat(5000));
    let options = format!("syntax = \"proto3\"; option (x) = {}", "{ a: ".repeat(40));
    for (more, why) in [
        (
            json!({ "grpcProtobuf": "syntax = \"proto3\"; service {" }),
            "`grpcProtobuf`: ",
        ),
        (
            json!({ "grpcProtobuf": "import \"/etc/passwd\";" }),
            "`grpcProtobuf`: ",
        ),
        (json!({ "grpcProtobuf": deep }), "nested more than 32 deep"),
        (json!({ "grpcProtobuf": options }), "nested more than 32 deep"),
        (
            json!({ "grpcProtobuf": "é".repeat(200_000) }),
            "longer than 256 KiB",
        ),
        (
            json!({ "grpcServiceName": "Order" }),
            "no service `Order`; it has: shop.v1.Orders",
        ),
        (
            json!({ "grpcMethod": "count" }),
            "no method `count`; it has: Count, Watch",
        ),
        (json!({ "grpcMethod": "Watch" }), "`Watch` streams"),
        (
            json!({ "grpcBody": "{\"stat\": 1}" }),
            "`grpcBody`: is no `shop.v1.Query` as JSON",
        ),
        (json!({ "grpcBody": "{" }), "`grpcBody`: "),
        (json!({ "grpcBody": "{} {}" }), "`grpcBody`: "),
        (json!({ "grpcUrl": "svc.internal" }), "expected `host:port`"),
        (
            json!({ "grpcUrl": "http://svc.internal:1" }),
            "expected `host:port`",
        ),
        (json!({ "grpcUrl": "a b:1" }), "`a b:1`"),
        (
            json!({ "metadata": { "grpc-timeout": "1S" } }),
            "`grpc-timeout` is the protocol's own",
        ),
    ] {
        let error = keyword(&server, more).await.unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(why)),
            "{why}: {error:?}"
        );
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn what_is_said_of_tls_is_not_judged_where_none_is_spoken() {
    let server = serve(health().await, None).await;
    let seen = healthy(&server, json!({ "tls_cert": "stale" })).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    let error = keyword(&server, json!({ "grpcUrl": "u:hunter2@h:1" }))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`grpcUrl`") && !error.contains("hunter2"),
        "{error}"
    );
}
