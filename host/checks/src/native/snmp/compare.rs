//! How a value is held against the expected one: Peekaping's rules.

use schemars::JsonSchema;
use serde::Deserialize;
use std::{cmp::Ordering, fmt};

/// How to compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operator {
    /// As `eq`.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// The same text.
    Eq,
    /// Another text.
    Ne,
    /// A smaller number.
    Lt,
    /// A greater number.
    Gt,
    /// A number not smaller.
    Ge,
    /// A number not greater.
    Le,
}

impl Operator {
    /// Numbers are put in order as numbers; where one side is none, only equality holds.
    pub(super) fn holds(self, value: &str, expected: &str) -> bool {
        match (self, compared(value, expected)) {
            (Self::Ne, _) => value != expected,
            // Peekaping falls back to equality of texts, for all four.
            (Self::Unset | Self::Eq, _) | (_, None) => value == expected,
            (Self::Lt, Some(order)) => order.is_lt(),
            (Self::Gt, Some(order)) => order.is_gt(),
            (Self::Le, Some(order)) => order.is_le(),
            (Self::Ge, Some(order)) => order.is_ge(),
        }
    }
}

/// The order of two numbers; whole ones are compared exactly, as counters have 64 bits.
fn compared(value: &str, expected: &str) -> Option<Ordering> {
    if let (Ok(value), Ok(expected)) = (value.parse::<i128>(), expected.parse::<i128>()) {
        return Some(value.cmp(&expected));
    }
    value
        .parse::<f64>()
        .ok()?
        .partial_cmp(&expected.parse::<f64>().ok()?)
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unset | Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Lt => "lt",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::Le => "le",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers_and_all_else_as_text() {
        use Operator::{Eq, Ge, Gt, Le, Lt, Ne, Unset};
        for (value, operator, expected, holds) in [
            ("9", Lt, "10", true),
            ("10", Lt, "9.5", false),
            ("10", Gt, "9.5", true),
            ("18446744073709551615", Gt, "18446744073709551614", true),
            ("7", Ge, "7", true),
            ("7", Le, "6.9", false),
            ("7.0", Eq, "7", false),
            ("up", Unset, "up", true),
            ("up", Ne, "down", true),
            ("b", Gt, "a", false),
            ("a", Lt, "a", true),
            ("NaN", Ge, "1", false),
        ] {
            assert_eq!(
                operator.holds(value, expected),
                holds,
                "{value} {operator} {expected}"
            );
        }
    }
}
