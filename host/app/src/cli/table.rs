//! Tables for people.

use crate::console::{Console, one_line};
use lapwing_checks::KindInfo;
use lapwing_model::{CheckResult, Status, observation::milliseconds};
use lapwing_wasm::{PluginReport, PluginState};
use serde_json::{Value, json};
use std::path::Path;
use unicode_width::UnicodeWidthChar;

/// One line a monitor, and how many are what.
pub(crate) fn of_results(results: &[CheckResult], console: Console) -> String {
    let rows: Vec<_> = results
        .iter()
        .map(|result| {
            let observation = &result.observation;
            let latency = observation
                .latency
                .map_or_else(String::new, |time| format!("{:.1} ms", milliseconds(time)));
            let reason = observation
                .reason
                .as_ref()
                .map_or("", lapwing_model::Reason::as_str);
            [
                console.status(observation.status),
                one_line(&result.monitor_name),
                one_line(&result.kind),
                latency,
                reason.to_owned(),
                one_line(&observation.message),
            ]
        })
        .collect();
    let counts = Status::ALL.map(|status| {
        (
            status,
            results.iter().filter(|r| r.observation.status == status).count(),
        )
    });
    let counts: Vec<_> = counts
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(status, n)| format!("{n} {status}"))
        .collect();
    format!(
        "{}\n\n{}",
        grid(
            ["STATUS  ", "MONITOR", "KIND", "LATENCY", "REASON", "MESSAGE"],
            &rows
        ),
        counts.join(", ")
    )
}

/// The result of one check, a line a fact.
pub(crate) fn of_result(result: &CheckResult, console: Console) -> String {
    let observation = &result.observation;
    let mut lines = vec![format!(
        "{} {}",
        console.status(observation.status),
        one_line(&observation.message)
    )];
    if let Some(reason) = &observation.reason {
        lines.push(format!("  reason   {reason}"));
    }
    if let Some(latency) = observation.latency {
        let phases: Vec<_> = observation
            .phases
            .iter()
            .map(|phase| format!("{} {:.1}", phase.name, milliseconds(phase.elapsed)))
            .collect();
        lines.push(format!(
            "  latency  {:.1} ms  ({})",
            milliseconds(latency),
            phases.join(", ")
        ));
    }
    // Most plugins time their own target; JSON says which numbers are a plugin's word.
    let usual = |name: &str, value: &Value| name == "plugin.claimed" && *value == json!(["latency"]);
    for (name, value) in &observation.attributes {
        if usual(name, value) {
            continue;
        }
        lines.push(format!("  {name}  {}", one_line(&value.to_string())));
    }
    for metric in &observation.metrics {
        let labels = metric
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let labels = labels.collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() {
            labels
        } else {
            format!("{{{labels}}}")
        };
        let unit = metric.unit.as_deref().unwrap_or("");
        lines.push(one_line(
            format!("  {}{labels}  {} {unit}", metric.name, metric.value).trim_end(),
        ));
    }
    if let Some(tls) = &observation.tls {
        let verified = if tls.verified { "verified" } else { "not verified" };
        lines.push(format!(
            "  tls      {} {} {verified} {}",
            tls.protocol,
            tls.cipher,
            one_line(tls.verify_error.as_deref().unwrap_or(""))
        ));
        if let Some(leaf) = tls.chain.first() {
            lines.push(format!(
                "           {} until {}",
                one_line(&leaf.subject),
                leaf.not_after
            ));
        }
    }
    lines.join("\n")
}

