//! `/api/v1/plugins`: the files of the plugin folder, what they do, and what they may do.

pub(crate) mod approve;
mod decide;
pub(crate) mod disable;
pub(crate) mod enable;
pub(crate) mod grant;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod reload;
pub(crate) mod revoke;
pub(crate) mod test;
pub(crate) mod upload;

use super::{State, error::ApiError};
use crate::console::one_line;
use axum::http::StatusCode;
use lapwing_wasm::{PluginHost, PluginReport};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// The answer of those that list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Plugins {
    /// One entry a file.
    plugins: Arc<Vec<PluginReport>>,
}

/// The plugin called `name`, and who runs it: of several files the one that serves. 404 when no file says that it is.
fn find(state: &State, name: &str) -> Result<(PluginReport, Arc<PluginHost>), ApiError> {
    let plugins = state.prober.kinds.plugins();
    let mut found: Vec<_> = plugins
        .iter()
        .filter(|plugin| plugin.name == name && !name.is_empty())
        .collect();
    found.sort_by_key(|plugin| !plugin.is_active());
    if let (Some(&plugin), Some(host)) = (found.first(), state.prober.kinds.host()) {
        return Ok((plugin.clone(), host.clone()));
    }
    let names = plugins.iter().map(|plugin| plugin.name.as_str());
    let known: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    let message = format!("no plugin `{}`; known: {}", one_line(name), known.join(", "));
    Err(ApiError::new(StatusCode::NOT_FOUND, "unknown_plugin", message))
}
