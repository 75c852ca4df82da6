//! `GET /api/v1/workers`.

use super::{State, openapi::refer};
use axum::{Json, extract};
use lapwing_queue::WorkerPresence;
use schemars::JsonSchema;
use serde::Serialize;

/// The workers of this process's queues.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "what the API calls them")]
pub(crate) struct Workers {
    /// This process, as its results call it.
    this: String,
    /// Every live worker that shows itself, of Lapwing and others; one for each dialect of a process.
    workers: Vec<WorkerPresence>,
    /// Why some could not be asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trouble: Vec<String>,
}

/// The live workers of the queues that this process serves.
#[utoipa::path(get, path = "/api/v1/workers", tag = "queues", responses(
    (status = 200, description = "Lapwing's and others, as far as they show themselves", body = ref(refer::<Workers>()))
))]
pub(crate) async fn list(extract::State(state): extract::State<State>) -> Json<Workers> {
    let queues = state.queues.borrow().clone();
    let mut answer = Workers {
        this: state.prober.identity.name.clone(),
        workers: Vec::new(),
        trouble: Vec::new(),
    };
    for dialect in queues.dialects() {
        match dialect.workers().await {
            Ok(workers) => answer.workers.extend(workers),
            Err(error) => {
                let (name, error) = (dialect.dialect(), anyhow::Error::from(error));
                answer.trouble.push(format!("{name}: {error:#}"));
            }
        }
    }
    Json(answer)
}
