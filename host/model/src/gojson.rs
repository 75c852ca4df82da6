//! JSON objects read the way Go's `encoding/json` reads them, because Peekaping's producer and its users rely on it.
//!
//! Keys match without regard to case (an exact match is not preferred), of duplicate keys the last one wins, and
//! `null` leaves a field at its zero value. Source: Go's `encoding/json` documentation of `Unmarshal`.

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Reads one JSON object, its keys respelled to the names in `fields` where they differ only in case, `null`s left
/// out. Keys that match no field are kept as they are: whether those are an error is the caller's decision.
///
/// Bytes after the object are an error.
pub fn object(text: &[u8], fields: &[&str]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let map = reader.deserialize_map(GoObject { fields })?;
    reader.end()?;
    Ok(map)
}

/// As [`object`], from a value already read.
pub fn fold(value: Map<String, Value>, fields: &[&str]) -> Map<String, Value> {
    let kept = value.into_iter().filter(|(_, value)| !value.is_null());
    kept.map(|(key, value)| (spell(key, fields), value)).collect()
}

/// An error's text without the value that is wrong: it may be a secret, and the text is logged and stored.
pub fn without_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // serde's form: `invalid type: string "…", expected …`.
    let Some((head, expected)) = text.rsplit_once(", expected ") else {
        return text;
    };
    let Some((what, value)) = head.split_once(": ") else {
        return text;
    };
    let kind: String = value
        .chars()
        .take_while(|c| c.is_ascii_alphabetic() || *c == ' ')
        .collect();
    format!("{what}: {}, expected {expected}", kind.trim_end())
}

fn spell(key: String, fields: &[&str]) -> String {
    match fields.iter().find(|field| field.eq_ignore_ascii_case(&key)) {
        Some(field) => (*field).to_owned(),
        None => key,
    }
}

struct GoObject<'a> {
    fields: &'a [&'a str],
}

impl<'de> Visitor<'de> for GoObject<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, value)) = access.next_entry::<String, Value>().map_err(A::Error::custom)? {
            if !value.is_null() {
                map.insert(spell(key, self.fields), value);
            }
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_without_case_and_the_last_one_wins() {
        let map = object(br#"{"URL":"a","url":"b","Url":null,"other":1}"#, &["url"]).unwrap();
        assert_eq!(Value::Object(map), serde_json::json!({"url": "b", "other": 1}));
    }

    #[test]
    fn anything_but_one_object_is_refused() {
        for text in ["", "[]", "1", "{\"a\":1} x", "{\"a\":", "{}{}"] {
            assert!(object(text.as_bytes(), &[]).is_err(), "{text:?}");
        }
    }
}
