//! A value of a JSON body, compared. Paths, values and texts are those of Peekaping (gjson v1.18's `Result.String`).

use super::config::HttpConfig;
use crate::{findings::invalid, native::condition::Condition, schema::Fault};
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json_path::JsonPath;

/// Largest body that is parsed into memory, in bytes: a hostile one takes a hundred times its size there.
const MOST_PARSED: usize = 1 << 20;
/// Deepest body: the engines recurse.
const DEEPEST: usize = 128;

/// Why a body does not do.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::native) enum Unmet {
    /// It is not as expected.
    Otherwise(String),
    /// It is more than Lapwing looks at, so nothing can be said of it.
    Beyond(String),
}

/// One comparison.
pub(in crate::native) struct Query {
    text: String,
    path: Option<JsonPath>,
    condition: Condition,
    expected: String,
}

impl Query {
    /// `None` when nothing is asked.
    pub(super) fn new(config: &HttpConfig) -> Result<Option<Self>, Fault> {
        let (text, condition, expected) = (&config.json_query, config.json_condition, &config.expected_value);
        Self::of("json_query", text, condition, expected)
    }

    /// As [`Query::new`]; `field` is where `text` stands.
    pub(in crate::native) fn of(
        field: &str,
        text: &str,
        condition: Condition,
        expected: &str,
    ) -> Result<Option<Self>, Fault> {
        if text.is_empty() && condition == Condition::Unset && expected.is_empty() {
            return Ok(None);
        }
        bounded(text).map_err(|limit| invalid(field, limit))?;
        let path = text.starts_with('$').then(|| JsonPath::parse(text)).transpose();
        let path = path.map_err(|error| invalid(field, error))?;
        Ok(Some(Self {
            text: text.to_owned(),
            path,
            condition,
            expected: expected.to_owned(),
        }))
    }

    /// Whether `body` is as expected; else why not. Takes up to some seconds of processor time for 10 MiB.
    pub(in crate::native) fn check(&self, body: &[u8]) -> Result<(), Unmet> {
        let body = String::from_utf8_lossy(body);
        match self.holds(&body) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Unmet::Otherwise(format!(
                "JSON query validation failed: query '{}' with condition '{}' and expected value '{}'",
                self.text,
                self.condition.symbol(),
                self.expected
            ))),
            Err(Unmet::Otherwise(error)) => {
                Err(Unmet::Otherwise(format!("JSON query validation error: {error}")))
            }
            Err(beyond) => Err(beyond),
        }
    }

    fn holds(&self, body: &str) -> Result<bool, Unmet> {
        if self.text.is_empty() {
            return self.whole(body);
        }
        // Looked through first in any case: the path engine is lenient, and must not meet any depth.
        serde_json::from_str::<IgnoredAny>(body)
            .map_err(|error| Unmet::Otherwise(format!("response is not JSON: {error}")))?;
        if depth(body) > DEEPEST {
            return Err(beyond(&format!("nested more than {DEEPEST} deep")));
        }
        let value = match &self.path {
            None => by_path(body, &self.text),
            Some(path) => match path
                .query(&parse(body, "a query that does not begin with `$`")?)
                .all()
                .as_slice()
            {
                [] => None,
                [one] => Some(text(one)),
                many => serde_json::to_string(many).ok(),
            },
        };
        let missing = || Unmet::Otherwise(format!("JSON query path not found: {}", self.text));
        let value = value.ok_or_else(missing)?;
        if self.condition == Condition::Unset && self.expected.is_empty() {
            return Ok(true);
        }
        Ok(self.condition.compare(&value, &self.expected))
    }

    /// Without a path the whole body is the value.
    fn whole(&self, body: &str) -> Result<bool, Unmet> {
        if self.expected.is_empty() {
            return Ok(self.condition.compare(body, ""));
        }
        let equality = matches!(
            self.condition,
            Condition::Unset | Condition::Equal | Condition::NotEqual
        );
        let expected = serde_json::from_str(&self.expected).ok();
        let expected = expected.filter(|_| serde_json::from_str::<IgnoredAny>(body).is_ok());
        if !equality {
            let symbol = self.condition.symbol();
            let what = expected.map_or("non-JSON", |_| "full JSON");
            return Err(Unmet::Otherwise(format!(
                "unsupported condition '{symbol}' for {what} comparison: only '==' and '!=' are supported"
            )));
        }
        let same = match expected {
            None => body == self.expected,
            Some(expected) => same(&parse(body, "a query for a part of it")?, &expected),
        };
        Ok(same != (self.condition == Condition::NotEqual))
    }
}

/// The value of a JSON text.
///
/// `instead` is what would read a larger one.
fn parse(body: &str, instead: &str) -> Result<Value, Unmet> {
    if body.len() > MOST_PARSED {
        return Err(beyond(&format!(
            "more than {MOST_PARSED} bytes, which only {instead} reads"
        )));
    }
    serde_json::from_str(body).map_err(|error| beyond(&error.to_string()))
}

