//! `GET /metrics`: Prometheus' text format.

use super::{State, error::ApiError};
use axum::{
    extract,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

/// All metrics, in OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "worker", responses(
    (status = 200, description = "For Prometheus", body = String, content_type = "application/openmetrics-text")
))]
pub(crate) async fn render(extract::State(state): extract::State<State>) -> Result<Response, ApiError> {
    let text = state
        .metrics
        .render()
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    let kind = [(
        header::CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    Ok((kind, text).into_response())
}
