//! Holds a value against a JSON Schema and says everything that is wrong with it, in words that help.
//!
//! Used for the configuration file and for the configuration of every kind, native or plugin.

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::Value;
use std::time::Duration;

/// The format of durations as people write them: `500ms`, `10s`, `1m 30s`.
pub const DURATION_FORMAT: &str = "lapwing-duration";

/// Compiles a schema (2020-12 unless it says otherwise). References to other documents are never followed.
pub fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .should_validate_formats(true)
        .with_format(DURATION_FORMAT, is_duration)
        .build(schema)
        .map_err(|error| error.to_string())
}

/// Everything that is wrong with `value`, as (field, message); the field is `root` and the path below it, spelled
/// `monitors[2].interval`.
pub fn faults(schema: &Value, value: &Value, root: &str) -> Vec<(String, String)> {
    match compile(schema) {
        Ok(validator) => faults_of(&validator, schema, value, root),
        Err(message) => vec![(root.to_owned(), format!("its schema is broken: {message}"))],
    }
}

/// As [`faults`], with a schema compiled before.
pub fn faults_of(validator: &Validator, schema: &Value, value: &Value, root: &str) -> Vec<(String, String)> {
    validator
        .iter_errors(value)
        .flat_map(|error| explain(schema, &error, root))
        .collect()
}

fn explain(schema: &Value, error: &ValidationError<'_>, root: &str) -> Vec<(String, String)> {
    let field = field(root, error.instance_path().as_str());
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let known = known_properties(schema, error.schema_path().as_str());
            let message = format!("unknown field, expected one of {known}");
            unexpected
                .iter()
                .map(|name| (join(&field, name), message.clone()))
                .collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![(join(&field, name), "is missing".to_owned())]
        }
        ValidationErrorKind::Format { format } if format == DURATION_FORMAT => {
            vec![(
                field,
                format!(
                    "{} is not a duration such as `500ms`, `10s` or `1m 30s`",
                    error.instance()
                ),
            )]
        }
        ValidationErrorKind::Enum { .. }
        | ValidationErrorKind::AnyOf { .. }
        | ValidationErrorKind::OneOfNotValid { .. } => {
            let words = words(schema, error.schema_path().as_str());
            let message = if words.is_empty() {
                error.to_string()
            } else {
                format!("{} is not one of {}", error.instance(), words.join(", "))
            };
            vec![(field, message)]
        }
        _ => vec![(field, error.to_string())],
    }
}

/// The properties beside the `additionalProperties` keyword at `path` of the schema.
fn known_properties(schema: &Value, path: &str) -> String {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let properties = schema
        .pointer(parent)
        .and_then(|object| object.get("properties"))
        .and_then(Value::as_object);
    let names: Vec<String> = properties
        .map(|map| map.keys().map(|name| format!("`{name}`")).collect())
        .unwrap_or_default();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// The words that the `enum`, `anyOf` or `oneOf` keyword at `path` of the schema leaves to choose from; none when it
/// is about more than words.
fn words(schema: &Value, path: &str) -> Vec<String> {
    let Some(options) = schema.pointer(path).and_then(Value::as_array) else {
        return Vec::new();
    };
    if path.ends_with("/enum") {
        return options.iter().map(Value::to_string).collect();
    }
    let choices = |option: &Value| match (option.get("const"), option.get("enum").and_then(Value::as_array)) {
        (Some(word), _) => Some(vec![word.to_string()]),
        (None, Some(words)) => Some(words.iter().map(Value::to_string).collect()),
        (None, None) => None,
    };
    options
        .iter()
        .map(choices)
        .collect::<Option<Vec<_>>>()
        .unwrap_or_default()
        .concat()
}

/// A JSON pointer as people write paths: `/monitors/2/interval` → `monitors[2].interval`.
fn field(root: &str, pointer: &str) -> String {
    pointer.split('/').skip(1).fold(root.to_owned(), |path, part| {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.parse::<usize>().is_ok() {
            format!("{path}[{part}]")
        } else {
            join(&path, &part)
        }
    })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn is_duration(text: &str) -> bool {
    text.parse::<jiff::SignedDuration>()
        .is_ok_and(|duration| Duration::try_from(duration).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_fault_is_found_at_once_and_named() {
        let schema = json!({
            "type": "object",
            "properties": { "list": { "type": "array", "items": { "$ref": "#/$defs/Item" } }, "port": { "type": "integer" } },
            "required": ["port"],
            "$defs": { "Item": {
                "type": "object",
                "properties": { "every": { "type": "string", "format": DURATION_FORMAT }, "name": { "type": "string" } },
                "additionalProperties": false,
            } },
        });
        let value = json!({ "list": [{ "every": "10s" }, { "every": "soon", "nmae": 1, "name": 2 }] });
        let mut found = faults(&schema, &value, "config");
        found.sort();
        let expected = [
            (
                "config.list[1].every",
                "\"soon\" is not a duration such as `500ms`, `10s` or `1m 30s`",
            ),
            ("config.list[1].name", "2 is not of type \"string\""),
            (
                "config.list[1].nmae",
                "unknown field, expected one of `every`, `name`",
            ),
            ("config.port", "is missing"),
        ];
        let found: Vec<_> = found
            .iter()
            .map(|(field, message)| (field.as_str(), message.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_word_that_is_not_among_the_choices_is_told_all_of_them() {
        let schema = json!({ "properties": {
            "mode": { "oneOf": [{ "const": "open" }, { "enum": ["a", "b"] }] },
            "level": { "enum": ["one", "two", "three", "four"] },
        } });
        let mut found = faults(&schema, &json!({ "mode": "x", "level": "five" }), "");
        found.sort();
        let found: Vec<_> = found.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(
            found,
            [
                r#""five" is not one of "one", "two", "three", "four""#,
                r#""x" is not one of "open", "a", "b""#
            ]
        );
    }

    #[test]
    fn a_schema_that_points_elsewhere_is_refused() {
        assert!(compile(&json!({ "$ref": "http://127.0.0.1:1/schema.json" })).is_err());
    }
}
