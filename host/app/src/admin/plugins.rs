//! `/api/v1/plugins`: what became of each file of the plugin folder.

pub(crate) mod list;
pub(crate) mod reload;

use lapwing_wasm::PluginReport;
use serde::Serialize;
use std::sync::Arc;

/// The answer of both endpoints.
#[derive(Debug, Serialize)]
pub(crate) struct Plugins {
    plugins: Arc<Vec<PluginReport>>,
}
