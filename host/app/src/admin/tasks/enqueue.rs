//! `POST /api/v1/tasks/enqueue`.

use crate::{
    admin::{
        State,
        error::{ApiError, Asked, Envelope},
        openapi::refer,
        queues,
    },
    enqueue::{Order, Refused},
};
use axum::{Json, extract, http::StatusCode};
use jiff::{SignedDuration, Timestamp};
use lapwing_queue::Enqueued;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// The longest delay: a year, in seconds.
const LONGEST_DELAY_S: f64 = 366.0 * 24.0 * 3600.0;

/// A task, and where it goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnqueueRequest {
    /// A kind, whose configuration `kwargs` is; or `check`, with `kwargs` of `kind`, `config`, `name`, `timeout_ms`, ….
    task_name: String,
    /// The queue, or what follows the last `:` of its name. Default: the first one.
    queue_type: Option<String>,
    /// As `task_name` says.
    #[serde(default)]
    kwargs: Map<String, Value>,
    /// Must be empty: checks take no positional arguments.
    #[serde(default)]
    args: Vec<Value>,
    /// Seconds until the task is due, at most a year. Default 0.
    #[serde(default, alias = "delay_seconds")]
    delay: f64,
}

/// A task that is on its queue.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EnqueueAnswer {
    /// What `GET /api/v1/tasks/status/{id}` and `…/result/{id}` take.
    task_id: String,
    task_name: String,
    queue_type: String,
    /// `queued`, or `duplicate`: one with this id is there already, and this one was dropped.
    status: &'static str,
    #[schemars(with = "String")]
    queued_at: Timestamp,
    /// When it is due.
    #[schemars(with = "String")]
    estimated_start: Timestamp,
}

/// Puts a task on a queue.
#[utoipa::path(post, path = "/api/v1/tasks/enqueue", tag = "tasks", request_body(content = ref(refer::<EnqueueRequest>())), responses(
    (status = 202, description = "It is on the queue, or was there already", body = ref(refer::<EnqueueAnswer>())),
    (status = 404, description = "`unknown_kind` or `unknown_queue`", body = ref(refer::<Envelope>())),
    (status = 422, description = "`invalid_config`, `invalid_request` or `unfit_for_queue`", body = ref(refer::<Envelope>())),
    (status = 429, description = "`queue_full`", body = ref(refer::<Envelope>())),
    (status = 503, description = "`queue_unavailable`", body = ref(refer::<Envelope>()))
))]
pub(crate) async fn enqueue(
    extract::State(state): extract::State<State>,
    Asked(request): Asked<EnqueueRequest>,
) -> Result<(StatusCode, Json<EnqueueAnswer>), ApiError> {
    let unfit = |message: &str| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", message);
    if !request.args.is_empty() {
        return Err(unfit("`args` must be empty: a check takes `kwargs` alone"));
    }
    if !(0.0..=LONGEST_DELAY_S).contains(&request.delay) {
        return Err(unfit("`delay` is not between 0 and 31622400 seconds"));
    }
    let delay = Duration::from_secs_f64(request.delay);
    let open = match &request.queue_type {
        Some(name) => queues::find(&state, name)?,
        None => queues::first(&state)?,
    };
    let order = Order::of(&request.task_name, request.kwargs).map_err(|error| unfit(&error.to_string()))?;
    let kinds = &state.prober.kinds;
    let now = state.prober.clock.now();
    let task = order.review(kinds, open.settings.load_test, now).await?;
    let status = match open.producer.schedule(&task, delay).await? {
        Enqueued::Added => "queued",
        Enqueued::Duplicate => "duplicate",
    };
    let after = SignedDuration::try_from(delay).unwrap_or_default();
    Ok((
        StatusCode::ACCEPTED,
        Json(EnqueueAnswer {
            task_id: open.producer.task_id(&task),
            task_name: request.task_name,
            queue_type: open.settings.name.clone(),
            status,
            queued_at: now,
            estimated_start: now.checked_add(after).unwrap_or(now),
        }),
    ))
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let (status, code) = match &refused {
            Refused::UnknownKind(_) => (StatusCode::NOT_FOUND, "unknown_kind"),
            Refused::Unfit(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_config"),
        };
        Self::new(status, code, refused.to_string())
    }
}
