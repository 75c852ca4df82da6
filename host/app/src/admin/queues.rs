//! `/api/v1/queues`: what waits, what runs, what was given up, and the operator's hand in it.

pub(crate) mod dead;
pub(crate) mod list;
pub(crate) mod pause;

use super::{
    State,
    error::{ApiError, InPath},
};
use crate::queues::Open;
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use lapwing_queue::QueueError;
use serde::Deserialize;
use std::sync::Arc;

/// The queue that a request's path names as `{queue}`.
pub(crate) struct Named(pub(super) Arc<Open>);

#[derive(Deserialize)]
struct Which {
    queue: String,
}

impl FromRequestParts<State> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, ApiError> {
        let InPath(Which { queue }) = InPath::from_request_parts(parts, state).await?;
        find(state, &queue).map(Self)
    }
}

/// The queue called `name`, or whose name ends in `:name`.
pub(super) fn find(state: &State, name: &str) -> Result<Arc<Open>, ApiError> {
    first(state)?;
    let found = state.queues.borrow().named(name).map(Arc::clone);
    found.map_err(|error| ApiError::new(StatusCode::NOT_FOUND, "unknown_queue", error.to_string()))
}

/// The first queue there is.
pub(super) fn first(state: &State) -> Result<Arc<Open>, ApiError> {
    let found = state.queues.borrow().iter().next().map(Arc::clone);
    found.ok_or_else(|| {
        let message = "this process is not connected to its queues yet; try again later";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "queue_unavailable", message)
    })
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        let (status, code) = match &error {
            QueueError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "queue_unavailable"),
            QueueError::Denied(_) => (StatusCode::BAD_GATEWAY, "queue_denied"),
            QueueError::Full(_) => (StatusCode::TOO_MANY_REQUESTS, "queue_full"),
            QueueError::Unfit(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unfit_for_queue"),
            QueueError::LeaseLost(_) | QueueError::Protocol(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "queue_failed")
            }
        };
        Self::new(status, code, format!("{:#}", anyhow::Error::from(error)))
    }
}
