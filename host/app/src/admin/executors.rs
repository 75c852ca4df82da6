//! `GET /api/v1/executors`: every kind of check, who provides it, and the schema of its configuration.

use super::State;
use axum::{Json, extract};
use lapwing_checks::KindInfo;
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Executors {
    executors: Vec<KindInfo>,
}

/// Every kind, by name.
pub(crate) async fn list(extract::State(state): extract::State<State>) -> Json<Executors> {
    Json(Executors {
        executors: state.prober.kinds.registry().kinds().cloned().collect(),
    })
}
