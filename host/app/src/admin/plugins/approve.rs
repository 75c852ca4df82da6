//! `POST /api/v1/plugins/{name}/approve`.

use super::{decide::decide, find, inspect::Inspection};
use crate::{
    admin::{
        State,
        error::{ApiError, Envelope},
        openapi::refer,
    },
    consent,
};
use axum::{
    Json,
    extract::{self, Path, rejection::JsonRejection},
    http::StatusCode,
};
use lapwing_wasm::{Capability, PluginReport, PluginState};
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
    params(("name" = String, Path, description = "As the plugin calls itself")),
    request_body(content = ref(refer::<ApproveRequest>())),
    responses(
        (status = 200, description = "The plugin as it is now", body = ref(refer::<Inspection>())),
        (status = 404, description = "`unknown_plugin`", body = ref(refer::<Envelope>())),
        (status = 409, description = "`nothing_to_approve`, or `other_digest` with the one that waits and what it asks for", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn approve(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    request: Result<Json<ApproveRequest>, JsonRejection>,
) -> Result<Json<Inspection>, ApiError> {
    let Json(ApproveRequest { digest }) = request?;
    let (report, _) = find(&state, &name)?;
    let conflict = |code, message: String| ApiError::new(StatusCode::CONFLICT, code, message);
    let all = state.prober.kinds.plugins();
    let mut waiting: Vec<_> = all
        .iter()
        .filter(|other| other.name == report.name)
        .filter_map(Waiting::of)
        .collect();
    // Of several files of one name the one that was looked at.
    waiting.sort_by_key(|waiting| !digest.eq_ignore_ascii_case(&waiting.digest));
    let Some(waiting) = waiting.into_iter().next() else {
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
    decide(&state, &name, move |folder, name| {
        consent::approve(folder, name, &waiting.digest, &waiting.declared)
    })
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
