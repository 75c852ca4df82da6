//! The path into a reply, and what is found there: Peekaping's own dialect, which knows objects only.

use serde_json::Value;

/// The value at `path`.
pub(super) fn find<'a>(reply: &'a Value, path: &str) -> Result<&'a Value, String> {
    let path = path.strip_prefix('$').unwrap_or(path);
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() {
        return Ok(reply);
    }
    keys(path).into_iter().try_fold(reply, |value, key| {
        let object = value.as_object();
        let object = object.ok_or_else(|| format!("cannot access field '{key}' on non-object type"))?;
        object.get(&key).ok_or_else(|| format!("field '{key}' not found"))
    })
}

/// Parts between dots; `\.` is a dot.
fn keys(path: &str) -> Vec<String> {
    let (mut keys, mut letters) = (vec![String::new()], path.chars().peekable());
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '.' => {
                keys.push(String::new());
                continue;
            }
            '\\' if letters.peek() == Some(&'.') => letters.next().unwrap_or_default(),
            letter => letter,
        };
        if let Some(key) = keys.last_mut() {
            key.push(letter);
        }
    }
    keys
}

/// A value as text: strings without quotes, whole numbers without a point.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Equal as text, or as numbers.
pub(super) fn equals(value: &Value, expected: &str) -> bool {
    let value = text(value);
    let number = |text: &str| text.parse::<f64>().ok();
    value == expected
        || number(&value)
            .zip(number(expected))
            .is_some_and(|(one, other)| one.total_cmp(&other).is_eq())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_through_objects_only() {
        let reply = json!({ "ok": 1.0, "a": { "b.c": { "d": "x" } }, "l": [1], "n": null });
        for (path, found) in [
            ("$", Ok(reply.clone())),
            ("", Ok(reply.clone())),
            ("$.ok", Ok(json!(1.0))),
            ("ok", Ok(json!(1.0))),
            (r"a.b\.c.d", Ok(json!("x"))),
            ("n", Ok(Value::Null)),
            ("a.x", Err("field 'x' not found")),
            ("l.0", Err("cannot access field '0' on non-object type")),
            ("ok.x", Err("cannot access field 'x' on non-object type")),
        ] {
            assert_eq!(
                find(&reply, path).cloned(),
                found.map_err(str::to_owned),
                "{path}"
            );
        }
    }

    #[test]
    fn values_are_equal_as_text_or_as_numbers() {
        for (value, expected, equal) in [
            (json!(1.0), "1", true),
            (json!(1), "1.0", true),
            (json!("1"), "1.00", true),
            (json!(true), "true", true),
            (json!("up"), "up", true),
            (json!("up"), "UP", false),
            (json!(1.5), "1", false),
            (json!("NaN"), "0", false),
        ] {
            assert_eq!(equals(&value, expected), equal, "{value} {expected}");
        }
    }
}
