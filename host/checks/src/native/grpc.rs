//! Kinds `grpc` and `grpc-keyword`: the standard health check, and any unary call.
//!
//! What Peekaping's `grpc-keyword` says is kept; what it does is not: it makes up an answer where a call fails. Here a
//! call is made, and what fails is told.

mod call;
mod config;
mod keyword;
mod schema;

pub use config::{GrpcConfig, GrpcKeywordConfig};
pub use keyword::GrpcKeyword;

use crate::{Check, CheckError, Findings, ProbeContext};
use bytes::Bytes;
use call::Call;
use lapwing_model::{Observation, Reason};
use prost::Message;
use tonic::{Code, Status};

/// Kind `grpc`.
#[derive(Debug, Clone, Copy)]
pub struct Grpc;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

impl Check for Grpc {
    const KIND: &'static str = "grpc";
    const SUMMARY: &'static str = "Asks a gRPC server for its health (grpc.health.v1)";
    const EXAMPLE: &'static str =
        r#"{"host": "grpc.example.com", "port": 443, "tls": true, "service": "shop.v1.Orders"}"#;
    const SENSITIVE: &'static [&'static str] = &["/metadata", "/tls_key"];
    type Config = GrpcConfig;

    fn review(config: GrpcConfig, found: &mut Findings) {
        config.review(found);
    }

    async fn probe(&self, config: GrpcConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let request = HealthCheckRequest {
            service: config.service.clone(),
        };
        let call = Call {
            path: "/grpc.health.v1.Health/Check".to_owned(),
            message: Bytes::from(request.encode_to_vec()),
            ..config.call()?
        };
        let replied = match call.make(cx).await {
            Ok(replied) => replied,
            Err(failure) => {
                return failure.into_verdict(|error| format!("gRPC health check failed: {error}"));
            }
        };
        let seen = match &replied.outcome {
            Ok(message) => match HealthCheckResponse::decode(message.clone()) {
                Ok(answer) => judge(answer.status, &config.service),
                Err(error) => Observation::down(
                    Reason::ProtocolError,
                    format!("gRPC health check failed: the answer is no HealthCheckResponse: {error}"),
                ),
            },
            Err(status) => refused(status, &config.service),
        };
        Ok(replied.describe(seen))
    }
}

/// Who is asked about, for messages.
fn subject(service: &str) -> String {
    match service {
        "" => "the server".to_owned(),
        service => format!("service `{service}`"),
    }
}

/// What `ServingStatus` says.
fn judge(status: i32, service: &str) -> Observation {
    let subject = subject(service);
    let (word, text) = match status {
        1 => return Observation::up("SERVING").with_attribute("grpc.health", "SERVING"),
        0 => (
            "UNKNOWN",
            format!("{subject} does not know yet whether it serves (UNKNOWN)"),
        ),
        2 => ("NOT_SERVING", format!("{subject} says NOT_SERVING")),
        3 => (
            "SERVICE_UNKNOWN",
            format!("the server does not know {subject} (SERVICE_UNKNOWN)"),
        ),
        other => {
            let text = format!("{subject} answered with the unknown status {other}");
            return Observation::down(Reason::ProtocolError, text);
        }
    };
    Observation::down(Reason::AssertionFailed, text).with_attribute("grpc.health", word)
}

/// The verdict on a status that is not OK.
fn refused(status: &Status, service: &str) -> Observation {
    let text = match status.code() {
        Code::Unimplemented => {
            "the server does not offer health checks: grpc.health.v1.Health is UNIMPLEMENTED".to_owned()
        }
        Code::NotFound => format!("the server does not know {} (NOT_FOUND)", subject(service)),
        _ => format!("gRPC health check failed: {}", call::told(status)),
    };
    Observation::down(call::reason(status), text)
}
