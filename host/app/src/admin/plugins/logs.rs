//! `GET /api/v1/plugins/{name}/logs`.

use super::find;
use crate::admin::{
    State,
    error::{ApiError, Envelope},
    openapi::refer,
};
use axum::{
    Json,
    extract::{self, Path},
};
use lapwing_wasm::LogLine;
use schemars::JsonSchema;
use serde::Serialize;

/// What a plugin logged.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Logs {
    /// Oldest first: the last 1000 lines, of at most 256 KiB.
    lines: Vec<LogLine>,
}

/// The last lines a plugin logged, secrets masked.
#[utoipa::path(get, path = "/api/v1/plugins/{name}/logs", tag = "plugins",
    params(("name" = String, Path, description = "As the plugin calls itself")),
    responses(
        (status = 200, description = "At most 1000 lines of 256 KiB", body = ref(refer::<Logs>())),
        (status = 404, description = "`unknown_plugin`", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn logs(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<Json<Logs>, ApiError> {
    let (plugin, host) = find(&state, &name)?;
    let lines = host.custody().record(&plugin.name).log();
    Ok(Json(Logs { lines }))
}
