//! `/api/v1/plugins`: what became of each file of the plugin folder.

pub mod list;
pub mod reload;

use lapwing_wasm::PluginReport;
use serde::Serialize;
use std::sync::Arc;

/// The answer of both endpoints.
#[derive(Debug, Serialize)]
pub struct Plugins {
    plugins: Arc<Vec<PluginReport>>,
}
