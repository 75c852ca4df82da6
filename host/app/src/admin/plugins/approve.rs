//! `POST /api/v1/plugins/{name}/approve`.

use super::{Named, inspect::Inspection};
use crate::{
    admin::{
        error::{ApiError, Asked, Envelope},
        openapi::refer,
    },
    config::secrets,
    consent,
};
use axum::{Json, http::StatusCode};
use lapwing_wasm::{Capability, PluginReport, PluginState, asked};
use schemars::JsonSchema;
use serde::Deserialize;

/// What was looked at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApproveRequest {
    /// SHA-256 of the file that waits, in hex, as the plugin's listing shows it.
    digest: String,
}

/// Lets a plugin that waits serve, with what it cannot do without. Only the very file whose digest is sent: nobody
/// approves what they did not see.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/approve", tag = "plugins",
    request_body(content = ref(refer::<ApproveRequest>())),
    responses(
        (status = 200, description = "The plugin as it is now", body = ref(refer::<Inspection>())),
        (status = 409, description = "`nothing_to_approve`, or `other_digest` with the one that waits and what it asks for", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn approve(
    plugin: Named,
    Asked(ApproveRequest { digest }): Asked<ApproveRequest>,
) -> Result<Json<Inspection>, ApiError> {
    let conflict = |code, message: String| ApiError::new(StatusCode::CONFLICT, code, message);
    let all = plugin.state.prober.kinds.plugins();
    let mut waiting: Vec<_> = all
        .iter()
        .filter(|other| other.name == plugin.name)
        .filter_map(Waiting::of)
        .collect();
    // Of several files of one name the one that was looked at.
    waiting.sort_by_key(|waiting| !digest.eq_ignore_ascii_case(&waiting.digest));
    let Some(waiting) = waiting.into_iter().next() else {
        let Named { name, report, .. } = &plugin;
        let message = format!("no file of `{name}` waits for approval: it is {}", report.state);
        return Err(conflict("nothing_to_approve", message));
    };
    if !digest.eq_ignore_ascii_case(&waiting.digest) {
        let message = format!(
            "the file that waits has SHA-256 `{}`; it asks: {}",
            waiting.digest, waiting.asks
        );
        return Err(conflict("other_digest", message));
    }
    for (_, why) in secrets::unknown(&asked(&waiting.declared), &plugin.state.secrets) {
        tracing::warn!(
            "plugin `{}` is approved with what is not there: {why}",
            plugin.name
        );
    }
    plugin
        .decide(move |folder, name| consent::approve(folder, name, &waiting.digest, &waiting.declared))
        .await
}

/// The content that waits: the only one, or one that would replace another.
struct Waiting {
    digest: String,
    asks: String,
    declared: Vec<Capability>,
}

impl Waiting {
    fn of(report: &PluginReport) -> Option<Self> {
        if let Some(pending) = &report.pending {
            return Some(Self {
                digest: pending.digest.clone(),
                asks: pending.asks.join("; "),
                declared: pending.capabilities.clone(),
            });
        }
        match &report.state {
            PluginState::PendingApproval { reason } => Some(Self {
                digest: report.digest.clone()?,
                asks: reason.clone(),
                declared: report.about.as_ref()?.capabilities.clone(),
            }),
            _ => None,
        }
    }
}
