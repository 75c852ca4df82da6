//! `GET /api/v1/plugins/{name}`.

use super::Named;
use crate::admin::openapi::refer;
use axum::Json;
use lapwing_wasm::{Grant, PluginReport, PluginStats, Tally};
use schemars::JsonSchema;
use serde::Serialize;

/// All that is known of one plugin.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Inspection {
    #[serde(flatten)]
    report: PluginReport,
    /// How its runs went since this process began.
    tally: Tally,
    /// What it does now, and how long its runs take, since it was loaded; absent when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<PluginStats>,
    /// What it is granted beyond its monitors' own targets, by the configuration file and by API together.
    granted: Grant,
    /// The part of it that was granted by API.
    granted_by_api: Vec<Grant>,
}

impl From<Named> for Inspection {
    fn from(plugin: Named) -> Self {
        let Named {
            name, report, host, ..
        } = plugin;
        let custody = host.custody();
        let digest = report.digest.as_deref().unwrap_or_default();
        Self {
            stats: report.plugin().map(|plugin| plugin.stats()),
            tally: custody.record(&name).tally(),
            granted: custody.grants().of(&name, digest),
            granted_by_api: custody.grants().made().remove(&name).unwrap_or_default(),
            report,
        }
    }
}

/// What one plugin is, asks for, may do, and has done.
#[utoipa::path(get, path = "/api/v1/plugins/{name}", tag = "plugins", responses(
    (status = 200, description = "The plugin that serves under the name, or the one that would", body = ref(refer::<Inspection>()))
))]
pub(crate) async fn inspect(plugin: Named) -> Json<Inspection> {
    Json(plugin.into())
}
