//! `PUT /api/v1/plugins/{name}/grants`.

use super::{decide::decide, inspect::Inspection};
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
use lapwing_checks::schema::Schema;
use lapwing_wasm::Grant;
use serde_json::Value;

/// Grants something to a plugin beyond its monitors' own targets, from the next run on, in place of what was granted by
/// API before (for the same `digest`, or for any file of the name). What the configuration file grants stays.
#[utoipa::path(put, path = "/api/v1/plugins/{name}/grants", tag = "plugins",
    params(("name" = String, Path, description = "As the plugin calls itself")),
    request_body(content = ref(refer::<Grant>())),
    responses(
        (status = 200, description = "The plugin as it is now", body = ref(refer::<Inspection>())),
        (status = 404, description = "`unknown_plugin`", body = ref(refer::<Envelope>())),
        (status = 422, description = "`invalid_grant`, with every fault", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn grant(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    request: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Inspection>, ApiError> {
    let Json(value) = request?;
    let grant =
        read(value).map_err(|why| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_grant", why))?;
    decide(&state, &name, move |folder, name| {
        consent::grant(folder, name, grant)
    })
    .await
}

/// The grant, or everything that is wrong with it.
fn read(value: Value) -> Result<Grant, String> {
    let schema = Schema::new(&schemars::schema_for!(Grant).to_value(), &[])?;
    let faults = schema.faults(&value, "");
    if faults.is_empty() {
        return serde_path_to_error::deserialize(value).map_err(|error| error.to_string());
    }
    let faults: Vec<_> = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.field, fault.message))
        .collect();
    Err(faults.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_fault_of_a_grant_is_told_at_once() {
        let why = read(json!({"hosts": "a", "state": 1, "prots": []})).unwrap_err();
        for part in ["hosts: ", "state: ", "prots: unknown field, expected one of"] {
            assert!(why.contains(part), "{part} in {why}");
        }
        assert!(read(json!({"hosts": ["http://x/"]})).is_err());
        assert!(read(json!({"hosts": ["*.corp.example:443"], "digest": "ab".repeat(32)})).is_ok());
    }
}
