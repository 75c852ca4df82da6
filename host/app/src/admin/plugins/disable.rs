//! `POST /api/v1/plugins/{name}/disable`.

use super::{Named, inspect::Inspection};
use crate::admin::{error::ApiError, openapi::refer};
use axum::Json;

/// Keeps a plugin from serving, over restarts. Running checks end; its kinds are unknown from then on.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/disable", tag = "plugins", responses(
    (status = 200, description = "The plugin as it is now", body = ref(refer::<Inspection>()))
))]
pub(crate) async fn disable(plugin: Named) -> Result<Json<Inspection>, ApiError> {
    plugin
        .decide(|folder, name| folder.set_enabled(name, false))
        .await
}
