//! What the SQL kinds have in common: which statements are let through, and what is expected of a result.

use super::{
    condition::Condition,
    session::{Fault, MOST_FRAME},
};
use crate::CheckError;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::native::connection::ConnectionUrl;
use lapwing_model::Reason;

/// Rows that are read of a result at most; the rest is left with the server.
pub(super) const MOST_ROWS: u64 = 100_000;
/// Bytes that are read of a result at most.
pub(super) const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Whether to speak TLS.
#[cfg(any(feature = "mysql", feature = "postgres"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsMode {
    Never,
    WhereOffered,
    Always,
}

/// Reads a connection string as Peekaping does; of its faults, `bare` is told as it is.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) fn target(text: &str, schemes: &[&str], bare: &str) -> Result<ConnectionUrl, CheckError> {
    let unfit = |why: &str| {
        Err(CheckError::InvalidConfig(format!(
            "connection string validation failed: {why}"
        )))
    };
    if text.trim().is_empty() {
        return unfit("connection string cannot be empty");
    }
    let url = match ConnectionUrl::parse(text) {
        Ok(url) => url,
        Err(why) if why == bare => return unfit(&why),
        Err(why) => return unfit(&format!("invalid connection string format: {why}")),
    };
    if !schemes.contains(&url.scheme.as_str()) {
        return unfit(&format!(
            "connection string must use {}:// scheme, got: {}",
            schemes.join(":// or "),
            url.scheme
        ));
    }
    if url.hosts.len() > 1 {
        return unfit("connection string must include one host only");
    }
    match (url.host(), &url.user, url.database.as_str()) {
        (None, ..) => unfit("connection string must include host"),
        (_, None, _) => unfit("connection string must include username"),
        (_, _, "") => unfit("connection string must include database name"),
        _ => Ok(url),
    }
}

/// The statement that was configured, or the one that any server answers.
pub(super) fn statement(query: &str) -> &str {
    match query.trim() {
        "" => "SELECT 1",
        query => query,
    }
}

/// Whether `query` begins with one of `allowed`, letter case, white space, comments and brackets before it aside.
pub(super) fn begins_with(query: &str, allowed: &[&str]) -> bool {
    let start = first_word(query);
    allowed.iter().any(|word| start.eq_ignore_ascii_case(word))
}

/// The first word of a statement.
fn first_word(query: &str) -> &str {
    let mut rest = query.trim_start();
    loop {
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = rest.strip_prefix("/*").filter(|comment| !is_executable(comment)) {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else if let Some(inner) = rest.strip_prefix('(') {
            inner
        } else {
            break;
        }
        .trim_start();
    }
    let end = rest.find(|letter: char| !letter.is_ascii_alphabetic());
    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
}

/// Whether MySQL (`/*!`) or MariaDB (`/*M!`) runs what stands in this comment.
fn is_executable(comment: &str) -> bool {
    comment.starts_with('!') || comment.starts_with("M!")
}

/// A statement that is not let through.
pub(super) fn unfit(why: impl std::fmt::Display) -> CheckError {
    CheckError::InvalidConfig(format!("query validation failed: {why}"))
}

/// What is expected of a result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expectation<'a> {
    pub(super) value: Option<&'a str>,
    pub(super) condition: Condition,
    pub(super) min_rows: u64,
}

/// A result as far as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) columns: usize,
    pub(super) count: u64,
    /// There are more that were not read.
    pub(super) more: bool,
    /// The first column of the first row, as text; `None` is NULL, or that there is none.
    pub(super) first: Option<String>,
    /// It was too long to be kept.
    pub(super) long: bool,
}

impl Rows {
    /// How many, for people.
    #[cfg(any(feature = "mysql", feature = "sqlserver"))]
    pub(super) fn told(&self) -> String {
        format!("{}{}", self.count, if self.more { "+" } else { "" })
    }
}

impl Expectation<'_> {
    /// Whether it is met; else why not.
    pub(super) fn check(&self, rows: &Rows) -> Result<(), Fault> {
        let fail = |text: String| Err(Fault::Told(Reason::AssertionFailed, text));
        if rows.count < self.min_rows && rows.more {
            let text = format!(
                "Query returned more than {MOST_BYTES} bytes, and {} rows in them, expected at least {}",
                rows.count, self.min_rows
            );
            return Err(Fault::Told(Reason::BodyTooLarge, text));
        }
        if rows.count < self.min_rows {
            return fail(format!(
                "Query returned {} rows, expected at least {}",
                rows.count, self.min_rows
            ));
        }
        let Some(expected) = self.value else { return Ok(()) };
        if rows.long {
            let why = format!("the query's value is larger than {MOST_FRAME} bytes, and not compared");
            return Err(CheckError::limit_hit(why).into());
        }
        let symbol = self.condition.symbol();
        match &rows.first {
            Some(value) if self.condition.compare(value, expected) => Ok(()),
            Some(value) => {
                let value: String = value.chars().take(200).collect();
                fail(format!(
                    "Query returned '{value}', expected {symbol} '{expected}'"
                ))
            }
            None if rows.count == 0 => fail(format!("Query returned no row, expected {symbol} '{expected}'")),
            None => fail(format!("Query returned NULL, expected {symbol} '{expected}'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_decides_whatever_stands_before_it() {
        let allowed = ["select", "with"];
        for query in [
            "SELECT 1",
            " \n select(1)",
            "-- why\nSELECT 1",
            "/* a */ /* b */ (SELECT 1)",
            "With x as (select 1) select * from x",
            "select",
        ] {
            assert!(begins_with(query, &allowed), "{query}");
        }
        for query in [
            "",
            "DELETE FROM t",
            "/* SELECT */ DROP TABLE t",
            "selection",
            "/*! DELETE FROM t */ SELECT 1",
            "-- SELECT",
            "; SELECT 1",
        ] {
            assert!(!begins_with(query, &allowed), "{query}");
        }
    }

    #[test]
    fn rows_left_unread_are_no_verdict_on_their_number() {
        let expected = Expectation {
            value: None,
            condition: Condition::Unset,
            min_rows: 10,
        };
        let cut = Rows {
            count: 9,
            more: true,
            ..Rows::default()
        };
        assert!(matches!(
            expected.check(&cut),
            Err(Fault::Told(Reason::BodyTooLarge, _))
        ));
    }

    #[test]
    fn a_missing_or_null_value_meets_no_expectation() {
        let rows = |count, first: Option<&str>| Rows {
            columns: 1,
            count,
            first: first.map(str::to_owned),
            ..Rows::default()
        };
        let expect = |condition, value, min_rows| Expectation {
            value,
            condition,
            min_rows,
        };
        for (expected, rows, holds) in [
            (expect(Condition::Unset, None, 0), rows(0, None), true),
            (expect(Condition::Unset, None, 1), rows(0, None), false),
            (expect(Condition::Unset, Some("1"), 0), rows(1, Some("1")), true),
            (expect(Condition::NotEqual, Some("1"), 0), rows(1, None), false),
            (expect(Condition::NotEqual, Some("1"), 0), rows(0, None), false),
            (expect(Condition::Less, Some("10"), 0), rows(1, Some("9")), true),
            (
                expect(Condition::Greater, Some("10"), 0),
                rows(1, Some("9")),
                false,
            ),
        ] {
            assert_eq!(expected.check(&rows).is_ok(), holds, "{expected:?} {rows:?}");
        }
    }
}
