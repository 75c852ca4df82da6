//! The JSON Schema of one kind: checked once at load, then every configuration is checked against it.

use lapwing_checks::CheckError;
use serde_json::{Map, Value};

/// Most faults of a configuration that are told.
const SHOWN: usize = 20;

/// A compiled schema with the defaults it gives.
#[derive(Debug)]
pub(crate) struct Schema {
    validator: jsonschema::Validator,
    defaults: Map<String, Value>,
    sensitive: Vec<String>,
}

impl Schema {
    /// Compiles a self-contained JSON Schema 2020-12. `Err` says what is wrong with it.
    pub(crate) fn new(schema: &Value, sensitive: &[String]) -> Result<Self, String> {
        if !schema.is_object() {
            return Err("it is not a JSON object".to_owned());
        }
        if let Some(reference) = remote_reference(schema) {
            return Err(format!(
                "`$ref` to `{reference}`: only references within the schema are followed"
            ));
        }
        jsonschema::draft202012::meta::validate(schema).map_err(|error| located(&error, &[]))?;
        let validator = jsonschema::draft202012::options()
            // Linear time, also for patterns and texts made to be slow.
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .should_validate_formats(true)
            .build(schema)
            .map_err(|error| located(&error, &[]))?;
        Ok(Self {
            validator,
            defaults: defaults(schema),
            sensitive: sensitive.to_vec(),
        })
    }

    /// The configuration with defaults filled in, or every fault with its place.
    pub(crate) fn fit(&self, config: &str) -> Result<String, CheckError> {
        let value = serde_json::from_str(config);
        let mut value: Value =
            value.map_err(|error| CheckError::InvalidConfig(format!("failed to parse config: {error}")))?;
        let filled = self.fill(&mut value);
        self.validate(&value).map_err(CheckError::InvalidConfig)?;
        Ok(if filled {
            value.to_string()
        } else {
            config.to_owned()
        })
    }

    /// Every fault, as `/pointer: text`, joined by `; `.
    pub(crate) fn validate(&self, config: &Value) -> Result<(), String> {
        let mut faults: Vec<String> = self
            .validator
            .iter_errors(config)
            .map(|error| located(&error, &self.sensitive))
            .collect();
        if faults.is_empty() {
            return Ok(());
        }
        let more = faults.len().saturating_sub(SHOWN);
        faults.truncate(SHOWN);
        let more = if more == 0 {
            String::new()
        } else {
            format!("; and {more} more")
        };
        Err(faults.join("; ") + &more)
    }

    fn fill(&self, config: &mut Value) -> bool {
        let Value::Object(config) = config else {
            return false;
        };
        let before = config.len();
        for (name, default) in &self.defaults {
            config.entry(name).or_insert_with(|| default.clone());
        }
        config.len() != before
    }
}

/// The `default`s of the top-level properties.
fn defaults(schema: &Value) -> Map<String, Value> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let given = properties.into_iter().flatten();
    given
        .filter_map(|(name, schema)| Some((name.clone(), schema.get("default")?.clone())))
        .collect()
}

/// An error with its place; values at or around a sensitive place are not shown.
fn located(error: &jsonschema::ValidationError<'_>, sensitive: &[String]) -> String {
    let place = error.instance_path().to_string();
    let secret = sensitive
        .iter()
        .any(|secret| secret.starts_with(&place) || place.starts_with(secret));
    let text = if secret {
        error.masked().to_string()
    } else {
        error.to_string()
    };
    let text = crate::text::line(&text, 300);
    if place.is_empty() {
        text
    } else {
        format!("`{place}`: {text}")
    }
}

/// The first reference that leads out of the schema.
fn remote_reference(schema: &Value) -> Option<&str> {
    match schema {
        Value::Object(map) => map.iter().find_map(|(key, value)| match value.as_str() {
            Some(target) if matches!(key.as_str(), "$ref" | "$dynamicRef") && !target.starts_with('#') => {
                Some(target)
            }
            _ => remote_reference(value),
        }),
        Value::Array(items) => items.iter().find_map(remote_reference),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        let schema = json!({
            "type": "object",
            "required": ["host"],
            "additionalProperties": false,
            "properties": {
                "host": { "type": "string" },
                "port": { "type": "integer", "minimum": 1, "maximum": 65535, "default": 25 },
                "password": { "type": "string", "maxLength": 5 },
            },
        });
        Schema::new(&schema, &["/password".to_owned()]).unwrap()
    }

    #[test]
    fn defaults_are_filled_in() {
        assert_eq!(
            schema().fit(r#"{"host":"h"}"#).unwrap(),
            r#"{"host":"h","port":25}"#
        );
        assert_eq!(
            schema().fit(r#"{"host":"h", "port":1}"#).unwrap(),
            r#"{"host":"h", "port":1}"#
        );
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let text = schema()
            .fit(r#"{"port":70000,"extra":1}"#)
            .unwrap_err()
            .to_string();
        for part in [
            "`/port`: 70000",
            "\"host\" is a required property",
            "'extra' was unexpected",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert!(
            schema()
                .fit("[1")
                .unwrap_err()
                .to_string()
                .starts_with("failed to parse config")
        );
    }

    #[test]
    fn secrets_stay_out_of_error_texts() {
        for config in [
            r#"{"host":"h","password":"hunter22"}"#,
            r#"{"host":"h","password":["hunter22"]}"#,
        ] {
            let text = schema().fit(config).unwrap_err().to_string();
            assert!(text.contains("/password") && !text.contains("hunter22"), "{text}");
        }
    }

    #[test]
    fn unfit_schemas_are_refused() {
        for (schema, part) in [
            (json!([]), "not a JSON object"),
            (json!({"type": "strin"}), "strin"),
            (
                json!({"$ref": "https://example.com/x.json"}),
                "only references within",
            ),
            (
                json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
                "only references within",
            ),
            (json!({"properties": {"a": {"$ref": "#/$defs/none"}}}), "none"),
            (json!({"properties": {"a": {"pattern": "("}}}), "("),
        ] {
            let error = Schema::new(&schema, &[]).unwrap_err();
            assert!(error.contains(part), "{schema}: {error}");
        }
    }

    #[test]
    fn a_slow_pattern_cannot_hold_up_the_worker() {
        let schema = Schema::new(&json!({"properties": {"a": {"pattern": "^(a+)+$"}}}), &[]).unwrap();
        let begun = std::time::Instant::now();
        assert!(schema.validate(&json!({"a": "a".repeat(40) + "!"})).is_err());
        assert!(begun.elapsed() < std::time::Duration::from_secs(1));
    }
}
