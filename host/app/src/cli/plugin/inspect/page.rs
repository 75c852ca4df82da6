//! What is known of a file, for people. Most of it is the plugin's own word: every text is made fit for a terminal.

use super::Inspected;
use crate::{
    cli::table::{disabled, grid},
    console::one_line,
    fields::{self, Field},
};
use lapwing_checks::KindInfo;
use lapwing_wasm::{About, Capability, PluginState};
use serde_json::Value;
use std::path::Path;

/// How deep settings within settings are listed.
const DEPTH: usize = 3;
/// How many settings of a kind are listed.
const ROWS: usize = 200;

impl Inspected {
    /// `decisions` is where it is kept which are disabled. A few lines on the file, what it asks for, and a table of each kind's settings.
    pub(super) fn page(&self, decisions: Option<&Path>) -> String {
        let report = &self.report;
        let file = report.path.display().to_string();
        let title = match &report.about {
            Some(about) => format!("{} {}: {}", report.name, report.version, about.summary),
            None => file.clone(),
        };
        let state = match (&report.state, decisions) {
            (PluginState::Disabled, Some(decisions)) => disabled(&report.name, decisions),
            (state, _) => state.to_string(),
        };
        let mut facts = vec![("state", state), ("file", file)];
        if let Some(size) = report.size_bytes {
            facts.push(("size", format!("{} KiB", size.div_ceil(1024))));
        }
        if let Some(digest) = &report.digest {
            facts.push(("sha256", digest.clone()));
        }
        facts.extend(report.about.iter().flat_map(of));
        let facts = facts
            .into_iter()
            .map(|(name, fact)| format!("  {name:9}  {}", one_line(&fact)));
        let mut blocks = vec![
            std::iter::once(one_line(&title))
                .chain(facts)
                .collect::<Vec<_>>()
                .join("\n"),
        ];
        if let Some(about) = &report.about {
            blocks.push(asks(&about.capabilities));
        }
        blocks.extend(self.executors.iter().map(|kind| section(kind, &report.path)));
        blocks.join("\n\n")
    }
}

/// What a plugin says of itself, and what its compilation showed.
fn of(about: &About) -> Vec<(&'static str, String)> {
    let imports = about.imports.len();
    let mut facts = vec![
        (
            "interface",
            format!(
                "lapwing:plugin@{}; {imports} imports (--json lists them)",
                about.interface
            ),
        ),
        ("compiled", format!("in {} ms", about.compile_ms)),
        (
            "memory",
            format!("{} KiB at the start of a run", about.memory_kib),
        ),
    ];
    let said = [("licence", &about.license), ("homepage", &about.homepage)];
    facts.extend(
        said.into_iter()
            .filter_map(|(name, fact)| Some((name, fact.clone()?))),
    );
    facts
}

fn asks(capabilities: &[Capability]) -> String {
    if capabilities.is_empty() {
        return "asks for nothing".to_owned();
    }
    let rows: Vec<_> = capabilities
        .iter()
        .map(|capability| {
            let scope = match capability.scope.as_slice() {
                [] => "its monitors' own targets".to_owned(),
                scope => scope.join(", "),
            };
            let need = if capability.optional { "no" } else { "yes" };
            [
                one_line(&capability.kind),
                one_line(&capability.name),
                one_line(&scope),
                need.to_owned(),
                one_line(&capability.reason),
            ]
        })
        .collect();
    format!(
        "asks for\n{}",
        indented(&grid(["KIND", "RIGHT", "TO", "NEEDED", "WHY"], &rows))
    )
}

fn section(kind: &KindInfo, file: &Path) -> String {
    let mut rows = Vec::new();
    list(&kind.schema, &kind.schema, "", DEPTH, &mut rows);
    let left_out = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    let mut text = format!("kind `{}`: {}", one_line(&kind.kind), one_line(&kind.summary));
    if !rows.is_empty() {
        let head = ["FIELD", "TYPE", "DEFAULT", "WHAT IT IS"];
        text = format!("{text}\n{}", indented(&grid(head, &rows)));
    }
    if left_out > 0 {
        text = format!("{text}\n  and {left_out} more");
    }
    if let Some(example) = &kind.example {
        let quoted = example.to_string().replace('\'', r"'\''");
        let example = format!(
            "lapwing plugin test {} --kind {} --config '{quoted}'",
            file.display(),
            kind.kind
        );
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

fn indented(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}
