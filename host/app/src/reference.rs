//! The reference pages, made from the schemas that check the configuration: they cannot say anything else than the code.
//!
//! `./just docs` writes them; the tests fail while they are out of date.

use crate::{
    config::FileConfig,
    fields::{self, named, properties, resolve},
};
use lapwing_checks::{KindInfo, Registry, native};
use serde_json::Value;
use std::{fmt::Write, fs, path::PathBuf};

const CONFIG_HEAD: &str = "\
# Configuration file\n\n<!-- made by `./just docs` from host/app/src/config/file.rs -->\n\n\
TOML or YAML, named by `--settings`, `--config` (but of commands that run one check) or `LAPWING_CONFIG`. Everything is optional unless it says otherwise.\n";
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
    current("checks.md", &page);
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
    page.push_str("\n| field | type | default | |\n|---|---|---|---|\n");
    for field in fields::of(schema, table) {
        if field.inner.is_some() {
            continue;
        }
        let default = match field.default {
            None if field.required => "**required**".to_owned(),
            None => String::new(),
            Some(default) => format!("`{default}`"),
        };
        let about = field.about.replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{}` | {} | {default} | {about} |",
            field.name, field.kind
        );
    }
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