fn beyond(what: &str) -> Unmet {
    Unmet::Beyond(format!("the response is more than a JSON query looks at: {what}"))
}

/// How deep the brackets of a JSON text go.
fn depth(json: &str) -> usize {
    let (mut open, mut most, mut string) = (0_usize, 0, false);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => string = !string,
            b'[' | b'{' if !string => {
                open += 1;
                most = open.max(most);
            }
            b']' | b'}' if !string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Refuses what would cost its parser the stack, or its evaluation the day: both engines recurse, filters are tried more
/// than once, a search within a search visits all that lies below each node again, and one from the root in a filter the
/// whole body for each.
fn bounded(text: &str) -> Result<(), &'static str> {
    if text.len() > 1024 {
        return Err("longer than 1024 bytes");
    }
    // Only JSONPath has strings that hide brackets for certain; in gjson every bracket counts.
    let strings = text.starts_with('$');
    let (mut segments, mut searches, mut open, mut quote) = (0, 0, Vec::new(), None);
    let (mut letters, mut last) = (text.chars(), ' ');
    while let Some(letter) = letters.next() {
        let before = std::mem::replace(&mut last, letter);
        match (letter, quote) {
            ('\\', Some(_)) => _ = letters.next(),
            (_, Some(end)) => quote = quote.filter(|_| letter != end),
            ('"' | '\'', None) if strings => quote = Some(letter),
            ('$', None) if strings && !open.is_empty() => return Err("`$` in a filter"),
            ('.' | '|', None) => {
                segments += 1;
                searches += u32::from(strings && letter == '.' && before == '.');
            }
            ('[' | '(' | '{', None) => {
                segments += 1;
                open.push(false);
            }
            (']' | ')' | '}', None) => _ = open.pop(),
            ('?', None) if strings => open.last_mut().into_iter().for_each(|filter| *filter = true),
            _ => {}
        }
        if searches > 1 {
            return Err("more than one `..`");
        }
        if segments > 64 {
            return Err("more than 64 segments");
        }
        if open.len() > 8 {
            return Err("brackets nested more than 8 deep");
        }
        if open.iter().filter(|filter| **filter).count() > 3 {
            return Err("filters nested more than 3 deep");
        }
    }
    Ok(())
}

/// The value at a gjson path.
fn by_path(body: &str, path: &str) -> Option<String> {
    let found = gjson::get(body, path);
    found.exists().then(|| match found.kind() {
        gjson::Kind::Null => String::new(),
        gjson::Kind::Number => number(found.json()),
        gjson::Kind::String => found.str().to_owned(),
        _ => found.json().to_owned(),
    })
}

/// As [`by_path`], of a parsed value.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(value) => number(&value.to_string()),
        other => other.to_string(),
    }
}

/// Integers as they are written, other numbers as the shortest decimal without exponent.
fn number(raw: &str) -> String {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    let integer = digits.bytes().all(|byte| byte.is_ascii_digit());
    let float = raw.parse::<f64>().ok().filter(|_| !integer);
    float.map_or_else(|| raw.to_owned(), |float| float.to_string())
}

