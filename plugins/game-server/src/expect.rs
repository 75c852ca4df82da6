//! What both kinds may expect of a server, and the judgement. No I/O.

use crate::wildcard;
use lapwing_plugin_sdk::Outcome;
use schemars::JsonSchema;
use serde::Deserialize;

/// What a server showed, whatever the game.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) map: Option<String>,
    pub(crate) version: String,
    pub(crate) players: i64,
    pub(crate) max_players: i64,
}

/// Expectations; each of them counts when it is given. Patterns: `*` stands for any text, `?` for one character, case
/// does not count.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// Fewest players.
    #[serde(default)]
    pub(crate) min_players: Option<u32>,
    /// Most players.
    #[serde(default)]
    pub(crate) max_players: Option<u32>,
    /// Pattern of the server's name (Minecraft: its message of the day).
    #[schemars(length(min = 1, max = 256))]
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// Pattern of the map. Minecraft tells none.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default)]
    pub(crate) map: Option<String>,
    /// Pattern of the version, such as `1.21.*`.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default)]
    pub(crate) version: Option<String>,
}

/// The outcome, and attributes under `prefix`.
pub(crate) fn judge(prefix: &str, expect: &Expect, seen: &Seen) -> Outcome {
    let outcome = match fault(expect, seen) {
        Some(fault) => Outcome::down("assertion_failed", fault),
        None => Outcome::up(summary(seen)),
    };
    let outcome = outcome
        .with_attribute(&format!("{prefix}.name"), shown(&seen.name))
        .with_attribute(&format!("{prefix}.version"), shown(&seen.version))
        .with_metric("players", number(seen.players), None)
        .with_metric("max_players", number(seen.max_players), None);
    match &seen.map {
        Some(map) => outcome.with_attribute(&format!("{prefix}.map"), shown(map)),
        None => outcome,
    }
}

/// The first thing that is not as asked.
fn fault(expect: &Expect, seen: &Seen) -> Option<String> {
    if let Some(least) = expect.min_players.filter(|&least| seen.players < least.into()) {
        return Some(format!("{} players, at least {least} expected", seen.players));
    }
    if let Some(most) = expect.max_players.filter(|&most| seen.players > most.into()) {
        return Some(format!("{} players, at most {most} expected", seen.players));
    }
    let map = seen.map.as_deref().unwrap_or_default();
    let texts = [
        ("name", &expect.name, seen.name.as_str()),
        ("map", &expect.map, map),
        ("version", &expect.version, &seen.version),
    ];
    texts.into_iter().find_map(|(what, pattern, found)| {
        let pattern = pattern
            .as_ref()
            .filter(|pattern| !wildcard::matches(pattern, found))?;
        Some(format!("{what} is `{}`, expected `{pattern}`", shown(found)))
    })
}

fn summary(seen: &Seen) -> String {
    let map = seen.map.as_ref().map(|map| format!(" on {}", shown(map)));
    format!(
        "{}: {} of {} players{}; version {}",
        shown(&seen.name),
        seen.players,
        seen.max_players,
        map.unwrap_or_default(),
        shown(&seen.version)
    )
}

/// A server's words, cut to what fits a line.
fn shown(words: &str) -> String {
    words.chars().take(120).collect()
}

/// Counts of players are small: nothing is lost.
fn number(count: i64) -> f64 {
    i32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_plugin_sdk::{Status, serde_json};

    fn seen() -> Seen {
        Seen {
            name: "Frag Palace".into(),
            map: Some("de_dust2".into()),
            version: "1.38.7.9".into(),
            players: 5,
            max_players: 16,
        }
    }

    fn verdict(json: &str) -> (Status, String) {
        let outcome = judge("game", &serde_json::from_str(json).unwrap(), &seen());
        (outcome.status, outcome.message)
    }

    #[test]
    fn a_server_as_expected_is_up() {
        let (status, message) =
            verdict(r#"{"min_players":5,"max_players":5,"name":"frag*","map":"de_*","version":"1.38.*"}"#);
        assert_eq!(status, Status::Up);
        assert_eq!(
            message,
            "Frag Palace: 5 of 16 players on de_dust2; version 1.38.7.9"
        );
        assert_eq!(verdict("{}").0, Status::Up);
    }

    #[test]
    fn every_expectation_can_fail() {
        for (json, message) in [
            (r#"{"min_players":6}"#, "5 players, at least 6 expected"),
            (r#"{"max_players":4}"#, "5 players, at most 4 expected"),
            (r#"{"name":"Frag"}"#, "name is `Frag Palace`, expected `Frag`"),
            (r#"{"map":"cs_*"}"#, "map is `de_dust2`, expected `cs_*`"),
            (r#"{"version":"2*"}"#, "version is `1.38.7.9`, expected `2*`"),
        ] {
            assert_eq!(verdict(json), (Status::Down, message.to_owned()));
        }
    }
}
