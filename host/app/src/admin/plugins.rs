//! `/api/v1/plugins`: what became of each file of the plugin folder.

pub(crate) mod list;
pub(crate) mod reload;

use lapwing_wasm::PluginReport;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// The answer of both endpoints.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Plugins {
    plugins: Arc<Vec<PluginReport>>,
}
