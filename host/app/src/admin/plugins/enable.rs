//! `POST /api/v1/plugins/{name}/enable`.

use super::{Named, inspect::Inspection};
use crate::admin::{error::ApiError, openapi::refer};
use axum::Json;

/// Lets a plugin serve again.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/enable", tag = "plugins", responses(
    (status = 200, description = "The plugin as it is now; it may still wait for approval", body = ref(refer::<Inspection>()))
))]
pub(crate) async fn enable(plugin: Named) -> Result<Json<Inspection>, ApiError> {
    plugin.decide(|folder, name| folder.set_enabled(name, true)).await
}
