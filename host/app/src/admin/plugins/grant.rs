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

/// Files of one plugin that may be granted something each: the file with the decisions is read again and again.
const MOST_GRANTS: usize = 16;
/// Longest grant, in bytes of JSON.
const GRANT_BYTES: usize = 64 << 10;

/// Grants something to a plugin beyond its monitors' own targets, from the next run on, in place of what was granted by
/// API before (for the same `digest`, or for any file of the name). What the configuration file grants stays.
#[utoipa::path(put, path = "/api/v1/plugins/{name}/grants", tag = "plugins",
    request_body(content = ref(refer::<Grant>())),
    responses(
        (status = 200, description = "The plugin as it is now", body = ref(refer::<Inspection>())),
        (status = 409, description = "`too_many_grants`: 16 other files of the plugin are granted something", body = ref(refer::<Envelope>())),
        (status = 422, description = "`invalid_grant`, with every fault", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn grant(plugin: Named, Asked(value): Asked<Value>) -> Result<Json<Inspection>, ApiError> {
    let grant = read(value, &plugin.state.secrets)
        .map_err(|why| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_grant", why))?;
    let decisions = plugin
        .state
        .prober
        .kinds
        .folder()
        .map(|folder| folder.data().decisions());
    let made = decisions.and_then(|decisions| decisions.grants.get(&plugin.name).cloned());
    let made = made
        .as_ref()
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let digest = grant.digest.as_deref();
    let others = made
        .iter()
        .filter(|made| made.get("digest").and_then(Value::as_str) != digest);
    if others.count() >= MOST_GRANTS {
        let message =
            format!("{MOST_GRANTS} other files of the plugin are granted something; revoke that first");
        return Err(ApiError::new(StatusCode::CONFLICT, "too_many_grants", message));
    }
    plugin
        .decide(move |folder, name| consent::grant(folder, name, grant))
        .await
}

/// The grant, or everything that is wrong with it; `there` are the names of the secrets it can mean.
fn read(value: Value, there: &BTreeSet<String>) -> Result<Grant, String> {
    if value.to_string().len() > GRANT_BYTES {
        return Err(format!("a grant of more than {} KiB", GRANT_BYTES >> 10));
    }
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
        let why = told(json!({"hosts": vec!["a.example:443"; 10_000]})).unwrap_err();
        assert_eq!(why, "a grant of more than 64 KiB");
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
