//! `POST /api/v1/queues/{queue}/pause` and `…/resume`.

use super::Named;
use crate::admin::{error::ApiError, openapi::refer};
use axum::Json;
use lapwing_queue::QueueStats;

/// Hands out no task of the queue to any worker, until it is resumed. Idempotent; what runs goes on.
#[utoipa::path(post, path = "/api/v1/queues/{queue}/pause", tag = "queues", responses(
    (status = 200, description = "It is paused", body = ref(refer::<QueueStats>()))
))]
pub(crate) async fn pause(queue: Named) -> Result<Json<QueueStats>, ApiError> {
    set(queue, true).await
}

/// Hands out the queue's tasks again. Idempotent.
#[utoipa::path(post, path = "/api/v1/queues/{queue}/resume", tag = "queues", responses(
    (status = 200, description = "It is not paused", body = ref(refer::<QueueStats>()))
))]
pub(crate) async fn resume(queue: Named) -> Result<Json<QueueStats>, ApiError> {
    set(queue, false).await
}

async fn set(Named(open): Named, paused: bool) -> Result<Json<QueueStats>, ApiError> {
    let name = &open.settings.name;
    open.dialect.set_paused(name, paused).await?;
    Ok(Json(open.dialect.stats(name).await?))
}
