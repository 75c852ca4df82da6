//! `GET /api/v1/executors`: every kind of check, who provides it, and the schema of its configuration.

use super::{State, openapi::refer};
use axum::{Json, extract};
use lapwing_checks::KindInfo;
use schemars::JsonSchema;
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Executors {
    executors: Vec<KindInfo>,
}

/// Every kind of check, by name.
#[utoipa::path(get, path = "/api/v1/executors", tag = "checks", responses(
    (status = 200, description = "Who provides it, and the schema of its configuration", body = ref(refer::<Executors>()))
))]
pub(crate) async fn list(extract::State(state): extract::State<State>) -> Json<Executors> {
    state.prober.kinds.loaded().await;
    Json(Executors {
        executors: state.prober.kinds.registry().kinds().cloned().collect(),
    })
}
