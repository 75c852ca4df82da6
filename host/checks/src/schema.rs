//! Holds a value against a JSON Schema and says everything that is wrong with it, in words that help.
//!
//! Used for the configuration file and for the configuration of every kind, native or plugin.

mod admit;

use crate::{
    net::{
        policy::Rule,
        scope::{Destination, NamePattern},
    },
    text::nearest,
};
use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde::Serialize;
use serde_json::{Map, Value, map::Entry};
use std::{fmt, time::Duration};

/// The format of durations as people write them: `500ms`, `10s`, `1m 30s`.
pub const DURATION_FORMAT: &str = "lapwing-duration";

/// The format of the network policy's rules.
pub const RULE_FORMAT: &str = "lapwing-network-rule";

/// The format of the places a plugin is granted.
pub const DESTINATION_FORMAT: &str = "lapwing-destination";

/// The format of the names a plugin may ask about.
pub const NAME_FORMAT: &str = "lapwing-name-pattern";

/// The keyword that tells, beside `additionalProperties`, where other fields go: words for people.
const OTHERS: &str = "x-lapwing-others";

/// The most memory that a pattern may take when compiled and, once more, while it searches: `\w{1000}` takes hundreds of
/// KiB, and a schema has room for thousands of them.
const PATTERN_BYTES: usize = 1 << 20;

/// Largest product of a value's nodes and its schema's for which every fault is sought: the validator keeps what each
/// alternative has against each part of the value, a hundred bytes and more a time.
const MOST_WORK: usize = 300_000;

/// Keywords that bound a value from below and from above, and what they count.
const BOUNDS: [(&str, &str, &str); 3] = [
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
];

/// A compiled JSON Schema 2020-12, self-contained, with patterns that run in linear time whatever the text.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    /// Nodes, with the references written out.
    size: usize,
    source: Value,
    sensitive: Vec<String>,
}

/// One thing that is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// Where, spelled `monitors[2].interval`.
    pub field: String,
    /// What is there and what was expected.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "`{}`: {}", self.field, self.message)
    }
}

/// Faults as one sentence: at most 20 of them, each with its field and at most 300 characters.
pub fn sentence(faults: &[Fault]) -> String {
    const SHOWN: usize = 20;
    let shown = faults.iter().take(SHOWN);
    let mut parts: Vec<String> = shown
        .map(|fault| fault.to_string().chars().take(300).collect())
        .collect();
    if faults.len() > SHOWN {
        parts.push(format!("and {} more", faults.len() - SHOWN));
    }
    parts.join("; ")
}

