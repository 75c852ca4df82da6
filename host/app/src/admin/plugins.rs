//! `/api/v1/plugins`: the files of the plugin folder, what they do, and what they may do.

pub(crate) mod approve;
pub(crate) mod disable;
pub(crate) mod enable;
pub(crate) mod grant;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod logs;
mod named;
pub(crate) mod reload;
pub(crate) mod revoke;
pub(crate) mod test;
pub(crate) mod upload;

use lapwing_wasm::PluginReport;
use named::Named;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// The answer of those that list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Plugins {
    /// One entry a file.
    plugins: Arc<Vec<PluginReport>>,
}
