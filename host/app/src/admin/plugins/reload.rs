//! `POST /api/v1/plugins/reload`.

use super::Plugins;
use crate::admin::{State, error::ApiError, openapi::refer};
use axum::{Json, extract, http::StatusCode};

/// Reads the folder again; answers when the new set is in force. Running checks end on the code they began with.
#[utoipa::path(post, path = "/api/v1/plugins/reload", tag = "plugins", responses(
    (status = 200, description = "One entry a file", body = ref(refer::<Plugins>()))
))]
pub(crate) async fn reload(extract::State(state): extract::State<State>) -> Result<Json<Plugins>, ApiError> {
    let plugins = state.prober.kinds.reload().await.map_err(|error| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "reload_failed",
            format!("{error:#}"),
        )
    })?;
    Ok(Json(Plugins { plugins }))
}