/// A step to the right.
pub(super) fn indented(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

/// One line a kind.
pub(crate) fn of_kinds(kinds: &[&KindInfo]) -> String {
    let rows: Vec<_> = kinds
        .iter()
        .map(|info| {
            let name = std::iter::once(&info.kind)
                .chain(&info.aliases)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            [name, info.origin.to_string(), info.summary.clone()]
        })
        .collect();
    grid(["KIND", "FROM", "WHAT IT CHECKS"], &rows)
}

/// Where it is kept that a plugin is disabled, and what lets it serve.
pub(crate) fn disabled(name: &str, decisions: &Path) -> String {
    format!(
        "disabled in `{}`; `lapwing plugin enable {name}` lets it serve",
        decisions.display()
    )
}

/// One line a file; `decisions` is where it is kept which are disabled.
pub(crate) fn of_plugins(plugins: &[PluginReport], folder: &Path, decisions: Option<&Path>) -> String {
    if plugins.is_empty() {
        return format!(
            "no plugins in `{}`; drop a .wasm file there, or name a folder with --plugins",
            folder.display()
        );
    }
    let rows: Vec<_> = plugins
        .iter()
        .map(|plugin| {
            let file = plugin
                .path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let state = match (&plugin.state, &plugin.degraded, decisions) {
                (PluginState::Disabled, _, Some(file)) => disabled(&plugin.name, file),
                (state, Some(why), _) => format!("{state}; degraded: {why}"),
                (state, None, _) => state.to_string(),
            };
            [
                one_line(&file),
                plugin.name.clone(),
                plugin.version.clone(),
                plugin.kinds.join(", "),
                one_line(&state),
            ]
        })
        .collect();
    grid(["FILE", "PLUGIN", "VERSION", "KINDS", "STATE"], &rows)
}

/// Columns as wide as their widest cell; colours do not count.
pub(crate) fn grid<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| visible(cell));
        cells
            .chain(head.get(column).map(|cell| visible(cell)))
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: &[String; N]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(visible(cell)))));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(&head.map(str::to_owned));
    std::iter::once(head)
        .chain(rows.iter().map(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Columns that a text takes on a terminal: escape sequences (`ESC [ … m`) take none, wide characters two.
fn visible(text: &str) -> usize {
    let mut escaped = false;
    let shown = text.chars().filter(|c| {
        let shown = !escaped && *c != '\x1b';
        escaped = *c == '\x1b' || (escaped && *c != 'm');
        shown
    });
    shown.filter_map(UnicodeWidthChar::width).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lapwing_model::{Metric, Observation, Reason, SystemClock, WorkerIdentity};
    use serde_json::Map;

    use super::*;
    use crate::{admin::checks::adhoc, producer};

    #[test]
    fn columns_stay_in_line_whatever_is_in_them() {
        let rows = [
            [
                "\x1b[32mup\x1b[0m".to_owned(),
                "\u{4e2d}\u{6587}".to_owned(),
                "x".to_owned(),
            ],
            [
                "down".to_owned(),
                "name".to_owned(),
                one_line("a\u{202e}b\x1b[31m\n"),
            ],
        ];
        assert_eq!(
            grid(["A", "B", "C"], &rows),
            "A     B     C\n\x1b[32mup\x1b[0m    \u{4e2d}\u{6587}  x\ndown  name  a b [31m"
        );
    }

    /// What a run of nobody's monitor that saw this is told as.
    fn shown(seen: Observation) -> String {
        let task = producer::task(&adhoc("x", Map::new(), Duration::from_secs(1)), &SystemClock);
        let nobody = WorkerIdentity {
            name: "x".to_owned(),
            region: None,
        };
        let now = task.scheduled_at.unwrap();
        of_result(
            &CheckResult::new(&task, &nobody, now, now, seen),
            Console::new(true),
        )
    }

    #[test]
    fn that_a_plugin_timed_its_target_is_no_news() {
        let of = |claimed: Value| {
            let mut seen = Observation::unknown(Reason::Internal, "x");
            seen.attributes.insert("plugin.claimed".to_owned(), claimed);
            shown(seen)
        };
        assert!(!of(json!(["latency"])).contains("claimed"));
        assert!(of(json!(["latency", "tls"])).contains("claimed"));
    }

    #[test]
    fn a_measured_number_has_its_labels_and_unit() {
        let mut seen = Observation::up("x");
        let metric = |unit: Option<&str>, labels: &[(&str, &str)]| Metric {
            name: "backlog".to_owned(),
            value: 2.5,
            unit: unit.map(ToOwned::to_owned),
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        seen.metrics = vec![
            metric(None, &[]),
            metric(Some("jobs"), &[("queue", "a"), ("zone", "b")]),
        ];
        let shown = shown(seen);
        let lines: Vec<_> = shown.lines().skip(1).collect();
        assert_eq!(lines, ["  backlog  2.5", "  backlog{queue=a,zone=b}  2.5 jobs"]);
    }
}
