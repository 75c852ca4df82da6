//! A regular expression as a configuration field: compiled when it is read, so that a broken one is named at once.

use regex::bytes::{Regex, RegexBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use std::borrow::Cow;

/// What a pattern may take compiled, in bytes: `x{1000}{1000}` is short only to read.
const MAX_SIZE: usize = 1024 * 1024;

/// Matched anywhere, in linear time; over bytes, `(?-u)` allows those that are no text.
#[derive(Debug, Clone)]
pub struct Pattern(pub(super) Regex);

impl Pattern {
    /// The error is the message.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(text).size_limit(MAX_SIZE).build();
        regex.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => format!(
                "the pattern takes more than {limit} bytes once compiled; use smaller or fewer repetitions"
            ),
            error => error.to_string(),
        })
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::compile(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A regular expression (RE2 syntax), matched anywhere." })
    }
}
