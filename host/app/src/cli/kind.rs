//! What one kind takes, for people: its summary, its settings and an example. A plugin's texts are its own word, so each is
//! made fit for a terminal.

use super::table::{grid, indented};
use crate::{
    console::one_line,
    fields::{self, Field},
};
use lapwing_checks::KindInfo;
use serde_json::Value;

/// How deep settings within settings are listed.
const DEPTH: usize = 3;
/// How many settings of a kind are listed.
const ROWS: usize = 200;

/// The settings of `kind`; `command` is what its example is shown with.
pub(super) fn page(kind: &KindInfo, command: &str) -> String {
    let mut rows = Vec::new();
    list(&kind.schema, &kind.schema, "", DEPTH, &mut rows);
    let left_out = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    for [place, type_, ..] in &mut rows {
        let pointer = format!("/{}", place.replace('.', "/"));
        if kind.sensitive.contains(&pointer) {
            type_.push_str(", secret");
        }
    }
    let mut text = format!("kind `{}`: {}", one_line(&kind.kind), one_line(&kind.summary));
    if !kind.aliases.is_empty() {
        text = format!("{text} (also `{}`)", one_line(&kind.aliases.join("`, `")));
    }
    if !rows.is_empty() {
        let head = ["FIELD", "TYPE", "DEFAULT", "WHAT IT IS"];
        text = format!("{text}\n{}", indented(&grid(head, &rows)));
    }
    if left_out > 0 {
        text = format!("{text}\n  and {left_out} more");
    }
    if let Some(example) = &kind.example {
        let quoted = example.to_string().replace('\'', r"'\''");
        let example = format!("{command} --config '{quoted}'");
        text = format!("{text}\n  for example\n    {}", one_line(&example));
    }
    text
}

/// The fields of `table`, and of the tables in it.
fn list(schema: &Value, table: &Value, prefix: &str, depth: usize, rows: &mut Vec<[String; 4]>) {
    for field in fields::of(schema, table) {
        let Field {
            name,
            kind,
            default,
            required,
            about,
            inner,
            item,
        } = field;
        let place = format!("{prefix}{name}");
        let default = match default {
            None if required => "required".to_owned(),
            default => default.unwrap_or_default(),
        };
        rows.push([&place, &kind, &default, about].map(one_line));
        let (within, path) = match (inner, item) {
            (Some(inner), _) => (inner, format!("{place}.")),
            (None, Some(item)) => (item, format!("{place}[].")),
            (None, None) => continue,
        };
        if depth > 1 && rows.len() < ROWS {
            list(schema, within, &path, depth - 1, rows);
        }
    }
}
