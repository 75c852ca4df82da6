//! What is known of a file, for people. Most of it is the plugin's own word: every text is made fit for a terminal.

use super::Inspected;
use crate::{
    cli::{
        kind,
        table::{disabled, grid, indented},
    },
    console::one_line,
};
use lapwing_wasm::{About, Capability, PluginState};
use std::path::Path;

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
        blocks.extend(self.executors.iter().map(|info| {
            let command = format!(
                "lapwing plugin test {} --kind {}",
                report.path.display(),
                info.kind
            );
            kind::page(info, &command)
        }));
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
    facts.extend(about.warnings.iter().map(|warning| ("warning", warning.clone())));
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
