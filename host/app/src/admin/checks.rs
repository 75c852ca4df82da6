//! `POST /api/v1/checks`: run one check now.

use super::{
    State,
    error::{ApiError, Asked, Envelope},
    openapi::refer,
};
use crate::{config::HumanDuration, producer};
use axum::{Json, extract, http::StatusCode};
use lapwing_model::{CheckResult, Monitor, Reason, task::DEFAULT_TIMEOUT};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

/// The longest a check asked for by API may take.
const LONGEST: Duration = Duration::from_secs(300);

/// What to run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckRequest {
    /// The kind, as `GET /api/v1/executors` lists it.
    kind: String,
    /// Its configuration.
    #[serde(default)]
    config: Map<String, Value>,
    /// Time it may take; default `16s`, at most `300s`.
    timeout: Option<HumanDuration>,
}

/// Runs one check now.
#[utoipa::path(post, path = "/api/v1/checks", tag = "checks", request_body(content = ref(refer::<CheckRequest>())), responses(
    (status = 200, description = "The result, whatever the status", body = ref(refer::<CheckResult>())),
    (status = 404, description = "`unknown_kind`", body = ref(refer::<Envelope>())),
    (status = 422, description = "`invalid_config` or `invalid_request`", body = ref(refer::<Envelope>())),
    (status = 429, description = "`too_many_checks`: 16 of these run already", body = ref(refer::<Envelope>()))
))]
pub(crate) async fn run(
    extract::State(state): extract::State<State>,
    Asked(request): Asked<CheckRequest>,
) -> Result<Json<CheckResult>, ApiError> {
    let timeout = timeout(request.timeout)?;
    let _slot = slot(&state)?;
    let task = Arc::new(producer::task(
        &adhoc(&request.kind, request.config, timeout),
        &*state.prober.clock,
    ));
    let result = state.prober.try_out(&task).await;
    let refuse = |status, code| Err(ApiError::new(status, code, result.observation.message.clone()));
    match result.observation.reason {
        Some(Reason::UnknownKind) => refuse(StatusCode::NOT_FOUND, "unknown_kind"),
        Some(Reason::InvalidConfig) => refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_config"),
        _ => Ok(Json(result)),
    }
}

/// The time asked for, if a check asked for by API may take it.
pub(super) fn timeout(wanted: Option<HumanDuration>) -> Result<Duration, ApiError> {
    let timeout = wanted.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
    if timeout.is_zero() || timeout > LONGEST {
        let message = format!("`timeout` is not more than zero and at most {LONGEST:?}");
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request",
            message,
        ));
    }
    Ok(timeout)
}

/// Room for one more check asked for by API, until it is dropped.
pub(super) fn slot(state: &State) -> Result<OwnedSemaphorePermit, ApiError> {
    state.checks.clone().try_acquire_owned().map_err(|_| {
        let message = "too many checks run already; try again later";
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_checks", message)
    })
}

/// A monitor for one run that no file names. Its id is empty, as no monitor's can be: it shares nothing with any.
pub(crate) fn adhoc(kind: &str, config: Map<String, Value>, timeout: Duration) -> Monitor {
    Monitor {
        id: String::new(),
        name: "adhoc".to_owned(),
        kind: kind.to_owned(),
        interval: timeout,
        timeout,
        max_retries: 0,
        retry_interval: timeout,
        resend_interval: 0,
        config: Value::Object(config).to_string(),
    }
}
