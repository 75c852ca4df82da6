//! `DELETE /api/v1/plugins/{name}/grants`.

use super::{decide::decide, inspect::Inspection};
use crate::{
    admin::{
        State,
        error::{ApiError, Envelope},
        openapi::refer,
    },
    consent,
};
use axum::{
    Json,
    extract::{self, Path},
};

/// Takes back all that was granted to a plugin by API, and every approval of its files, from the next run on. What the
/// configuration file grants stays.
#[utoipa::path(delete, path = "/api/v1/plugins/{name}/grants", tag = "plugins",
    params(("name" = String, Path, description = "As the plugin calls itself")),
    responses(
        (status = 200, description = "The plugin as it is now; it may wait for approval again", body = ref(refer::<Inspection>())),
        (status = 404, description = "`unknown_plugin`", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn revoke(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<Json<Inspection>, ApiError> {
    decide(&state, &name, consent::revoke).await
}
