//! `GET /api/v1/tasks/`.

use crate::admin::{State, openapi::refer};
use axum::{Json, extract};
use schemars::JsonSchema;
use serde::Serialize;

/// What can be enqueued.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskKinds {
    /// Each is a `task_name`, and takes its configuration as `kwargs`; `GET /api/v1/kinds/{kind}/schema` tells which.
    tasks: Vec<TaskKind>,
    /// The queues they can be put on: each is a `queue_type`, and so is what follows its last `:`.
    queues: Vec<String>,
}

/// One kind.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskKind {
    name: String,
    description: String,
}

/// What can be enqueued, and where.
#[utoipa::path(get, path = "/api/v1/tasks/", tag = "tasks", responses(
    (status = 200, description = "Kinds of check, and of load tests where a queue runs those", body = ref(refer::<TaskKinds>()))
))]
pub(crate) async fn list(extract::State(state): extract::State<State>) -> Json<TaskKinds> {
    let (kinds, queues) = (&state.prober.kinds, state.queues.borrow().clone());
    let registry = kinds.registry();
    let load_test = queues.iter().any(|open| open.settings.load_test);
    let load = kinds.load().kinds().filter(|_| load_test);
    let of = |info: &lapwing_checks::KindInfo| TaskKind {
        name: info.kind.clone(),
        description: info.summary.clone(),
    };
    Json(TaskKinds {
        tasks: registry.kinds().chain(load).map(of).collect(),
        queues: queues.iter().map(|open| open.settings.name.clone()).collect(),
    })
}
