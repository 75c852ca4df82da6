//! What the endpoints that decide something about one plugin have in common.

use super::{find, inspect::Inspection};
use crate::admin::{State, error::ApiError};
use axum::{Json, http::StatusCode};
use lapwing_wasm::{DataError, PluginFolder};

/// Makes a change off the runtime's threads and answers with the plugin as it is then. 404 for an unknown one.
pub(super) async fn decide(
    state: &State,
    name: &str,
    change: impl FnOnce(&PluginFolder, &str) -> Result<(), DataError> + Send + 'static,
) -> Result<Json<Inspection>, ApiError> {
    find(state, name)?;
    let (kinds, plugin) = (state.prober.kinds.clone(), name.to_owned());
    let changed =
        tokio::task::spawn_blocking(move || kinds.folder().map_or(Ok(()), |folder| change(folder, &plugin)));
    let failed = |error: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "not_kept", error);
    let changed = changed.await.map_err(|error| failed(error.to_string()))?;
    changed.map_err(|error| failed(format!("{:#}", anyhow::Error::from(error))))?;
    Inspection::of(state, name).map(Json)
}
