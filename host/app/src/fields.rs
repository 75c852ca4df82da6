//! The fields that a JSON Schema describes, in words: for the reference pages, and for who asks what a plugin takes.
//!
//! The schema may be a plugin's: however it refers to itself, this ends soon.

use lapwing_checks::schema::DURATION_FORMAT;
use serde_json::{Map, Value};

/// How deep a type is looked into.
const DEPTH: usize = 4;
/// How many alternatives of a type are told.
const OPTIONS: usize = 16;

/// One field of a table.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    /// What it may be, in a few words.
    pub(crate) kind: String,
    /// As JSON.
    pub(crate) default: Option<String>,
    pub(crate) required: bool,
    pub(crate) about: &'a str,
    /// Of a table: its own schema, or that of its entries where their names are the user's.
    pub(crate) inner: Option<&'a Value>,
    /// Of a list of tables: the schema of one.
    pub(crate) item: Option<&'a Value>,
}

/// The fields of `table`, which is `schema` or a part of it.
pub(crate) fn of<'a>(schema: &'a Value, table: &'a Value) -> impl Iterator<Item = Field<'a>> {
    let required = table.get("required").and_then(Value::as_array);
    properties(table).map(move |(name, property)| {
        let resolved = resolve(schema, property);
        let has_fields = |table: &&Value| table.get("properties").is_some();
        let about = property
            .get("description")
            .or_else(|| resolved.get("description"));
        let default = property.get("default").filter(|default| !default.is_null());
        let item = resolved.get("items").map(|items| resolve(schema, items));
        Field {
            name,
            kind: kind(schema, property, DEPTH),
            default: default.map(Value::to_string),
            required: required.is_some_and(|names| names.iter().any(|required| required == name)),
            about: about.and_then(Value::as_str).unwrap_or(""),
            inner: Some(resolved).filter(has_fields).or(named(schema, resolved)),
            item: item.filter(has_fields),
        }
    })
}

/// What a property may be, in a few words.
fn kind(schema: &Value, property: &Value, depth: usize) -> String {
    let Some(depth) = depth.checked_sub(1) else {
        return "any".to_owned();
    };
    let inner = resolve(schema, property);
    if let Some(options) = ["anyOf", "oneOf"]
        .iter()
        .find_map(|key| inner.get(key)?.as_array())
    {
        let options = options.iter().take(OPTIONS);
        let mut kinds: Vec<String> = options.map(|option| kind(schema, option, depth)).collect();
        kinds.dedup();
        kinds.retain(|kind| kind != "null");
        return kinds.join(" or ");
    }
    if let Some(words) = inner.get("enum").and_then(Value::as_array) {
        return words
            .iter()
            .filter(|word| !word.is_null())
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(word) = inner.get("const") {
        return format!("`{word}`");
    }
    if inner.get("format").and_then(Value::as_str) == Some(DURATION_FORMAT) {
        return "duration".to_owned();
    }
    match inner.get("type") {
        Some(Value::String(name)) if name == "array" => {
            let items = inner
                .get("items")
                .map_or_else(|| "any".to_owned(), |items| kind(schema, items, depth));
            format!("list of {items}")
        }
        Some(Value::String(name)) => format!("{name}{}", bounds(inner)),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "any".to_owned(),
    }
}

/// The bounds of a number, to go with its type.
fn bounds(number: &Value) -> String {
    let (least, most) = (number.get("minimum"), number.get("maximum"));
    match (least.filter(|least| least.as_f64() != Some(0.0)), most) {
        (Some(least), Some(most)) => format!(" {least} to {most}"),
        (Some(least), None) => format!(" from {least}"),
        (None, Some(most)) => format!(" up to {most}"),
        (None, None) => String::new(),
    }
}

/// Of a table whose keys are names of the user's: what stands under each.
pub(crate) fn named<'a>(schema: &'a Value, table: &'a Value) -> Option<&'a Value> {
    let entry = resolve(schema, table.get("additionalProperties")?);
    entry.get("properties").map(|_| entry)
}

/// The properties of a table, with their schemas.
pub(crate) fn properties(table: &Value) -> impl Iterator<Item = (&String, &Value)> {
    table
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
}

/// Follows a reference within the schema.
pub(crate) fn resolve<'a>(schema: &'a Value, property: &'a Value) -> &'a Value {
    let reference = property
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| reference.strip_prefix('#'));
    reference
        .and_then(|pointer| schema.pointer(pointer))
        .unwrap_or(property)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_that_refers_to_itself_is_told_all_the_same() {
        let again = json!({ "$ref": "#/$defs/a" });
        let schema = json!({
            "properties": { "x": again, "y": { "type": "array", "items": { "$ref": "#/properties/y" } } },
            "$defs": { "a": { "anyOf": vec![again; 1000] } },
        });
        let told: Vec<_> = of(&schema, &schema).map(|field| field.kind).collect();
        assert_eq!(told, ["any", "list of list of list of list of any"]);
    }

    #[test]
    fn a_number_is_told_with_its_bounds() {
        let schema = json!({ "properties": {
            "a": { "type": "integer", "minimum": 1, "maximum": 65535 },
            "b": { "type": "number", "minimum": 0.0, "maximum": 0.5 },
            "c": { "type": "integer", "minimum": -3 },
            "d": { "type": "integer", "minimum": 0 },
        } });
        let told: Vec<_> = of(&schema, &schema).map(|field| field.kind).collect();
        assert_eq!(
            told,
            [
                "integer 1 to 65535",
                "number up to 0.5",
                "integer from -3",
                "integer"
            ]
        );
    }
}
