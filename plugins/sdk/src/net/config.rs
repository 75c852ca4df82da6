//! Fields that the configs of many kinds have.

use super::IpFamily;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

// Variants without doc comments become one `enum` in the schema, and a validator's message then lists the words.

/// Which addresses of a name to use: `any`, `4` or `6`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    #[default]
    #[serde(rename = "any")]
    Any,
    #[serde(rename = "4")]
    V4,
    #[serde(rename = "6")]
    V6,
}

impl From<Family> for IpFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::Any => Self::Any,
            Family::V4 => Self::V4,
            Family::V6 => Self::V6,
        }
    }
}

/// Milliseconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Millis(#[schemars(range(min = 1))] u32);

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_written_as_people_do() {
        let read = |text: &str| serde_json::from_str::<Family>(text).map(IpFamily::from).ok();
        assert_eq!(read("\"any\""), Some(IpFamily::Any));
        assert_eq!(read("\"4\""), Some(IpFamily::V4));
        assert_eq!(read("\"6\""), Some(IpFamily::V6));
        assert_eq!(read("\"ipv4\""), None);
    }

    #[test]
    fn milliseconds_are_a_plain_number() {
        let millis: Millis = serde_json::from_str("1500").unwrap();
        assert_eq!(Duration::from(millis), Duration::from_millis(1500));
    }
}
