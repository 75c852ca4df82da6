//! `GET /api/v1/plugins`.

use super::Plugins;
use crate::admin::State;
use axum::{Json, extract};

/// Every file of the folder, loaded or refused with its reason.
pub(crate) async fn list(extract::State(state): extract::State<State>) -> Json<Plugins> {
    Json(Plugins {
        plugins: state.prober.kinds.plugins(),
    })
}
