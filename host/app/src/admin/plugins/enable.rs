//! `POST /api/v1/plugins/{name}/enable`.

use super::{Named, inspect::Inspection};
use crate::{
    admin::{
        error::{ApiError, Envelope, InQuery},
        openapi::refer,
    },
    console::one_line,
};
use axum::{Json, http::StatusCode};
use serde::Deserialize;

/// Which file.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnableQuery {
    /// SHA-256 of one file of the plugin, in hex. Without it every file of the name may serve, but for one that was
    /// uploaded beside others.
    digest: Option<String>,
}

/// Lets a plugin serve again. A file that came by upload while there are others of its name needs its digest: nobody
/// switches on what they did not look at.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/enable", tag = "plugins",
    params(EnableQuery),
    responses(
        (status = 200, description = "The plugin as it is now; it may still wait for approval", body = ref(refer::<Inspection>())),
        (status = 409, description = "`other_digest`: no file of the plugin has it", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn enable(
    plugin: Named,
    InQuery(EnableQuery { digest }): InQuery<EnableQuery>,
) -> Result<Json<Inspection>, ApiError> {
    let Some(digest) = digest else {
        return plugin.decide(|folder, name| folder.set_enabled(name, true)).await;
    };
    let all = plugin.state.prober.kinds.plugins();
    let own = |other: &&lapwing_wasm::PluginReport| {
        let digests = [
            other.digest.as_deref(),
            other.pending.as_ref().map(|pending| &*pending.digest),
        ];
        other.name == plugin.name
            && digests
                .into_iter()
                .flatten()
                .any(|own| own.eq_ignore_ascii_case(&digest))
    };
    if !all.iter().any(|other| own(&other)) {
        let message = format!("no file of `{}` has SHA-256 `{}`", plugin.name, one_line(&digest));
        return Err(ApiError::new(StatusCode::CONFLICT, "other_digest", message));
    }
    plugin
        .decide(move |folder, name| folder.enable_file(name, &digest).map(drop))
        .await
}
