//! What a schema may be: a plugin's comes from its author, and must cost its user neither memory nor time.
//!
//! The measure is the schema with its references written out: the validator may look at all of that for every part of a
//! value. Called when a schema is compiled.

use serde_json::Value;
use std::collections::HashMap;

/// Most nodes of a schema with its references written out.
const MOST_NODES: usize = 10_000;

/// Most patterns of a schema.
const MOST_PATTERNS: usize = 64;

/// Keywords that give a place of the schema a name, or let the value decide where a reference leads.
const NAMES: [&str; 4] = ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef"];

/// The nodes of `schema` with its references written out, if there are few enough, and few enough patterns. `Err` says
/// what stands against it.
pub(super) fn size(schema: &Value) -> Result<usize, String> {
    let size = Expansion::of(schema).size(schema)?;
    if size > MOST_NODES {
        return Err(format!(
            "with its references written out it has more than {MOST_NODES} nodes"
        ));
    }
    if patterns(schema) > MOST_PATTERNS {
        return Err(format!("it has more than {MOST_PATTERNS} patterns"));
    }
    Ok(size)
}

/// How many values there are in `value`, with itself.
pub(super) fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Object(map) => map.values().map(nodes).sum(),
        Value::Array(items) => items.iter().map(nodes).sum(),
        _ => 0,
    }
}

/// Measures a schema with its references written out: a few lines that refer to each other twice and twice again grow
/// without bound, in memory when compiled and in time when used; and what leads back to itself grows with the value.
struct Expansion<'a> {
    root: &'a Value,
    /// Sizes of reference targets; none of the one that is being measured.
    known: HashMap<&'a str, Option<usize>>,
}

impl<'a> Expansion<'a> {
    fn of(root: &'a Value) -> Self {
        Self {
            root,
            known: HashMap::new(),
        }
    }

    fn size(&mut self, node: &'a Value) -> Result<usize, String> {
        let mut sum = 1_usize;
        match node {
            Value::Object(map) => {
                for (key, value) in map {
                    let size = match (key.as_str(), value) {
                        ("$ref", Value::String(target)) => self.target(target)?,
                        // With a name of its own, what is below would resolve its references from there.
                        ("$id", Value::String(_)) if !std::ptr::eq(node, self.root) => {
                            return Err("`$id`: only the whole schema may have one".to_owned());
                        }
                        (name, Value::String(_)) if NAMES.contains(&name) => {
                            return Err(format!(
                                "`{name}`: only `$ref` is known, with a place such as `#/$defs/name`"
                            ));
                        }
                        _ => self.size(value)?,
                    };
                    sum = sum.saturating_add(size);
                }
            }
            Value::Array(items) => {
                for item in items {
                    sum = sum.saturating_add(self.size(item)?);
                }
            }
            _ => {}
        }
        Ok(sum)
    }

    fn target(&mut self, reference: &'a str) -> Result<usize, String> {
        let told = |why: &str| Err(format!("`$ref` to `{reference}`: {why}"));
        match self.known.get(reference) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return told("it leads back to itself; write out as many levels as are wanted"),
            None => {}
        }
        let pointer = match reference.strip_prefix('#') {
            None => return told("only references within the schema are followed"),
            Some("") => return told("it leads back to itself; write out as many levels as are wanted"),
            Some(pointer) => pointer,
        };
        let Some(target) = self.root.pointer(pointer) else {
            return told("there is no such place; expected one such as `#/$defs/name`");
        };
        self.known.insert(reference, None);
        let size = self.size(target)?;
        self.known.insert(reference, Some(size));
        Ok(size)
    }
}

/// How many patterns there are, of values and of property names.
fn patterns(schema: &Value) -> usize {
    let own = |(key, value): (&String, &Value)| match (key.as_str(), value) {
        ("pattern", Value::String(_)) => 1,
        ("patternProperties", Value::Object(map)) => map.len() + patterns(value),
        _ => patterns(value),
    };
    match schema {
        Value::Object(map) => map.iter().map(own).sum(),
        Value::Array(items) => items.iter().map(patterns).sum(),
        _ => 0,
    }
}
