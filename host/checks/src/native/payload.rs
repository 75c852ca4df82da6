//! Bytes as a configuration field: text, or an object that says how they are written; and what an answer must hold.

use super::pattern::Pattern;
use base64::{Engine, engine::general_purpose::STANDARD};
use regex::bytes::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use std::{borrow::Cow, fmt};

/// How much of what was heard a message quotes, in bytes.
const MAX_QUOTE: usize = 80;

/// What to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Payload {
    /// Nothing, but a datagram of it.
    #[default]
    Empty,
    /// As it is, line ends included.
    Text(String),
    /// Given as `{"hex": "…"}` or `{"base64": "…"}`.
    Bytes(Vec<u8>),
}

/// What to hear.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// A regular expression.
    Match(Pattern),
    /// These bytes, anywhere; given as [`Payload::Bytes`] is.
    Bytes(Vec<u8>),
}

impl Payload {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Wanted {
    /// The expression that says the same.
    pub(super) fn regex(&self) -> Result<Regex, regex::Error> {
        match self {
            Self::Match(pattern) => Ok(pattern.0.clone()),
            Self::Bytes(bytes) => {
                let escaped: Vec<String> = bytes.iter().map(|byte| format!(r"\x{byte:02x}")).collect();
                Regex::new(&format!("(?s-u){}", escaped.concat()))
            }
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match(pattern) => write!(f, "'{}'", pattern.0),
            Self::Bytes(bytes) => write!(f, "the bytes {}", hex::encode(bytes)),
        }
    }
}

/// The beginning of what was heard, as text.
pub(super) fn quote(heard: &[u8]) -> String {
    String::from_utf8_lossy(heard.get(..MAX_QUOTE).unwrap_or(heard))
        .escape_debug()
        .to_string()
}

/// How bytes are written.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Written {
    Hex(String),
    Base64(String),
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a text, {\"hex\": \"…\"} or {\"base64\": \"…\"}"
)]
enum Either {
    Text(String),
    Written(Written),
}

impl Written {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Hex(text) => {
                let digits: String = text.split_whitespace().collect();
                hex::decode(digits).map_err(|error| format!("hex: {error}"))
            }
            Self::Base64(text) => STANDARD
                .decode(text.trim())
                .map_err(|error| format!("base64: {error}")),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Either::deserialize(deserializer)? {
            Either::Text(text) if text.is_empty() => Ok(Self::Empty),
            Either::Text(text) => Ok(Self::Text(text)),
            Either::Written(written) => written.bytes().map(Self::Bytes).map_err(D::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Either::deserialize(deserializer)? {
            Either::Text(text) => Pattern::compile(&text).map(Self::Match).map_err(D::Error::custom),
            Either::Written(written) => written.bytes().map(Self::Bytes).map_err(D::Error::custom),
        }
    }
}

/// The schema of both: they differ in what a text means.
fn schema(text: &str) -> Schema {
    let written = |name: &str, pattern: &str| {
        json_schema!({
            "type": "object",
            "properties": { name: { "type": "string", "pattern": pattern } },
            "required": [name],
            "additionalProperties": false,
        })
    };
    json_schema!({
        "description": format!("{text}, or bytes as `{{\"hex\": \"…\"}}` or `{{\"base64\": \"…\"}}`."),
        "anyOf": [
            { "type": "string" },
            written("hex", r"^([0-9A-Fa-f\s]{2})*[0-9A-Fa-f\s]?$"),
            written("base64", r"^[A-Za-z0-9+/=\s]*$"),
        ],
    })
}

impl JsonSchema for Payload {
    fn schema_name() -> Cow<'static, str> {
        "Payload".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema("Text, sent as it is")
    }
}

impl JsonSchema for Wanted {
    fn schema_name() -> Cow<'static, str> {
        "Wanted".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema("A regular expression (RE2 syntax), matched anywhere")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bytes_are_written_as_text_hex_or_base64() {
        for (written, bytes) in [
            (json!("a\r\n"), &b"a\r\n"[..]),
            (json!({ "hex": "00 ff\n7F" }), &[0, 255, 127]),
            (json!({ "base64": "AP9/" }), &[0, 255, 127]),
            (json!(""), &[]),
        ] {
            let payload: Payload = serde_json::from_value(written).unwrap();
            assert_eq!(payload.as_bytes(), bytes);
        }
        for broken in [
            json!({ "hex": "0" }),
            json!({ "base64": "*" }),
            json!({ "oct": "7" }),
            json!(7),
        ] {
            assert!(
                serde_json::from_value::<Payload>(broken.clone()).is_err(),
                "{broken}"
            );
        }
    }

    #[test]
    fn a_pattern_that_is_short_only_to_read_is_refused() {
        let error = serde_json::from_value::<Wanted>(json!("x{1000}{100}")).unwrap_err();
        assert!(error.to_string().contains("once compiled"), "{error}");
    }

    #[test]
    fn wanted_bytes_are_found_as_they_are() {
        let wanted: Wanted = serde_json::from_value(json!({ "hex": "0a2eff" })).unwrap();
        let regex = wanted.regex().unwrap();
        assert!(regex.is_match(b"\x00\n.\xff\x00") && !regex.is_match(b"\nx\xff"));
        assert_eq!(wanted.to_string(), "the bytes 0a2eff");
    }
}
