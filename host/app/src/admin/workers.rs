//! `GET /api/v1/workers`.

use super::{State, error::ApiError, openapi::refer};
use axum::{Json, extract};
use lapwing_queue::WorkerPresence;
use schemars::JsonSchema;
use serde::Serialize;

/// The workers of this process's queues.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Workers {
    /// This process, as its results call it.
    this: String,
    /// Every live worker that shows itself, of Lapwing and others; one for each dialect of a process.
    workers: Vec<WorkerPresence>,
}

/// The live workers of the queues that this process serves.
#[utoipa::path(get, path = "/api/v1/workers", tag = "queues", responses(
    (status = 200, description = "Lapwing's and others, as far as they show themselves", body = ref(refer::<Workers>()))
))]
pub(crate) async fn list(extract::State(state): extract::State<State>) -> Result<Json<Workers>, ApiError> {
    let queues = state.queues.borrow().clone();
    let asked = queues.dialects().into_iter();
    let asked = asked.map(async |dialect| dialect.workers().await);
    let workers = futures_util::future::try_join_all(asked).await?.concat();
    Ok(Json(Workers {
        this: state.prober.identity.name.clone(),
        workers,
    }))
}