impl Schema {
    /// Compiles `source`; values at the JSON pointers `sensitive` are kept out of messages. `Err` says what is wrong
    /// with the schema. References to other documents are refused, not followed.
    pub fn new(source: &Value, sensitive: &[String]) -> Result<Self, String> {
        let broken = |error: ValidationError<'_>| {
            let field = field("", error.instance_path().as_str());
            if field.is_empty() {
                error.to_string()
            } else {
                format!("`{field}`: {error}")
            }
        };
        if !source.is_object() {
            return Err("it is not a JSON object".to_owned());
        }
        let size = admit::size(source)?;
        jsonschema::draft202012::meta::validate(source).map_err(broken)?;
        let validator = jsonschema::draft202012::options()
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(PATTERN_BYTES)
                    .dfa_size_limit(PATTERN_BYTES),
            )
            .should_validate_formats(true)
            .with_format(DURATION_FORMAT, is_duration)
            .with_format(RULE_FORMAT, |text: &str| text.parse::<Rule>().is_ok())
            .with_format(DESTINATION_FORMAT, |text: &str| {
                text.parse::<Destination>().is_ok()
            })
            .with_format(NAME_FORMAT, |text: &str| text.parse::<NamePattern>().is_ok())
            .build(source)
            .map_err(broken)?;
        Ok(Self {
            validator,
            size,
            source: source.clone(),
            sensitive: sensitive.to_vec(),
        })
    }

    /// What is wrong with `value`: all of it, or the first where that would be too much work; fields start with `root`.
    pub fn faults(&self, value: &Value, root: &str) -> Vec<Fault> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        if admit::nodes(value).saturating_mul(self.size) <= MOST_WORK {
            return self.all_faults(value, root);
        }
        let first = self.validator.validate(value).err();
        let told = first.iter().flat_map(|error| self.explain(error, root));
        told.collect()
    }

    /// Everything that is wrong with a `value` of the operator's own; fields start with `root`.
    pub fn all_faults(&self, value: &Value, root: &str) -> Vec<Fault> {
        self.validator
            .iter_errors(value)
            .flat_map(|error| self.explain(&error, root))
            .collect()
    }

    /// Adds the `default`s of top-level properties that `config` lacks; tells which.
    pub fn fill(&self, config: &mut Map<String, Value>) -> Vec<String> {
        let mut filled = Vec::new();
        let properties = self
            .source
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        for (name, property) in properties {
            if let (Some(default), Entry::Vacant(place)) = (property.get("default"), config.entry(name)) {
                place.insert(default.clone());
                filled.push(name.clone());
            }
        }
        filled
    }

    fn explain(&self, error: &ValidationError<'_>, root: &str) -> Vec<Fault> {
        let place = error.instance_path().as_str();
        let field = field(root, place);
        let at = error.schema_path().as_str();
        let secret = self
            .sensitive
            .iter()
            .any(|secret| secret.starts_with(place) || place.starts_with(secret));
        let one = |field: String, message: String| vec![Fault { field, message }];
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let properties = beside(&self.source, at, "properties").and_then(Value::as_object);
                let known: Vec<_> = properties
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.as_str())
                    .collect();
                let others = beside(&self.source, at, OTHERS).and_then(Value::as_str);
                let fault = |name: &String| Fault {
                    field: join(&field, name),
                    message: unknown_field(name, &known, others),
                };
                unexpected.iter().map(fault).collect()
            }
            ValidationErrorKind::Required { property } => one(
                join(&field, property.as_str().unwrap_or_default()),
                "is missing".to_owned(),
            ),
            ValidationErrorKind::Format { .. } | ValidationErrorKind::Type { .. }
                if !secret && let Some(expected) = told_by_format(&self.source, at) =>
            {
                one(field, format!("{} is not {expected}", error.instance()))
            }
            ValidationErrorKind::Format { format } if !secret && parse_error(format, "").is_some() => {
                let text = error.instance().as_str().unwrap_or_default();
                one(field, parse_error(format, text).unwrap_or_default())
            }
            ValidationErrorKind::AnyOf { .. }
                if !secret && let Some(expected) = one_by_format(&self.source, at) =>
            {
                one(field, format!("{} is not {expected}", error.instance()))
            }
            ValidationErrorKind::Enum { .. }
            | ValidationErrorKind::AnyOf { .. }
            | ValidationErrorKind::OneOfNotValid { .. } => match words(&self.source, at).as_slice() {
                [] if !secret => one(field, error.to_string()),
                [] => one(field, error.masked().to_string()),
                words => {
                    let value = if secret {
                        "value".to_owned()
                    } else {
                        error.instance().to_string()
                    };
                    let one_of = if words.len() > 1 { "one of " } else { "" };
                    one(field, format!("{value} is not {one_of}{}", words.join(", ")))
                }
            },
            ValidationErrorKind::Type { .. } if let Some(expected) = expected_type(&self.source, at) => {
                let value = if secret {
                    "value".to_owned()
                } else {
                    error.instance().to_string()
                };
                one(field, format!("{value} is not {expected}"))
            }
            _ => match bounds(&self.source, at) {
                Some(expected) => one(field, expected),
                None if secret => one(field, error.masked().to_string()),
                None => one(field, error.to_string()),
            },
        }
    }
}

/// What a value is expected to be by the `format` beside the keyword at `path` of the schema, or at it.
fn told_by_format(schema: &Value, path: &str) -> Option<&'static str> {
    let (parent, _) = path.rsplit_once('/')?;
    of_format(schema.pointer(parent)?)
}

/// The same of the `anyOf` keyword at `path`, by the first alternative that has a `format`.
fn one_by_format(schema: &Value, path: &str) -> Option<&'static str> {
    let alternatives = schema.pointer(path)?.as_array()?.iter();
    alternatives
        .filter_map(|alternative| match alternative.get("$ref") {
            Some(reference) => schema.pointer(reference.as_str()?.strip_prefix('#')?),
            None => Some(alternative),
        })
        .find_map(of_format)
}

fn of_format(schema: &Value) -> Option<&'static str> {
    match schema.get("format")?.as_str()? {
        DURATION_FORMAT => Some("a duration such as `500ms`, `10s` or `1m 30s`"),
        "uri" => Some("a URL with its scheme, such as `https://example.com/`"),
        _ => None,
    }
}

