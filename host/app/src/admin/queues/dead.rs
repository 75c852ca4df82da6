//! `/api/v1/queues/{queue}/dead`: the tasks that were given up.

use super::Named;
use crate::{
    admin::{
        error::{ApiError, Envelope, InPath, InQuery},
        openapi::refer,
    },
    console::one_line,
    queues::Open,
};
use axum::{Json, http::StatusCode};
use lapwing_queue::{DeadLetter, QueueStats};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most dead letters in one answer.
const MOST: usize = 1000;

/// No queue has so many.
const FURTHEST: usize = 1 << 31;

/// Which of them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// How many of the newest to leave out. Default 0.
    #[serde(default)]
    offset: usize,
    /// How many, at most 1000. Default 100.
    limit: Option<usize>,
}

/// Dead letters.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeadLetters {
    /// Newest first.
    dead: Vec<DeadLetter>,
}

/// Which task, in the path.
#[derive(Debug, Deserialize)]
pub(crate) struct Which {
    id: String,
}

/// The tasks of a queue that were given up, and why. Their messages may hold credentials and are not shown.
#[utoipa::path(get, path = "/api/v1/queues/{queue}/dead", tag = "queues", params(Page), responses(
    (status = 200, description = "The newest first", body = ref(refer::<DeadLetters>()))
))]
pub(crate) async fn list(
    Named(open): Named,
    InQuery(page): InQuery<Page>,
) -> Result<Json<DeadLetters>, ApiError> {
    let limit = page.limit.unwrap_or(100).min(MOST);
    let offset = page.offset.min(FURTHEST);
    let dead = open.dialect.dead(&open.settings.name, offset, limit).await?;
    Ok(Json(DeadLetters { dead }))
}

/// Puts a dead letter back on its queue.
#[utoipa::path(post, path = "/api/v1/queues/{queue}/dead/{id}/retry", tag = "queues", responses(
    (status = 200, description = "It is on the queue, which is then so", body = ref(refer::<QueueStats>())),
    (status = 404, description = "`unknown_queue` or `unknown_task`", body = ref(refer::<Envelope>()))
))]
pub(crate) async fn retry(
    Named(open): Named,
    InPath(Which { id }): InPath<Which>,
) -> Result<Json<QueueStats>, ApiError> {
    let found = open.dialect.revive(&open.settings.name, &id).await?;
    done(&open, found, &id).await
}

/// Deletes a dead letter.
#[utoipa::path(delete, path = "/api/v1/queues/{queue}/dead/{id}", tag = "queues", responses(
    (status = 200, description = "It is gone from the queue, which is then so", body = ref(refer::<QueueStats>())),
    (status = 404, description = "`unknown_queue` or `unknown_task`", body = ref(refer::<Envelope>()))
))]
pub(crate) async fn delete(
    Named(open): Named,
    InPath(Which { id }): InPath<Which>,
) -> Result<Json<QueueStats>, ApiError> {
    let found = open.dialect.discard(&open.settings.name, &id).await?;
    done(&open, found, &id).await
}

async fn done(open: &Open, found: bool, id: &str) -> Result<Json<QueueStats>, ApiError> {
    if found {
        return Ok(Json(open.dialect.stats(&open.settings.name).await?));
    }
    let message = format!("no dead letter `{}`", one_line(id));
    Err(ApiError::new(StatusCode::NOT_FOUND, "unknown_task", message))
}
