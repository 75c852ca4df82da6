//! Kind `grpc-keyword`: a unary call by the text of its definition, and a keyword in the answer.

use super::{
    GrpcKeywordConfig,
    call::{self, Call},
    schema::Method,
};
use crate::{Check, CheckError, Findings, ProbeContext, native::judging::judged, schema::Fault};
use lapwing_model::{Observation, Reason};

/// An answer longer than this many bytes is shown cut, as Peekaping does.
const SHOWN: usize = 50;
/// What is left of it, in characters.
const CUT: usize = 47;

/// Kind `grpc-keyword`.
#[derive(Debug, Clone, Copy)]
pub struct GrpcKeyword;

impl Check for GrpcKeyword {
    const KIND: &'static str = "grpc-keyword";
    const SUMMARY: &'static str = "Makes a gRPC call and looks for a keyword in the answer";
    const EXAMPLE: &'static str = r#"{"grpcUrl": "svc.internal:50051", "grpcProtobuf": "syntax = \"proto3\"; package shop.v1; service Orders { rpc Count(Query) returns (Total); } message Query { string state = 1; } message Total { int64 orders = 1; }", "grpcServiceName": "Orders", "grpcMethod": "Count", "grpcBody": "{\"state\": \"open\"}", "keyword": "orders"}"#;
    const SENSITIVE: &'static [&'static str] = &["/metadata", "/tls_key"];
    type Config = GrpcKeywordConfig;

    fn review(config: GrpcKeywordConfig, found: &mut Findings) {
        config.review(found);
        let method = Method::compile(&config.protobuf, &config.service, &config.method);
        if let Some(method) = found.take(method) {
            found.take(method.encode(&config.body));
        }
    }

    async fn probe(&self, config: GrpcKeywordConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let call = config.call()?;
        let GrpcKeywordConfig {
            protobuf,
            service,
            method,
            body,
            ..
        } = &config;
        let (text, service, name, body) = (protobuf.clone(), service.clone(), method.clone(), body.clone());
        let compile = move || {
            let method = Method::compile(&text, &service, &name)?;
            let message = method.encode(&body)?;
            Ok::<_, Fault>((method, message))
        };
        let size = protobuf.len() + config.body.len();
        let (method, message) = judged("`grpcProtobuf`", size, cx.deadline, compile).await??;
        let call = Call {
            path: method.path(),
            message,
            ..call
        };
        let failed = |why: &dyn std::fmt::Display| format!("Error in send gRPC: {why}");
        let replied = match call.make(cx).await {
            Ok(replied) => replied,
            Err(failure) => return failure.into_verdict(|error| failed(error)),
        };
        let seen = match &replied.outcome {
            Ok(answer) => {
                let (answer, size) = (answer.clone(), answer.len());
                let decode = move || method.decode(&answer);
                match judged("decoding the answer", size, cx.deadline, decode).await? {
                    Ok(json) => judge(&json, &config.keyword, config.invert),
                    Err(error) => Observation::down(Reason::ProtocolError, failed(&error)),
                }
            }
            Err(status) => Observation::down(call::reason(status), failed(&call::told(status))),
        };
        Ok(replied.describe(seen))
    }
}

/// The verdict on an answer, in Peekaping's words.
fn judge(json: &str, keyword: &str, invert: bool) -> Observation {
    let shown = shown(json);
    if keyword.is_empty() {
        return Observation::up(format!("gRPC call successful: {shown}"));
    }
    match (json.contains(keyword), invert) {
        (true, false) => Observation::up(format!("{shown}, keyword [{keyword}] is found")),
        (false, true) => Observation::up(format!("{shown}, keyword [{keyword}] not found")),
        (false, false) => Observation::down(
            Reason::AssertionFailed,
            format!("but keyword [{keyword}] is not in [{shown}]"),
        ),
        (true, true) => Observation::down(
            Reason::AssertionFailed,
            format!("but keyword [{keyword}] is present in [{shown}]"),
        ),
    }
}

fn shown(json: &str) -> String {
    if json.len() <= SHOWN {
        return json.to_owned();
    }
    let mut cut: String = json.chars().take(CUT).collect();
    cut.push_str("...");
    cut
}
