//! `POST /api/v1/plugins/{name}/disable`.

use super::{decide::decide, inspect::Inspection};
use crate::admin::{
    State,
    error::{ApiError, Envelope},
    openapi::refer,
};
use axum::{
    Json,
    extract::{self, Path},
};

/// Keeps a plugin from serving, over restarts. Running checks end; its kinds are unknown from then on.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/disable", tag = "plugins",
    params(("name" = String, Path, description = "As the plugin calls itself")),
    responses(
        (status = 200, description = "The plugin as it is now", body = ref(refer::<Inspection>())),
        (status = 404, description = "`unknown_plugin`", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn disable(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<Json<Inspection>, ApiError> {
    decide(&state, &name, |folder, name| folder.set_enabled(name, false)).await
}
