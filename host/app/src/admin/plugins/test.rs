//! `POST /api/v1/plugins/{name}/test`: one run, with each call to the host.

use super::Named;
use crate::{
    admin::{
        checks,
        error::{ApiError, Asked, Envelope},
        openapi::refer,
    },
    config::HumanDuration,
    producer,
};
use axum::{Json, http::StatusCode};
use lapwing_checks::{CheckError, ProbeContext, net::scope::Destination};
use lapwing_wasm::{Trial, TrialOptions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::time::Instant;

/// What to run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestRequest {
    /// The kind; may be left out when the plugin has only one.
    kind: Option<String>,
    /// Its configuration.
    #[serde(default)]
    config: Map<String, Value>,
    /// Time it may take; default `16s`, at most `300s`.
    timeout: Option<HumanDuration>,
    /// Places it may reach in this run beyond what is granted, if it asks for them: `api.example.com:443`.
    #[serde(default)]
    allow: Vec<Destination>,
}

/// Runs a plugin once and tells what it did. Counts for nothing: not for the quarantine, and no state is kept.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/test", tag = "plugins",
    request_body(content = ref(refer::<TestRequest>())),
    responses(
        (status = 200, description = "The result, whatever the status, each call to the host, and what it used", body = ref(refer::<Trial>())),
        (status = 404, description = "`unknown_plugin` or `unknown_kind`", body = ref(refer::<Envelope>())),
        (status = 422, description = "`invalid_config` or `invalid_request`", body = ref(refer::<Envelope>())),
        (status = 429, description = "`too_many_checks`: 16 of these run already", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn test(plugin: Named, Asked(request): Asked<TestRequest>) -> Result<Json<Trial>, ApiError> {
    let Named {
        state, name, report, ..
    } = plugin;
    let unknown = |message: String| ApiError::new(StatusCode::NOT_FOUND, "unknown_kind", message);
    let plugin = report
        .plugin()
        .ok_or_else(|| unknown(format!("`{name}` provides no kind: it is {}", report.state)))?;
    let kind = match (request.kind, report.kinds.as_slice()) {
        (Some(kind), _) => kind,
        (None, [only]) => only.clone(),
        (None, kinds) => {
            return Err(unknown(format!(
                "it has several kinds; name one of {}",
                kinds.join(", ")
            )));
        }
    };
    let timeout = checks::timeout(request.timeout)?;
    let _slot = checks::slot(&state)?;
    let monitor = checks::adhoc(&kind, request.config, timeout);
    let cx = ProbeContext {
        task: Arc::new(producer::task(&monitor, &*state.prober.clock)),
        queue: None,
        deadline: Instant::now() + timeout,
        net: state.prober.net.clone(),
        clock: state.prober.clock.clone(),
    };
    let options = TrialOptions { allow: request.allow };
    let trial = plugin.trial(&kind, &monitor.config, &cx, options).await;
    trial.map(Json).map_err(|error| match error {
        CheckError::UnknownKind { .. } => unknown(error.to_string()),
        error => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_config",
            error.to_string(),
        ),
    })
}
