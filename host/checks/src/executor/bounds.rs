//! The ranges of a kind's fields, held against every run: cheaper than the whole schema, which explains what this finds.
//!
//! Only of the fields themselves, not of what lies within them. Called by the adapter of native kinds.

use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Words of JSON Schema that bound a number, the length of a text, and the length of a list.
const LEAST: [&str; 3] = ["minimum", "minLength", "minItems"];
const MOST: [&str; 3] = ["maximum", "maxLength", "maxItems"];

/// The fields that have a range, and it.
pub(super) struct Bounds(Vec<(String, RangeInclusive<f64>)>);

impl Bounds {
    /// Of the properties of `schema`.
    pub(super) fn of(schema: &Value) -> Self {
        let properties = schema.get("properties").and_then(Value::as_object);
        let bounds = properties
            .into_iter()
            .flatten()
            .filter_map(|(name, field)| Some((name.clone(), range(field)?)));
        Self(bounds.collect())
    }

    /// Whether each of these fields that `config` has lies in its range.
    pub(super) fn admit(&self, config: &Map<String, Value>) -> bool {
        self.0.iter().all(|(name, range)| {
            let size = config.get(name).and_then(size);
            size.is_none_or(|size| range.contains(&size))
        })
    }
}

/// What the schema of a field bounds it to.
fn range(field: &Value) -> Option<RangeInclusive<f64>> {
    let bound = |words: [&str; 3]| words.iter().find_map(|word| field.get(word)?.as_f64());
    let (least, most) = (bound(LEAST), bound(MOST));
    (least.is_some() || most.is_some())
        .then(|| least.unwrap_or(f64::NEG_INFINITY)..=most.unwrap_or(f64::INFINITY))
}

/// What of a value is bounded.
#[expect(clippy::cast_precision_loss, reason = "no bound is near 2^53")]
fn size(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => Some(text.chars().count() as f64),
        Value::Array(items) => Some(items.len() as f64),
        _ => None,
    }
}
