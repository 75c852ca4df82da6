//! JSONata over a message, held to a time and a depth: neither the expression's author nor the message's is trusted
//! with a thread of ours.

use crate::CheckError;
use jsonata_core::{
    Expression,
    evaluator::{CancelToken, EvaluatorOptions},
    value::JValue,
};
use serde::de::IgnoredAny;
use std::time::Duration;

/// Longest expression, in bytes.
const MOST_TEXT: usize = 1024;
const MOST_DEPTH: usize = 500;
const MOST_ITEMS: usize = 100_000;
/// What the library calls a limit: depth, time, elements, cancelled.
const LIMITS: [&str; 6] = ["D1011", "D1012", "D2014", "D2015", "U1001", "U1003"];

/// What is wrong with an expression.
pub(super) fn review(expression: &str) -> Result<(), String> {
    if expression.len() > MOST_TEXT {
        return Err(format!("longer than {MOST_TEXT} bytes"));
    }
    let compiled = Expression::compile(expression);
    compiled.map(|_| ()).map_err(|error| error.to_string())
}

/// The value of `expression` over the JSON text `message`, as Go prints it. The inner error is the message for a person; a limit of ours
/// says nothing of the message, and is the outer one.
///
/// Evaluated on a thread for such work, and cancelled when the future is dropped.
pub(super) async fn evaluate(
    expression: &str,
    message: String,
    most: Duration,
) -> Result<Result<String, String>, CheckError> {
    let cancel = CancelToken::new();
    let dropped = Cancel(cancel.clone());
    let options = EvaluatorOptions {
        timeout_ms: u64::try_from(most.as_millis()).ok(),
        cancel: Some(cancel),
        max_stack_depth: Some(MOST_DEPTH),
        max_sequence_length: Some(MOST_ITEMS),
    };
    let expression = expression.to_owned();
    let value = tokio::task::spawn_blocking(move || value(&expression, &message, options)).await;
    drop(dropped);
    value.map_err(|error| CheckError::Internal(format!("JSONata evaluation ended early: {error}")))?
}

/// Stops the evaluation.
struct Cancel(CancelToken);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn value(
    expression: &str,
    message: &str,
    options: EvaluatorOptions,
) -> Result<Result<String, String>, CheckError> {
    // JSON that the library does not read is nested deeper than it goes.
    let is_json = || serde_json::from_str::<IgnoredAny>(message).is_ok();
    let parsed = match JValue::from_json_str(message) {
        Ok(parsed) => parsed,
        Err(error) if is_json() => {
            let why = format!("the message is more than `json_path` looks at: {error}");
            return Err(CheckError::limit_hit(why));
        }
        Err(error) => return Ok(Err(format!("Failed to parse JSON message: {error}"))),
    };
    let expression = match compile(expression) {
        Ok(read) => read,
        Err(why) => return Ok(Err(why)),
    };
    match expression.evaluate_with_options(&parsed, options) {
        Ok(value) => {
            let mut text = String::new();
            print(&value, &mut text);
            Ok(Ok(text))
        }
        Err(error) if error.code().is_some_and(|code| LIMITS.contains(&code)) => Err(CheckError::limit_hit(
            format!("`json_path` went past a limit of the worker: {error}"),
        )),
        Err(error) => Ok(Err(format!("JSONata evaluation failed: {error}"))),
    }
}

fn compile(expression: &str) -> Result<Expression, String> {
    Expression::compile(expression).map_err(|error| format!("Invalid JSONata expression: {error}"))
}

/// As Go's `%v` prints: `map[a:1 b:[1 2]]`, numbers as [`number`] does.
fn print(value: &JValue, out: &mut String) {
    if let Some(items) = value.as_array() {
        out.push('[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push(' ');
            }
            print(item, out);
        }
        out.push(']');
    } else if let Some(fields) = value.as_object() {
        let mut fields: Vec<_> = fields.iter().collect();
        fields.sort_by_key(|(name, _)| name.as_str());
        out.push_str("map[");
        for (at, (name, field)) in fields.into_iter().enumerate() {
            if at > 0 {
                out.push(' ');
            }
            out.push_str(name);
            out.push(':');
            print(field, out);
        }
        out.push(']');
    } else if let Some(text) = value.as_str() {
        out.push_str(text);
    } else if let Some(float) = value.as_f64() {
        out.push_str(&number(float));
    } else if let Some(truth) = value.as_bool() {
        out.push_str(if truth { "true" } else { "false" });
    } else {
        out.push_str("<nil>");
    }
}