/// Equal as JSON: order of keys and spelling of numbers do not matter.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let equal = |(key, value)| other.get(key).is_some_and(|other| same(value, other));
            one.len() == other.len() && one.iter().all(equal)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, condition: &str, expected: &str, body: &str) -> Result<(), String> {
        unmet(query, condition, expected, body).map_err(|unmet| match unmet {
            Unmet::Otherwise(text) => text,
            Unmet::Beyond(text) => panic!("{text}"),
        })
    }

    fn unmet(query: &str, condition: &str, expected: &str, body: &str) -> Result<(), Unmet> {
        let json = serde_json::json!({
            "url": "http://x", "json_query": query, "json_condition": condition, "expected_value": expected,
        });
        let config = serde_json::from_value(json).unwrap();
        Query::new(&config)
            .unwrap()
            .map_or(Ok(()), |query| query.check(body.as_bytes()))
    }

    #[test]
    fn a_path_that_would_exhaust_its_parser_is_refused() {
        for (query, limit) in [
            ("a.".repeat(4068), "1024 bytes"),
            ("a.".repeat(100), "64 segments"),
            ("@this|".repeat(100), "64 segments"),
            (format!("$[?{}", "(".repeat(1000)), "8 deep"),
            (format!("$[?@=='))))' && {}", "(".repeat(10)), "8 deep"),
            (format!("$[?@{}{}", "[?@".repeat(20), "]".repeat(21)), "3 deep"),
            ("$..a..b".to_owned(), "more than one `..`"),
            ("$[?@..a == 1 && @..b == 1]".to_owned(), "more than one `..`"),
            ("$[?count($.a) == 9]".to_owned(), "`$` in a filter"),
        ] {
            let json = serde_json::json!({ "url": "http://x", "json_query": query });
            let Err(error) = Query::new(&serde_json::from_value(json).unwrap()) else {
                panic!("{query}")
            };
            let text = error.to_string();
            assert!(text.contains("`json_query`") && text.contains(limit), "{text}");
        }
    }

    #[test]
    fn what_is_beyond_us_says_nothing_of_the_target() {
        let beyond = |query: &str, expected: &str, body: &str| match unmet(query, "==", expected, body) {
            Err(Unmet::Beyond(text)) => text,
            other => panic!("{query}: {other:?}"),
        };
        let deep = format!(r#"{{"s":"ok","t":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        let large = format!(r#"["ok",{}0]"#, "0,".repeat(MOST_PARSED / 2));
        let number = r#"{"s":"ok","n":1e400}"#;
        for query in ["s", "$.s"] {
            assert!(beyond(query, "ok", &deep).contains("nested more than 128 deep"));
        }
        assert!(beyond("$[0]", "ok", &large).contains("1048576 bytes"));
        assert!(beyond("$.s", "ok", number).contains("number out of range"));
        let whole = beyond("", "[1]", &large);
        assert!(whole.contains("1048576 bytes") && !whole.contains('$'), "{whole}");
        assert_eq!(check("0", "==", "ok", &large), Ok(()), "not parsed into memory");
        assert_eq!(check("s", "==", "ok", number), Ok(()), "JSON has such numbers");
        let quoted = format!(r#"{{"s":"{}\""}}"#, "[".repeat(200));
        assert_eq!(
            check("s", "!=", "", &quoted),
            Ok(()),
            "brackets in strings nest nothing"
        );
    }

    const BODY: &str = r#"{"a":{"b":[1,2.50,"x",null,true,1e3]},"n":9007199254740993,"s":"10","l":[{"k":1,"v":"p"},{"k":2,"v":"q"}]}"#;

    #[test]
    fn values_are_spelled_as_peekaping_spells_them() {
        for (query, expected) in [
            ("a.b.0", "1"),
            ("a.b.1", "2.5"),
            ("a.b.2", "x"),
            ("a.b.3", ""),
            ("a.b.4", "true"),
            ("a.b.5", "1000"),
            ("n", "9007199254740993"),
            ("a.b.#", "6"),
            ("l.#(k==2).v", "q"),
            ("l.#.v", r#"["p","q"]"#),
            ("l.0", r#"{"k":1,"v":"p"}"#),
            ("$.a.b[2]", "x"),
            ("$.l[*].v", r#"["p","q"]"#),
            ("$.n", "9007199254740993"),
        ] {
            assert_eq!(check(query, "==", expected, BODY), Ok(()), "{query}");
            assert!(check(query, "!=", expected, BODY).is_err(), "{query}");
        }
    }

    #[test]
    fn order_is_numeric_between_numbers_and_bytewise_otherwise() {
        assert_eq!(check("s", ">", "9", BODY), Ok(()));
        assert_eq!(check("a.b.1", "<=", "2.5", BODY), Ok(()));
        assert_eq!(
            check("a.b.2", ">", "10", BODY),
            Ok(()),
            "`x` is no number: bytes decide"
        );
        assert!(
            check("a.b.3", "<=", "0", BODY).is_ok(),
            "an empty text sorts first, and is not 0"
        );
        assert!(check("a.b.3", ">=", "0", BODY).is_err());
        assert!(check("s", ">=", "NaN", BODY).is_err());
    }

    #[test]
    fn what_cannot_be_evaluated_fails_in_both_polarities() {
        for condition in ["==", "!="] {
            let text = check("nope", condition, "1", BODY).unwrap_err();
            assert_eq!(
                text,
                "JSON query validation error: JSON query path not found: nope"
            );
            assert!(
                check("a", condition, "1", "<html>")
                    .unwrap_err()
                    .contains("response is not JSON")
            );
        }
        let text = check("", ">", "1", "2").unwrap_err();
        assert_eq!(
            text,
            "JSON query validation error: unsupported condition '>' for full JSON comparison: only '==' and '!=' are supported"
        );
    }

    #[test]
    fn whole_bodies_compare_as_json_or_as_text() {
        assert_eq!(
            check("", "==", r#"{"b":2,"a":1}"#, r#"{ "a": 1.0, "b": 2 }"#),
            Ok(())
        );
        assert_eq!(check("", "!=", r#"{"a":2}"#, r#"{"a":1}"#), Ok(()));
        assert_eq!(check("", "", "pong", "pong"), Ok(()));
        assert!(
            check("", "", "pong", "ping")
                .unwrap_err()
                .starts_with("JSON query validation failed: query ''")
        );
        assert!(
            check("", "<", "pong", "ping")
                .unwrap_err()
                .contains("non-JSON comparison")
        );
        assert_eq!(check("", "", "", "anything"), Ok(()));
        assert_eq!(check("a", "", "", BODY), Ok(()), "a path alone must merely exist");
    }

    #[test]
    fn a_failed_comparison_says_what_was_compared() {
        assert_eq!(
            check("s", "", "11", BODY).unwrap_err(),
            "JSON query validation failed: query 's' with condition '==' and expected value '11'"
        );
    }
}
