//! `PUT /api/v1/plugins/{name}/grants`.

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
use lapwing_checks::schema::{Schema, sentence};
use lapwing_wasm::Grant;
use serde_json::Value;
use std::collections::BTreeSet;

/// Grants something to a plugin beyond its monitors' own targets, from the next run on, in place of what was granted by
/// API before (for the same `digest`, or for any file of the name). What the configuration file grants stays.
#[utoipa::path(put, path = "/api/v1/plugins/{name}/grants", tag = "plugins",
    request_body(content = ref(refer::<Grant>())),
    responses(
        (status = 200, description = "The plugin as it is now", body = ref(refer::<Inspection>())),
        (status = 422, description = "`invalid_grant`, with every fault", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn grant(plugin: Named, Asked(value): Asked<Value>) -> Result<Json<Inspection>, ApiError> {
    let grant = read(value, &plugin.state.secrets)
        .map_err(|why| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_grant", why))?;
    plugin
        .decide(move |folder, name| consent::grant(folder, name, grant))
        .await
}

/// The grant, or everything that is wrong with it; `there` are the names of the secrets it can mean.
fn read(value: Value, there: &BTreeSet<String>) -> Result<Grant, String> {
    let schema = Schema::new(&schemars::schema_for!(Grant).to_value(), &[])?;
    let faults = schema.faults(&value, "");
    if !faults.is_empty() {
        return Err(sentence(&faults));
    }
    let grant = serde_path_to_error::deserialize(value).map_err(|error| error.to_string())?;
    let unknown: Vec<_> = secrets::unknown(&grant, there)
        .map(|(list, why)| format!("`{list}`: {why}"))
        .collect();
    if unknown.is_empty() {
        return Ok(grant);
    }
    Err(unknown.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(value: Value) -> Result<Grant, String> {
        read(value, &BTreeSet::from(["mail".to_owned()]))
    }

    #[test]
    fn every_fault_of_a_grant_is_told_at_once() {
        let why = told(json!({"hosts": "a", "state": 1, "prots": []})).unwrap_err();
        for part in [
            "`hosts`: ",
            "`state`: ",
            "`prots`: unknown field, expected one of",
        ] {
            assert!(why.contains(part), "{part} in {why}");
        }
        assert!(told(json!({"hosts": ["http://x/"]})).is_err());
        assert!(told(json!({"hosts": ["*.corp.example:443"], "digest": "ab".repeat(32)})).is_ok());
    }

    #[test]
    fn a_secret_that_is_not_there_cannot_be_granted() {
        assert!(told(json!({"secrets": ["mail"], "reveal": ["mail"]})).is_ok());
        let why = told(json!({"secrets": ["mial", "mail"], "reveal": ["token"]})).unwrap_err();
        assert_eq!(
            why,
            "`secrets`: there is no secret `mial` in [secrets]; known: `mail`; \
             `reveal`: there is no secret `token` in [secrets]; known: `mail`"
        );
    }
}
