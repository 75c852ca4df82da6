//! The plugin that a request's path names: what the endpoints of one plugin have in common.

use super::inspect::Inspection;
use crate::{
    admin::{
        State,
        error::{ApiError, InPath},
    },
    console::one_line,
};
use axum::{
    Json,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use lapwing_wasm::{DataError, PluginFolder, PluginHost, PluginReport};
use std::sync::Arc;

/// The plugin called `{name}`: of several files the one that serves. 404 when no file says that it is.
pub(crate) struct Named {
    pub(super) state: State,
    pub(super) name: String,
    pub(super) report: PluginReport,
    pub(super) host: Arc<PluginHost>,
}

impl Named {
    pub(super) fn find(state: &State, name: &str) -> Result<Self, ApiError> {
        let plugins = state.prober.kinds.plugins();
        let mut found: Vec<_> = plugins
            .iter()
            .filter(|plugin| plugin.name == name && !name.is_empty())
            .collect();
        found.sort_by_key(|plugin| !plugin.is_active());
        if let (Some(&report), Some(host)) = (found.first(), state.prober.kinds.host()) {
            return Ok(Self {
                state: state.clone(),
                name: name.to_owned(),
                report: report.clone(),
                host: host.clone(),
            });
        }
        let names = plugins.iter().map(|plugin| plugin.name.as_str());
        let known: Vec<_> = names.filter(|name| !name.is_empty()).collect();
        let message = format!("no plugin `{}`; known: {}", one_line(name), known.join(", "));
        Err(ApiError::new(StatusCode::NOT_FOUND, "unknown_plugin", message))
    }

    /// Makes a change off the runtime's threads and answers with the plugin as it is then.
    pub(super) async fn decide(
        self,
        change: impl FnOnce(&PluginFolder, &str) -> Result<(), DataError> + Send + 'static,
    ) -> Result<Json<Inspection>, ApiError> {
        let (kinds, plugin) = (self.state.prober.kinds.clone(), self.name.clone());
        let changed = tokio::task::spawn_blocking(move || {
            kinds.folder().map_or(Ok(()), |folder| change(folder, &plugin))
        });
        let failed = |error: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "not_kept", error);
        let changed = changed.await.map_err(|error| failed(error.to_string()))?;
        changed.map_err(|error| failed(format!("{:#}", anyhow::Error::from(error))))?;
        Ok(Json(Self::find(&self.state, &self.name)?.into()))
    }
}

impl FromRequestParts<State> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, ApiError> {
        let InPath(name) = InPath::<String>::from_request_parts(parts, state).await?;
        state.prober.kinds.loaded().await;
        Self::find(state, &name)
    }
}
