//! `GET /api/v1/health`: is the worker alive? Open to all, for container and load-balancer probes.

use super::{State, openapi::refer};
use axum::{Json, extract, http::StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Health {
    /// `ok`, or `stalled`: no successful poll of the queue within `liveness_seconds`.
    status: &'static str,
    /// Time since the last successful poll, with or without a task; 0 while every slot is taken.
    seconds_since_poll: f64,
    /// The limit.
    liveness_seconds: f64,
    /// Of this binary.
    version: &'static str,
}

/// Is the worker alive? Open to all.
#[utoipa::path(get, path = "/api/v1/health", tag = "worker", security(()), responses(
    (status = 200, description = "It has polled its queue within the liveness time", body = ref(refer::<Health>())),
    (status = 503, description = "It has not", body = ref(refer::<Health>()))
))]
pub(crate) async fn health(extract::State(state): extract::State<State>) -> (StatusCode, Json<Health>) {
    let age = state.pulse.age();
    let alive = age <= state.liveness;
    let health = Health {
        status: if alive { "ok" } else { "stalled" },
        seconds_since_poll: age.as_secs_f64(),
        liveness_seconds: state.liveness.as_secs_f64(),
        version: env!("CARGO_PKG_VERSION"),
    };
    (
        if alive {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        Json(health),
    )
}
