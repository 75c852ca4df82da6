//! `GET /api/v1/plugins`.

use super::Plugins;
use crate::admin::{State, openapi::refer};
use axum::{Json, extract};

/// Every file of the plugin folder, loaded or refused with its reason.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", responses(
    (status = 200, description = "One entry a file", body = ref(refer::<Plugins>()))
))]
pub(crate) async fn list(extract::State(state): extract::State<State>) -> Json<Plugins> {
    state.prober.kinds.loaded().await;
    Json(Plugins {
        plugins: state.prober.kinds.plugins(),
    })
}
