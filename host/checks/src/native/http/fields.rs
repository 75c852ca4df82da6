//! Types of single configuration fields: each reads its text once and refuses what it cannot mean.

use http::{HeaderMap, HeaderName, HeaderValue, header, uri::Authority};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};
use std::{borrow::Cow, fmt, ops::RangeInclusive};

/// Codes that count as good: a class (`2XX`), one code (`404`) or a range (`200-299`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// 2XX.
    pub(super) const SUCCESS: Self = Self {
        first: 200,
        last: 299,
    };

    pub(super) fn codes(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl TryFrom<String> for StatusRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let code = |text: &str| {
            text.parse::<u16>()
                .ok()
                .filter(|code| (100..=599).contains(code) && text.len() == 3)
        };
        let class = match text.as_bytes() {
            [digit @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Some(u16::from(digit - b'0') * 100),
            _ => None,
        };
        let range = class
            .map(|first| (first, first + 99))
            .or_else(|| match text.split_once('-') {
                Some((first, last)) => code(first.trim()).zip(code(last.trim())),
                None => code(&text).map(|code| (code, code)),
            });
        match range {
            Some((first, last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!(
                "`{text}` is no class (`2XX`), code (`404`) or range (`200-299`)"
            )),
        }
    }
}

impl JsonSchema for StatusRange {
    fn schema_name() -> Cow<'static, str> {
        "StatusRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A class (`2XX`), a code (`404`) or a range (`200-299`).",
            "pattern": "^([1-5][xX][xX]|[1-5][0-9][0-9]( *- *[1-5][0-9][0-9])?)$",
        })
    }
}

/// Request headers, as a JSON object of strings or as the text of one.
#[derive(Debug, Clone, Default)]
pub struct Headers(pub(in crate::native) HeaderMap);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let unfit = |why: &dyn fmt::Display| D::Error::custom(format!("invalid headers json: {why}"));
        let object = match Value::deserialize(deserializer)? {
            Value::Object(object) => object,
            Value::String(text) if text.trim().is_empty() => Map::new(),
            // Any value first, then its type: a complaint about a type would quote the text, and that is a secret.
            Value::String(text) => match serde_json::from_str(&text).map_err(|error| unfit(&error))? {
                Value::Object(object) => object,
                _ => return Err(unfit(&"expected an object of strings")),
            },
            _ => {
                return Err(D::Error::custom(
                    "expected an object of strings, or the text of one",
                ));
            }
        };
        let mut headers = HeaderMap::new();
        for (name, value) in object {
            let fail = |why: &str| D::Error::custom(format!("header `{name}`: {why}"));
            let Value::String(value) = value else {
                return Err(fail("expected a string"));
            };
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| fail("not a header name"))?;
            if key == header::HOST && !is_authority(&value) {
                return Err(fail("expected a host, and a port where it is not the usual one"));
            }
            let mut value =
                HeaderValue::from_str(&value).map_err(|_| fail("has characters no header may have"))?;
            value.set_sensitive(is_secret(&key));
            headers.append(key, value);
        }
        Ok(Self(headers))
    }
}

fn is_authority(text: &str) -> bool {
    !text.contains('@') && text.parse::<Authority>().is_ok()
}

/// Anything a user adds may be a secret of the host it was meant for, but for what every client says of itself and of
/// its body.
fn is_secret(name: &HeaderName) -> bool {
    let name = name.as_str();
    !(name.starts_with("accept") || name.starts_with("content-") || name == "user-agent")
}

impl JsonSchema for Headers {
    fn schema_name() -> Cow<'static, str> {
        "Headers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An object of strings, or the text of one.",
            "anyOf": [{ "type": "object", "additionalProperties": { "type": "string" } }, { "type": "string" }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
        StatusRange::try_from(text.to_owned()).map(StatusRange::codes)
    }

    #[test]
    fn statuses_are_classes_codes_or_ranges() {
        assert!(range("2XX").unwrap().contains(&204) && !range("2xx").unwrap().contains(&300));
        assert!(range("404").unwrap().contains(&404) && !range("404").unwrap().contains(&405));
        assert!(range("200-206").unwrap().contains(&206) && !range("200 - 206").unwrap().contains(&207));
        for text in [
            "", "2X", "6XX", "99", "600", "299-200", "200-", "abc", "+20", "2XX-3XX",
        ] {
            assert!(range(text).unwrap_err().contains(&format!("`{text}`")));
        }
    }

    #[test]
    fn headers_are_an_object_or_its_text() {
        for json in [r#"{"X-A":"1"}"#, r#""{\"X-A\":\"1\"}""#] {
            let headers: Headers = serde_json::from_str(json).unwrap();
            assert_eq!(headers.0.get("x-a").unwrap(), "1");
        }
        for host in ["a", "a.example:8080", "[::1]:80", "127.0.0.1"] {
            assert!(serde_json::from_value::<Headers>(serde_json::json!({ "Host": host })).is_ok());
        }
        assert!(serde_json::from_str::<Headers>(r#""""#).unwrap().0.is_empty());
        for (json, why) in [
            (r#"{"X-A":1}"#, "header `X-A`: expected a string"),
            (r#"{"X A":"1"}"#, "header `X A`: not a header name"),
            (r#"{"X-A":"a\nb"}"#, "header `X-A`: has characters"),
            (r#"{"Host":"a b"}"#, "header `Host`: expected a host"),
            (r#"{"host":"u:hunter2@a"}"#, "header `host`: expected a host"),
            (r#""{""#, "invalid headers json"),
            (r#""\"hunter2\"""#, "invalid headers json: expected an object"),
            ("7", "expected an object"),
        ] {
            let text = serde_json::from_str::<Headers>(json).unwrap_err().to_string();
            assert!(text.contains(why) && !text.contains("hunter2"), "{text}");
        }
    }
}
