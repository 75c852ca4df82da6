//! What became of each trial, and how to say it.

use crate::console::{Console, one_line};
use serde::Serialize;

/// Everything that was tried.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Whether nothing failed.
    pub(crate) passed: bool,
    pub(crate) trials: Vec<Trial>,
}

/// One thing that was tried.
#[derive(Debug, Serialize)]
pub(crate) struct Trial {
    /// Of which kind; absent for what concerns the whole plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// What was tried.
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Pass {
        /// What was seen.
        seen: String,
    },
    /// Not a fault, but somebody should look at it.
    Note {
        /// What was seen, and what to think of.
        seen: String,
    },
    /// The plugin must be mended.
    Fail {
        /// What was seen.
        seen: String,
        /// What to change.
        change: String,
    },
}

impl Verdict {
    pub(crate) fn fail(seen: impl Into<String>, change: impl Into<String>) -> Self {
        Self::Fail {
            seen: seen.into(),
            change: change.into(),
        }
    }
}

impl Report {
    pub(crate) fn of(trials: Vec<Trial>) -> Self {
        Self {
            passed: !trials
                .iter()
                .any(|trial| matches!(trial.verdict, Verdict::Fail { .. })),
            trials,
        }
    }

    /// One line a trial, another for what to change, and a count.
    pub(crate) fn table(&self, console: Console) -> String {
        let wide = |trial: &Trial| trial.title().chars().count();
        let width = self.trials.iter().map(wide).max().unwrap_or(0);
        let mut lines: Vec<String> = Vec::new();
        let (mut failed, mut noted) = (0, 0);
        for trial in &self.trials {
            let (word, color, seen) = match &trial.verdict {
                Verdict::Pass { seen } => ("pass", 32, seen),
                Verdict::Note { seen } => ("note", 33, seen),
                Verdict::Fail { seen, .. } => ("FAIL", 31, seen),
            };
            lines.push(format!(
                "{}  {:width$}  {}",
                console.color(word, color),
                trial.title(),
                one_line(seen)
            ));
            match &trial.verdict {
                Verdict::Pass { .. } => {}
                Verdict::Note { .. } => noted += 1,
                Verdict::Fail { change, .. } => {
                    failed += 1;
                    lines.push(format!("      {:width$}  change: {}", "", one_line(change)));
                }
            }
        }
        let passed = self.trials.len() - failed - noted;
        lines.push(format!("\n{passed} passed, {failed} failed, {noted} to look at"));
        lines.join("\n")
    }
}

impl Trial {
    fn title(&self) -> String {
        match &self.kind {
            Some(kind) => format!("{kind}: {}", self.name),
            None => self.name.clone(),
        }
    }
}
