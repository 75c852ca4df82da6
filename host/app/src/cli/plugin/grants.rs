//! What a plugin that waits asks for, as lines for the settings file.

use lapwing_wasm::{Grant, PluginReport, PluginState, asked, grantable};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The table that would let a plugin serve, with what it is `granted` already; `None` where it does not wait, or in vain. A
/// table can stand anywhere in the file; a dotted line would belong to the table before it.
pub(crate) fn table(report: &PluginReport, granted: &BTreeMap<String, Grant>) -> Option<String> {
    let about = report.about.as_ref()?;
    if !matches!(report.state, PluginState::PendingApproval { .. }) || !grantable(&about.capabilities) {
        return None;
    }
    let before = granted.get(&report.name);
    let grant = before
        .cloned()
        .unwrap_or_default()
        .and(&asked(&about.capabilities));
    let place = match before {
        Some(_) => "in place of the table that is there",
        None => "in the settings file",
    };
    Some(format!(
        "`{}` would serve with this {place}:\n\n{}",
        report.name,
        of(&report.name, &grant)
    ))
}

fn of(name: &str, grant: &Grant) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let key = match name {
        name if !name.is_empty() && name.chars().all(bare) => name.to_owned(),
        name => json!(name).to_string(),
    };
    // Lists of texts and `true` are written alike in JSON and TOML.
    let fields = json!(grant);
    let fields = fields.as_object().into_iter().flatten();
    let fields = fields.map(|(field, value): (&String, &Value)| format!("\n{field} = {value}"));
    format!("[plugins.grants.{key}]{}", fields.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_table_that_reads_back_as_the_same_grant() {
        let grant: Grant = serde_json::from_value(json!({
            "hosts": ["relay.test:25", "*.corp.test"], "secrets": ["a\"b"], "state": true,
        }))
        .unwrap();
        for name in ["probe", "a b", "ä\"]"] {
            let text = format!("[monitors.config]\nurl = \"x\"\n\n{}\n", of(name, &grant));
            let read: toml::Table = text.parse().unwrap();
            let back: Grant = read["plugins"]["grants"][name].clone().try_into().unwrap();
            assert_eq!(back, grant, "{text}");
        }
    }
}