/// As Go's `%v` prints a float64: the shortest digits, with an exponent below 1e-4 and from 1e+06 on.
fn number(float: f64) -> String {
    let plain = float.to_string();
    let size = float.abs();
    if size == 0.0 || !float.is_finite() || (1e-4..1e6).contains(&size) {
        return plain;
    }
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return plain;
    };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_model::Reason;

    async fn run(expression: &str, message: &str) -> Result<String, String> {
        evaluate(expression, message.to_owned(), Duration::from_secs(2))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_message_too_deep_for_us_is_our_limit_and_one_that_is_no_json_is_not() {
        let deep = format!("{}{}", "[".repeat(400), "]".repeat(400));
        let error = evaluate("$", deep, Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::LimitHit, "{error}");
        let broken = run("$", &"[".repeat(400)).await.unwrap_err();
        assert!(broken.starts_with("Failed to parse JSON message"), "{broken}");
    }

    #[tokio::test]
    async fn values_are_printed_as_go_prints_them() {
        let message = r#"{"status":"ok","n":1000000,"big":1e21,"x":2.50,"tiny":0.00001,"l":[1,2],"o":{"b":true,"a":null}}"#;
        for (expression, text) in [
            ("status", "ok"),
            ("n", "1e+06"),
            ("big", "1e+21"),
            ("x", "2.5"),
            ("tiny", "1e-05"),
            ("l", "[1 2]"),
            ("o", "map[a:<nil> b:true]"),
            ("nothing", "<nil>"),
            ("$sum(l)", "3"),
            ("l[$ > 1]", "2"),
            ("$uppercase(status) & '!'", "OK!"),
            ("n > 5", "true"),
        ] {
            assert_eq!(
                run(expression, message).await.as_deref(),
                Ok(text),
                "{expression}"
            );
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_or_evaluated_is_told_apart() {
        for (expression, message, part) in [
            ("a", "<html>", "Failed to parse JSON message: "),
            ("a[", "{}", "Invalid JSONata expression: "),
            ("$nope()", "{}", "JSONata evaluation failed: "),
        ] {
            let error = run(expression, message).await.unwrap_err();
            assert!(error.starts_with(part), "{expression}: {error}");
        }
    }

    #[tokio::test]
    async fn hostile_depth_breaks_nothing() {
        assert!(review(&"(".repeat(MOST_TEXT)).is_err());
        assert!(review(&"[".repeat(MOST_TEXT + 1)).is_err());
        let deep = format!("{}1{}", "(".repeat(400), ")".repeat(400));
        for expression in [deep, "-".repeat(900)] {
            let _ = evaluate(&expression, "{}".to_owned(), Duration::from_secs(2)).await;
        }
        assert!(run("a", &"[".repeat(100_000)).await.is_err());
        assert!(
            run(
                "$match(a, /(x+x+)+y/)",
                &format!(r#"{{"a":"{}"}}"#, "x".repeat(2000))
            )
            .await
            .is_ok()
        );
    }

    #[tokio::test]
    async fn a_limit_of_ours_says_nothing_of_the_message() {
        for (expression, time) in [
            ("($f := function($n) { $f($n + 1) + 1 }; $f(0))", 2000),
            ("[1..10000000]", 2000),
            ("($f := function() { $f() }; $f())", 50),
        ] {
            let error = evaluate(expression, "{}".to_owned(), Duration::from_millis(time))
                .await
                .unwrap_err();
            assert_eq!(error.reason(), Reason::LimitHit, "{expression}: {error}");
        }
    }
}
