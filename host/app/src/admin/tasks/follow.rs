//! `GET /api/v1/tasks/status/{id}` and `…/result/{id}`.

use super::load;
use crate::{
    admin::{
        State,
        error::{ApiError, Envelope, InPath},
        openapi::refer,
    },
    console::one_line,
};
use axum::{Json, extract, http::StatusCode};
use lapwing_queue::{KeptResult, TaskStatus};
use schemars::JsonSchema;
use serde::Serialize;

/// Where a task is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Followed {
    /// Of one task.
    Task {
        task_id: String,
        /// Its queue.
        queue_type: String,
        #[serde(flatten)]
        status: TaskStatus,
    },
    /// Of a load test.
    Load(load::Progress),
}

/// What a task came to.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Outcome {
    task_id: String,
    /// Its queue.
    queue_type: String,
    #[serde(flatten)]
    result: KeptResult,
}

/// Where a task is, or how far a load test has come.
#[utoipa::path(get, path = "/api/v1/tasks/status/{id}", tag = "tasks", responses(
    (status = 200, description = "A task's state, or a load test's figures", body = ref(refer::<Followed>())),
    (status = 404, description = "`unknown_task`: never enqueued, or done and not kept", body = ref(refer::<Envelope>()))
))]
pub(crate) async fn status(
    extract::State(state): extract::State<State>,
    InPath(id): InPath<String>,
) -> Result<Json<Followed>, ApiError> {
    if let Some(progress) = load::progress(&state, &id).await? {
        return Ok(Json(Followed::Load(progress)));
    }
    let queues = state.queues.borrow().clone();
    for open in queues.iter() {
        let queue_type = open.settings.name.clone();
        if let Some(status) = open.dialect.status(&queue_type, &id).await? {
            let task_id = id;
            return Ok(Json(Followed::Task {
                task_id,
                queue_type,
                status,
            }));
        }
    }
    Err(unknown(&id))
}

/// What a task came to, while its result is kept.
#[utoipa::path(get, path = "/api/v1/tasks/result/{id}", tag = "tasks", responses(
    (status = 200, description = "Its result", body = ref(refer::<Outcome>())),
    (status = 404, description = "`unknown_task`: it has none (yet, or any more)", body = ref(refer::<Envelope>()))
))]
pub(crate) async fn result(
    extract::State(state): extract::State<State>,
    InPath(id): InPath<String>,
) -> Result<Json<Outcome>, ApiError> {
    let queues = state.queues.borrow().clone();
    for open in queues.iter() {
        let queue_type = open.settings.name.clone();
        if let Some(result) = open.dialect.result(&queue_type, &id).await? {
            let task_id = id;
            return Ok(Json(Outcome {
                task_id,
                queue_type,
                result,
            }));
        }
    }
    Err(unknown(&id))
}

fn unknown(id: &str) -> ApiError {
    let message = format!("nothing is known of a task `{}` (any more)", one_line(id));
    ApiError::new(StatusCode::NOT_FOUND, "unknown_task", message)
}
