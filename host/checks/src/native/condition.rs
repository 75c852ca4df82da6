//! How a value that was found is compared with the one expected. Of `http-json-query` and the SQL kinds.

use schemars::JsonSchema;
use serde::Deserialize;
use std::cmp::Ordering;

/// How a value is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Condition {
    /// Not set: `==`.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// Equal.
    #[serde(rename = "==")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// Greater: as numbers where both are numbers, else byte by byte.
    #[serde(rename = ">")]
    Greater,
    /// Less, as `>`.
    #[serde(rename = "<")]
    Less,
    /// Greater or equal, as `>`.
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// Less or equal, as `>`.
    #[serde(rename = "<=")]
    LessOrEqual,
}

impl Condition {
    /// As it is written.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Unset | Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
        }
    }

    /// Whether it holds between `value` and `expected`.
    pub(super) fn compare(self, value: &str, expected: &str) -> bool {
        let numbers = value.parse::<f64>().ok().zip(expected.parse::<f64>().ok());
        // Not-a-number is in no order with anything.
        let order = numbers.map_or_else(
            || Some(value.cmp(expected)),
            |(value, expected)| value.partial_cmp(&expected),
        );
        match self {
            Self::Unset | Self::Equal => value == expected,
            Self::NotEqual => value != expected,
            Self::Greater => order == Some(Ordering::Greater),
            Self::Less => order == Some(Ordering::Less),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
        }
    }
}
