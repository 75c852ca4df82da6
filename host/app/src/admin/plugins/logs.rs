//! `GET /api/v1/plugins/{name}/logs`.

use super::Named;
use crate::admin::openapi::refer;
use axum::Json;
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
#[utoipa::path(get, path = "/api/v1/plugins/{name}/logs", tag = "plugins", responses(
    (status = 200, description = "At most 1000 lines of 256 KiB", body = ref(refer::<Logs>()))
))]
pub(crate) async fn logs(plugin: Named) -> Json<Logs> {
    let lines = plugin.host.custody().record(&plugin.name).log();
    Json(Logs { lines })
}
