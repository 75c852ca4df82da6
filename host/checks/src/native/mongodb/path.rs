//! The path into a reply, and what is found there: Peekaping's own dialect, which knows objects only.

use bson::{Bson, RawBsonRef, RawDocument};
use serde_json::{Map, Value};

/// Documents nest no deeper than this in MongoDB.
const MOST_DEPTH: usize = 100;
/// Largest document or list that is made into a text, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// What stands at a path.
pub(super) enum Found<'a> {
    Stored(RawBsonRef<'a>),
    /// Within what extended JSON makes of a value: `$date`, `$oid`.
    Written(Value),
}

impl Found<'_> {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Stored(RawBsonRef::Null) | Self::Written(Value::Null))
    }

    /// As relaxed extended JSON; `None` when it is too large, too deep or broken.
    pub(super) fn json(self) -> Option<Value> {
        match self {
            Self::Stored(RawBsonRef::Document(document)) if document.as_bytes().len() > MOST_BYTES => None,
            Self::Stored(RawBsonRef::Array(list)) if list.as_bytes().len() > MOST_BYTES => None,
            Self::Stored(value) => json(value, 0),
            Self::Written(value) => Some(value),
        }
    }
}

/// What is at `path`.
pub(super) fn find<'a>(reply: &'a RawDocument, path: &str) -> Result<Found<'a>, String> {
    let path = path.strip_prefix('$').unwrap_or(path);
    let path = path.strip_prefix('.').unwrap_or(path);
    let mut found = Found::Stored(RawBsonRef::Document(reply));
    if path.is_empty() {
        return Ok(found);
    }
    for key in keys(path) {
        let missing = || format!("field '{key}' not found");
        let no_object = || format!("cannot access field '{key}' on non-object type");
        found = match found {
            Found::Stored(RawBsonRef::Document(document)) => {
                let value = document.get(&key).map_err(|_| "the reply is broken".to_owned())?;
                Found::Stored(value.ok_or_else(missing)?)
            }
            Found::Stored(RawBsonRef::Array(_)) => return Err(no_object()),
            found => match found.json() {
                Some(Value::Object(mut object)) => Found::Written(object.remove(&key).ok_or_else(missing)?),
                _ => return Err(no_object()),
            },
        };
    }
    Ok(found)
}

/// Not left to the library, which goes as deep as a server makes it.
fn json(value: RawBsonRef<'_>, depth: usize) -> Option<Value> {
    match value {
        _ if depth > MOST_DEPTH => None,
        RawBsonRef::Document(document) => {
            let mut object = Map::new();
            for field in document {
                let (key, value) = field.ok()?;
                object.insert(key.as_str().to_owned(), json(value, depth + 1)?);
            }
            Some(Value::Object(object))
        }
        RawBsonRef::Array(items) => {
            let items = items.into_iter().map(|item| json(item.ok()?, depth + 1));
            items.collect::<Option<_>>().map(Value::Array)
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => Some(code.code.into()),
        value => Some(Bson::try_from(value).ok()?.into_relaxed_extjson()),
    }
}

/// Parts between dots; `\.` is a dot.
fn keys(path: &str) -> Vec<String> {
    let (mut keys, mut letters) = (vec![String::new()], path.chars().peekable());
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '.' => {
                keys.push(String::new());
                continue;
            }
            '\\' if letters.peek() == Some(&'.') => letters.next().unwrap_or_default(),
            letter => letter,
        };
        if let Some(key) = keys.last_mut() {
            key.push(letter);
        }
    }
    keys
}

/// A value as text: strings without quotes, whole numbers without a point.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Equal as text, or as numbers.
pub(super) fn equals(value: &Value, expected: &str) -> bool {
    let value = text(value);
    let number = |text: &str| text.parse::<f64>().ok();
    value == expected
        || number(&value)
            .zip(number(expected))
            .is_some_and(|(one, other)| one.total_cmp(&other).is_eq())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Document, RawDocumentBuf, doc, oid::ObjectId};
    use serde_json::json;

    fn at(reply: &Document, path: &str) -> Result<Option<Value>, String> {
        let reply = RawDocumentBuf::try_from(reply).unwrap();
        find(&reply, path).map(Found::json)
    }

    #[test]
    fn paths_lead_through_objects_only() {
        let id = ObjectId::from_bytes([7; 12]);
        let reply = doc! { "ok": 1.0, "a": { "b.c": { "d": "x" } }, "l": [1_i32], "n": null, "id": id };
        for (path, found) in [
            ("$.a", Ok(json!({ "b.c": { "d": "x" } }))),
            ("$.ok", Ok(json!(1.0))),
            ("ok", Ok(json!(1.0))),
            (r"a.b\.c.d", Ok(json!("x"))),
            ("n", Ok(Value::Null)),
            ("l", Ok(json!([1]))),
            ("id.$oid", Ok(json!("070707070707070707070707"))),
            ("a.x", Err("field 'x' not found")),
            ("id.x", Err("field 'x' not found")),
            ("l.0", Err("cannot access field '0' on non-object type")),
            ("ok.x", Err("cannot access field 'x' on non-object type")),
        ] {
            let found = found.map(Some).map_err(str::to_owned);
            assert_eq!(at(&reply, path), found, "{path}");
        }
        for path in ["$", ""] {
            assert_eq!(at(&reply, path).unwrap().unwrap()["ok"], 1.0);
        }
    }

    #[test]
    fn what_is_large_or_deep_is_not_written_out() {
        let mut deep = doc! {};
        for _ in 0..=MOST_DEPTH {
            deep = doc! { "a": deep };
        }
        let large = vec![Bson::Null; MOST_BYTES / 4];
        let reply = doc! { "large": large, "deep": deep };
        assert_eq!((at(&reply, "large"), at(&reply, "deep")), (Ok(None), Ok(None)));
        assert!(at(&reply, "deep.a").unwrap().is_some());
        let reply = RawDocumentBuf::try_from(&reply).unwrap();
        assert!(!find(&reply, "large").unwrap().is_null());
    }

    #[test]
    fn values_are_equal_as_text_or_as_numbers() {
        for (value, expected, equal) in [
            (json!(1.0), "1", true),
            (json!(1), "1.0", true),
            (json!("1"), "1.00", true),
            (json!(true), "true", true),
            (json!("up"), "up", true),
            (json!("up"), "UP", false),
            (json!(1.5), "1", false),
            (json!("NaN"), "0", false),
        ] {
            assert_eq!(equals(&value, expected), equal, "{value} {expected}");
        }
    }
}
