//! `GET /api/v1/kinds/{kind}/schema`: for editors and forms.

use super::{
    State,
    error::{ApiError, Envelope, InPath},
    openapi::refer,
};
use axum::{Json, extract, http::StatusCode};
use serde_json::Value;

/// The JSON Schema (2020-12) of one kind's configuration.
#[utoipa::path(get, path = "/api/v1/kinds/{kind}/schema", tag = "checks",
    params(("kind" = String, Path, description = "A kind or one of its aliases")),
    responses(
        (status = 200, description = "A JSON Schema", body = Object),
        (status = 404, description = "`unknown_kind`", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn schema(
    extract::State(state): extract::State<State>,
    InPath(kind): InPath<String>,
) -> Result<Json<Value>, ApiError> {
    state.prober.kinds.settled(&kind).await;
    match state.prober.kinds.executor(&kind) {
        Ok(executor) => Ok(Json(executor.info().schema.clone())),
        Err(error) => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown_kind",
            error.to_string(),
        )),
    }
}
