//! The reference pages, made from the schemas that check the configuration: they cannot say anything else than the code.
//!
//! `./just docs` writes them; the tests fail while they are out of date.

use crate::config::FileConfig;
use lapwing_checks::{KindInfo, Registry, native};
use serde_json::{Map, Value};
use std::{fmt::Write, fs, path::PathBuf};

const CONFIG_HEAD: &str = "\
# Configuration file\n\n<!-- made by `./just docs` from host/app/src/config/file.rs -->\n\n\
TOML or YAML, named by `--config` or `LAPWING_CONFIG`. Everything is optional unless it says otherwise.\n";
const KINDS_HEAD: &str = "\
# Kinds of check\n\n<!-- made by `./just docs` from host/checks/src/native/ -->\n\n\
The settings of each native kind, under `[monitors.config]`. Plugins bring their own: `lapwing kinds KIND --json`.\n";

#[test]
fn the_reference_of_the_configuration_file_is_current() {
    let schema = schemars::schema_for!(FileConfig).to_value();
    let mut page = CONFIG_HEAD.to_owned();
    for (name, table) in properties(&schema) {
        let inner = resolve(&schema, table);
        let (heading, inner) = match (inner.get("items"), named(&schema, inner)) {
            (Some(items), _) => (format!("[[{name}]]"), resolve(&schema, items)),
            (None, Some(entry)) => (format!("[{name}.NAME]"), entry),
            (None, None) => (format!("[{name}]"), inner),
        };
        section(&mut page, &schema, &heading, table, inner);
    }
    current("config.md", &page);
}

#[test]
fn the_reference_of_the_native_kinds_is_current() {
    let mut registry = Registry::default();
    native::register(&mut registry).unwrap();
    let mut page = KINDS_HEAD.to_owned();
    for KindInfo {
        kind,
        aliases,
        summary,
        schema,
        ..
    } in registry.kinds()
    {
        let also = if aliases.is_empty() {
            String::new()
        } else {
            format!(" (also `{}`)", aliases.join("`, `"))
        };
        let _ = write!(page, "\n## `{kind}`{also}\n\n{summary}.\n");
        rows(&mut page, schema, schema);
    }
    current("kinds.md", &page);
}

#[test]
fn the_description_of_the_api_is_current() {
    let document = crate::admin::openapi::document();
    let text = serde_json::to_string_pretty(&document).unwrap();
    current("openapi.json", &(text + "\n"));
}

/// A table of the file and the tables within it.
fn section(page: &mut String, schema: &Value, heading: &str, outer: &Value, table: &Value) {
    let about = outer
        .get("description")
        .or_else(|| table.get("description"))
        .and_then(Value::as_str)
        .unwrap_or("");
    let _ = write!(page, "\n## `{heading}`\n\n{about}\n");
    rows(page, schema, table);
    for (name, property) in properties(table) {
        let inner = resolve(schema, property);
        let entry = named(schema, inner);
        let name = if entry.is_some() {
            format!("{name}.NAME")
        } else {
            name.clone()
        };
        let inner = entry.unwrap_or(inner);
        if inner.get("properties").is_some() {
            let heading = format!(
                "{}.{name}{}",
                heading.trim_end_matches(']'),
                "]".repeat(heading.matches(']').count())
            );
            section(page, schema, &heading, property, inner);
        }
    }
}

fn rows(page: &mut String, schema: &Value, table: &Value) {
    let required: Vec<&str> = table
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    page.push_str("\n| field | type | default | |\n|---|---|---|---|\n");
    for (name, property) in properties(table) {
        let inner = resolve(schema, property);
        if inner.get("properties").or(named(schema, inner)).is_some() {
            continue;
        }
        let default = match property.get("default") {
            Some(Value::Null) | None if required.contains(&name.as_str()) => "**required**".to_owned(),
            Some(Value::Null) | None => String::new(),
            Some(default) => format!("`{default}`"),
        };
        let about = property
            .get("description")
            .or_else(|| inner.get("description"))
            .and_then(Value::as_str);
        let about = about.unwrap_or("").replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{name}` | {} | {default} | {about} |",
            kind_of(schema, property)
        );
    }
}

/// What a property may be, in a few words.
fn kind_of(schema: &Value, property: &Value) -> String {
    let inner = resolve(schema, property);
    if let Some(options) = ["anyOf", "oneOf"]
        .iter()
        .find_map(|key| inner.get(key)?.as_array())
    {
        let mut kinds: Vec<String> = options.iter().map(|option| kind_of(schema, option)).collect();
        kinds.dedup();
        kinds.retain(|kind| kind != "null");
        return kinds.join(" or ");
    }
    if let Some(words) = inner.get("enum").and_then(Value::as_array) {
        return words
            .iter()
            .filter(|word| !word.is_null())
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(word) = inner.get("const") {
        return format!("`{word}`");
    }
    if inner.get("format").and_then(Value::as_str) == Some(lapwing_checks::schema::DURATION_FORMAT) {
        return "duration".to_owned();
    }
    match inner.get("type") {
        Some(Value::String(name)) if name == "array" => {
            let items = inner
                .get("items")
                .map_or_else(|| "any".to_owned(), |items| kind_of(schema, items));
            format!("list of {items}")
        }
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "any".to_owned(),
    }
}

/// Of a table whose keys are names of the user's: what stands under each.
fn named<'a>(schema: &'a Value, table: &'a Value) -> Option<&'a Value> {
    let entry = resolve(schema, table.get("additionalProperties")?);
    entry.get("properties").map(|_| entry)
}

fn properties(table: &Value) -> impl Iterator<Item = (&String, &Value)> {
    table
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
}

/// Follows a reference within the schema.
fn resolve<'a>(schema: &'a Value, property: &'a Value) -> &'a Value {
    let reference = property
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| reference.strip_prefix('#'));
    reference
        .and_then(|pointer| schema.pointer(pointer))
        .unwrap_or(property)
}

/// The page on disk is this one; with `UPDATE_REFERENCE` set it becomes so.
fn current(name: &str, page: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference")
        .join(name);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, page).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/reference/{name} is out of date: run `./just docs`"
    );
}
