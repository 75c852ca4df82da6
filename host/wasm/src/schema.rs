//! Makes a monitor's configuration fit for a plugin: checked against the kind's schema, defaults filled in.

use lapwing_checks::{CheckError, schema::Schema};
use serde_json::{Map, Value};

/// Most faults of a configuration that are told.
const SHOWN: usize = 20;

/// A configuration that fits.
#[derive(Debug)]
pub(crate) struct Fit {
    /// As the guest is given it.
    pub(crate) text: String,
    /// The same, read.
    pub(crate) value: Value,
    /// The fields it lacked, which have the schema's defaults.
    pub(crate) filled: Vec<String>,
}

/// The configuration with defaults filled in, or every fault with its field.
pub(crate) fn fit(schema: &Schema, config: &str) -> Result<Fit, CheckError> {
    let parsed = serde_json::from_str::<Map<String, Value>>(config);
    let mut map =
        parsed.map_err(|error| CheckError::InvalidConfig(format!("failed to parse config: {error}")))?;
    let filled = schema.fill(&mut map);
    let value = Value::Object(map);
    let faults = schema.faults(&value, "");
    if faults.is_empty() {
        let text = if filled.is_empty() {
            config.to_owned()
        } else {
            value.to_string()
        };
        return Ok(Fit { text, value, filled });
    }
    let mut lines: Vec<_> = faults
        .iter()
        .take(SHOWN)
        .map(|fault| crate::text::line(&fault.to_string(), 300))
        .collect();
    if faults.len() > SHOWN {
        lines.push(format!("and {} more", faults.len() - SHOWN));
    }
    Err(CheckError::InvalidConfig(lines.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        let source = json!({
            "type": "object",
            "required": ["host"],
            "additionalProperties": false,
            "properties": {
                "host": { "type": "string" },
                "port": { "type": "integer", "minimum": 1, "maximum": 65535, "default": 25 },
            },
        });
        Schema::new(&source, &[]).unwrap()
    }

    #[test]
    fn defaults_are_filled_in_and_all_else_is_left_as_written() {
        assert_eq!(
            fit(&schema(), r#"{"host":"h"}"#).unwrap().text,
            r#"{"host":"h","port":25}"#
        );
        assert_eq!(
            fit(&schema(), r#"{"host":"h", "port":1}"#).unwrap().text,
            r#"{"host":"h", "port":1}"#
        );
    }

    #[test]
    fn every_fault_is_named_with_its_field() {
        let text = fit(&schema(), r#"{"port":70000,"extra":1}"#)
            .unwrap_err()
            .to_string();
        for part in [
            "`port`: expected 1 to 65535",
            "`host`: is missing",
            "`extra`: unknown field, expected one of `host`, `port`",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        for text in ["[1", "[]", "{} x"] {
            assert!(
                fit(&schema(), text)
                    .unwrap_err()
                    .to_string()
                    .starts_with("failed to parse config")
            );
        }
    }
}
