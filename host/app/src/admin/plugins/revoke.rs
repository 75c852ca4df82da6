//! `DELETE /api/v1/plugins/{name}/grants`.

use super::{Named, inspect::Inspection};
use crate::{
    admin::{error::ApiError, openapi::refer},
    consent,
};
use axum::Json;

/// Takes back all that was granted to a plugin by API, and every approval of its files, from the next run on. What the
/// configuration file grants stays.
#[utoipa::path(delete, path = "/api/v1/plugins/{name}/grants", tag = "plugins", responses(
    (status = 200, description = "The plugin as it is now; it may wait for approval again", body = ref(refer::<Inspection>()))
))]
pub(crate) async fn revoke(plugin: Named) -> Result<Json<Inspection>, ApiError> {
    plugin.decide(consent::revoke).await
}