/// What the keyword at `path` of the schema and its opposite bound a value to, if they are such keywords.
fn bounds(schema: &Value, path: &str) -> Option<String> {
    let (parent, keyword) = path.rsplit_once('/')?;
    let (least, most, unit) = BOUNDS
        .into_iter()
        .find(|(least, most, _)| [least, most].contains(&&keyword))?;
    let bound = |word: &str| schema.pointer(parent)?.get(word);
    Some(match (bound(least), bound(most)) {
        (Some(least), None) if least == 1 && !unit.is_empty() => "must not be empty".to_owned(),
        (Some(least), None) => format!("expected at least {least}{unit}"),
        (None, most) => format!("expected at most {}{unit}", most?),
        (Some(least), Some(most)) => format!("expected {least} to {most}{unit}"),
    })
}

/// Beside the keyword at `path` of the schema.
fn beside<'a>(schema: &'a Value, path: &str, keyword: &str) -> Option<&'a Value> {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    schema.pointer(parent)?.get(keyword)
}

/// Some of what could have been meant, and what was meant if it was nearly typed; else where `others` go.
fn unknown_field(name: &str, known: &[&str], others: Option<&str>) -> String {
    const SHOWN: usize = 8;
    if known.is_empty() {
        return "unknown field, expected none".to_owned();
    }
    let shown: Vec<_> = known.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = match known.len().saturating_sub(SHOWN) {
        0 => String::new(),
        1 => " or another".to_owned(),
        more => format!(" or {more} others"),
    };
    let meant = nearest(name, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
    let meant = meant.or_else(|| others.map(|others| format!("; {others}")));
    let meant = meant.unwrap_or_default();
    format!("unknown field, expected one of {}{more}{meant}", shown.join(", "))
}

/// What the `enum`, `anyOf` or `oneOf` keyword at `path` of the schema leaves to choose from; none when that cannot be
/// said in words.
fn words(schema: &Value, path: &str) -> Vec<String> {
    let Some(options) = schema.pointer(path).and_then(Value::as_array) else {
        return Vec::new();
    };
    if path.ends_with("/enum") {
        return options
            .iter()
            .filter(|word| !word.is_null())
            .map(Value::to_string)
            .collect();
    }
    options
        .iter()
        .map(|option| choices(schema, option))
        .collect::<Option<Vec<_>>>()
        .unwrap_or_default()
        .concat()
}

/// The words that one alternative of a schema stands for; `null` needs no mention.
fn choices(schema: &Value, option: &Value) -> Option<Vec<String>> {
    let target = option
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| reference.strip_prefix('#'));
    let option = target
        .and_then(|pointer| schema.pointer(pointer))
        .unwrap_or(option);
    let nested = ["anyOf", "oneOf"]
        .iter()
        .find_map(|key| option.get(*key)?.as_array());
    match (
        option.get("const"),
        option.get("enum").and_then(Value::as_array),
        nested,
        option.get("type"),
    ) {
        (Some(word), ..) => Some(vec![word.to_string()]),
        (None, Some(words), ..) => Some(words.iter().map(Value::to_string).collect()),
        (None, None, Some(options), _) => options
            .iter()
            .map(|option| choices(schema, option))
            .collect::<Option<Vec<_>>>()
            .map(|words| words.concat()),
        (None, None, None, Some(Value::String(kind))) if kind == "null" => Some(Vec::new()),
        (None, None, None, Some(Value::String(kind))) => Some(vec![noun(option, kind)]),
        _ => None,
    }
}

/// What the `type` keyword at `path` of the schema wants, in words.
fn expected_type(schema: &Value, path: &str) -> Option<String> {
    let (parent, _) = path.rsplit_once('/')?;
    let table = schema.pointer(parent)?;
    let kinds = match table.get("type")? {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => vec![kind.as_str()?],
    };
    let kinds = kinds.into_iter().filter(|kind| *kind != "null");
    let words: Vec<String> = kinds.map(|kind| noun(table, kind)).collect();
    Some(words.join(" or ")).filter(|words| !words.is_empty())
}

/// A value of type `kind` in words; a number with the bounds that `table` sets.
fn noun(table: &Value, kind: &str) -> String {
    let word = match kind {
        "object" => "an object",
        "array" => "a list",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "string" => "a string",
        other => other,
    };
    let bound = |name: &str| table.get(name).filter(|_| word.ends_with("number"));
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!("{word} from {least} to {most}"),
        (Some(least), None) => format!("{word} from {least} up"),
        (None, Some(most)) => format!("{word} up to {most}"),
        (None, None) => word.to_owned(),
    }
}

/// A JSON pointer as people write paths: `/monitors/2/interval` → `monitors[2].interval`.
pub fn field(root: &str, pointer: &str) -> String {
    pointer.split('/').skip(1).fold(root.to_owned(), |path, part| {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.parse::<usize>().is_ok() {
            format!("{path}[{part}]")
        } else {
            join(&path, &part)
        }
    })
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Why `text` is none of `format`, if that is a format of ours that explains itself.
fn parse_error(format: &str, text: &str) -> Option<String> {
    match format {
        RULE_FORMAT => text.parse::<Rule>().err().map(|error| error.to_string()),
        DESTINATION_FORMAT => text.parse::<Destination>().err().map(|error| error.to_string()),
        NAME_FORMAT => text.parse::<NamePattern>().err().map(|error| error.to_string()),
        _ => None,
    }
}

fn is_duration(text: &str) -> bool {
    text.parse::<jiff::SignedDuration>()
        .is_ok_and(|duration| Duration::try_from(duration).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(schema: &Value, value: &Value, root: &str) -> Vec<(String, String)> {
        let mut found = Schema::new(schema, &["/password".to_owned()])
            .unwrap()
            .faults(value, root);
        found.sort();
        found
            .into_iter()
            .map(|fault| (fault.field, fault.message))
            .collect()
    }

    #[test]
    fn every_fault_is_found_at_once_and_named() {
        let schema = json!({
            "type": "object",
            "properties": { "list": { "type": "array", "items": { "$ref": "#/$defs/Item" } }, "port": { "type": "integer" } },
            "required": ["port"],
            "$defs": { "Item": {
                "type": "object",
                "properties": { "every": { "type": "string", "format": DURATION_FORMAT }, "at": { "type": "string", "format": "uri" }, "name": { "type": "string" } },
                "additionalProperties": false,
            } },
        });
        let value = json!({ "list": [{ "every": "10s" }, { "every": "soon", "nmae": 1, "name": 2 }, { "every": 5, "at": "a.test/" }] });
        let found = faults(&schema, &value, "config");
        let expected = [
            (
                "config.list[1].every",
                "\"soon\" is not a duration such as `500ms`, `10s` or `1m 30s`",
            ),
            ("config.list[1].name", "2 is not a string"),
            (
                "config.list[1].nmae",
                "unknown field, expected one of `every`, `at`, `name`; did you mean `name`?",
            ),
            (
                "config.list[2].at",
                "\"a.test/\" is not a URL with its scheme, such as `https://example.com/`",
            ),
            (
                "config.list[2].every",
                "5 is not a duration such as `500ms`, `10s` or `1m 30s`",
            ),
            ("config.port", "is missing"),
        ];
        let found: Vec<_> = found
            .iter()
            .map(|(field, message)| (field.as_str(), message.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_word_that_is_not_among_the_choices_is_told_all_of_them() {
        let schema = json!({ "properties": {
            "mode": { "oneOf": [{ "const": "open" }, { "enum": ["a", "b"] }] },
            "level": { "enum": ["one", "two", "three", "four"] },
            "maybe": { "anyOf": [{ "$ref": "#/$defs/Format" }, { "type": "null" }] },
            "wait": { "anyOf": [{ "$ref": "#/$defs/Time" }, { "type": "null" }] },
        }, "$defs": {
            "Format": { "oneOf": [{ "const": "text" }, { "const": "json" }] },
            "Time": { "type": "string", "format": DURATION_FORMAT },
        } });
        let found = faults(
            &schema,
            &json!({ "mode": "x", "level": "five", "maybe": "xml", "wait": 2 }),
            "",
        );
        let found: Vec<_> = found.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(
            found,
            [
                r#""five" is not one of "one", "two", "three", "four""#,
                r#""xml" is not one of "text", "json""#,
                r#""x" is not one of "open", "a", "b""#,
                "2 is not a duration such as `500ms`, `10s` or `1m 30s`",
            ]
        );
    }

    #[test]
    fn secrets_stay_out_of_messages() {
        let schema = json!({ "properties": { "password": { "type": "string", "maxLength": 5 } } });
        for value in [
            json!({ "password": "hunter22" }),
            json!({ "password": ["hunter22"] }),
        ] {
            let text = format!("{:?}", faults(&schema, &value, ""));
            assert!(text.contains("password") && !text.contains("hunter22"), "{text}");
        }
    }

    #[test]
    fn defaults_are_filled_in_where_nothing_is() {
        let source = json!({ "properties": { "port": { "default": 25 }, "host": {} } });
        let schema = Schema::new(&source, &[]).unwrap();
        let mut config = Map::new();
        assert!(!schema.fill(&mut config).is_empty());
        assert_eq!(config.get("port"), Some(&json!(25)));
        assert!(schema.fill(&mut config).is_empty());
    }

    #[test]
    fn unfit_schemas_are_refused_with_the_reason() {
        for (source, part) in [
            (json!([]), "not a JSON object"),
            (json!({"type": "strin"}), "strin"),
            (
                json!({"$ref": "https://example.com/x.json"}),
                "only references within",
            ),
            (
                json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
                "only references within",
            ),
            (json!({"properties": {"a": {"$ref": "#/$defs/none"}}}), "none"),
            (json!({"properties": {"a": {"pattern": "("}}}), "("),
        ] {
            let error = Schema::new(&source, &[]).unwrap_err();
            assert!(error.contains(part), "{source}: {error}");
        }
    }

    #[test]
    fn a_schema_that_explodes_is_refused_by_whatever_name() {
        let exploding = |reference: &dyn Fn(usize) -> String, more: &dyn Fn(usize) -> Value| {
            let mut definitions = Map::new();
            for level in 0..40 {
                let next = json!({ "$ref": reference(level + 1) });
                let mut definition = json!({ "allOf": [next.clone(), next] });
                definition
                    .as_object_mut()
                    .unwrap()
                    .extend(more(level).as_object().unwrap().clone());
                definitions.insert(format!("a{level}"), definition);
            }
            definitions.insert("a40".to_owned(), json!({ "type": "object" }));
            let source = json!({ "$ref": reference(0), "$defs": definitions });
            Schema::new(&source, &[]).unwrap_err()
        };
        let pointer = |level: usize| format!("#/$defs/a{level}");
        let error = exploding(&pointer, &|_| json!({}));
        assert!(error.contains("more than 10000 nodes"), "{error}");
        let error = exploding(&|level| format!("#/%24defs/a{level}"), &|_| json!({}));
        assert!(error.contains("there is no such place"), "{error}");
        let error = exploding(
            &|level| format!("#a{level}"),
            &|level| json!({ "$anchor": format!("a{level}") }),
        );
        assert!(error.contains("expected one such as"), "{error}");
        let error = exploding(&pointer, &|level| json!({ "$id": format!("a{level}") }));
        assert!(error.contains("`$id`"), "{error}");
    }

    #[test]
    fn a_schema_that_leads_back_to_itself_is_refused() {
        for source in [
            json!({ "properties": { "children": { "items": { "$ref": "#" } } } }),
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/b" }] }, "b": { "$ref": "#/$defs/a" } } }),
            json!({ "$dynamicRef": "#a", "$dynamicAnchor": "a" }),
        ] {
            assert!(Schema::new(&source, &[]).is_err(), "{source}");
        }
    }

    #[test]
    fn of_a_large_value_one_fault_is_told() {
        let schema = json!({ "items": { "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] } });
        let schema = Schema::new(&schema, &[]).unwrap();
        let empty = |count: usize| Value::Array(vec![json!({}); count]);
        assert_eq!(schema.faults(&empty(100), "").len(), 100);
        assert_eq!(schema.faults(&empty(100_000), "").len(), 1);
        assert_eq!(
            schema.faults(&Value::Array(vec![json!({ "a": 1 }); 100_000]), ""),
            []
        );
    }

    #[test]
    fn patterns_are_few_and_small() {
        let with = |count: usize, pattern: &str| {
            let text = |at: usize| format!("{pattern}{at}");
            let named: Map<_, _> = (0..count / 2).map(|at| (text(at), json!({}))).collect();
            let valued: Map<_, _> = (count / 2..count)
                .map(|at| (at.to_string(), json!({ "pattern": text(at) })))
                .collect();
            let source = json!({ "patternProperties": named, "properties": valued });
            Schema::new(&source, &[]).map(drop)
        };
        assert_eq!(with(64, r"^\w{1,32}$"), Ok(()));
        assert!(with(65, "^a").unwrap_err().contains("more than 64 patterns"));
        assert!(with(1, r"\w{20000}").unwrap_err().contains(r"\w{20000}"));
    }

    #[test]
    fn patterns_are_of_the_linear_engine() {
        // A back-reference needs a backtracking engine: one that a text can be made to hold up.
        assert!(Schema::new(&json!({"properties": {"a": {"pattern": r"^(a+)\1$"}}}), &[]).is_err());
    }

    #[test]
    fn an_unknown_field_is_told_what_it_may_have_been() {
        let properties: Map<String, Value> = (0..38)
            .map(|number| (format!("property_{number}"), json!({})))
            .chain([("timeout".to_owned(), json!({}))])
            .collect();
        let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        let schema = Schema::new(&schema, &[]).unwrap();
        let faults = schema.faults(&json!({ "timeuot": 1, "zork": 2 }), "");
        let text = sentence(&faults);
        assert!(
            text.contains("`property_7` or 31 others; did you mean `timeout`?"),
            "{text}"
        );
        assert!(text.ends_with("or 31 others"), "{text}");
    }
}
