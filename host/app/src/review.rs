//! Holds monitors against their kinds, once the plugins are there. Native ones have been held against their schema when
//! the file was read.

use crate::{
    config::{Faults, Numbered},
    kinds::Kinds,
};
use lapwing_checks::Origin;
use serde_json::Value;
use std::{collections::HashSet, time::Duration};
use tokio::time::Instant;

/// How long a plugin may take to say what it finds wrong with one configuration.
const ANSWER: Duration = Duration::from_secs(2);
/// How long all of them may take.
const ALL: Duration = Duration::from_secs(10);

/// Holds each configuration of a plugin's kind against its schema: what is wrong with it goes to `faults`.
pub(crate) fn hold(kinds: &Kinds, monitors: &[Numbered], faults: &mut Faults) {
    for Numbered { index, monitor } in monitors {
        if let Ok(executor) = kinds.executor(&monitor.kind)
            && executor.info().origin != Origin::Native
        {
            let value = serde_json::from_str(&monitor.config).unwrap_or(Value::Null);
            faults.hold(executor.info(), &value, &format!("monitors[{index}].config"));
        }
    }
}

/// As [`hold`]; what a native kind finds wrong goes to `faults` as well. Then asks each plugin, whose findings are only
/// warned of, as unknown kinds are: no plugin can keep other monitors from being watched. A plugin that cannot say, or not soon, is not asked again.
pub(crate) async fn monitors(kinds: &Kinds, monitors: &[Numbered], faults: &mut Faults) {
    let end = Instant::now() + ALL;
    let mut mute = HashSet::new();
    for Numbered { index, monitor } in monitors {
        let warn = |why: &dyn std::fmt::Display| {
            tracing::warn!(monitor.id, "monitor `{}`: {why}", monitor.name);
        };
        let executor = match kinds.executor(&monitor.kind) {
            Ok(executor) if executor.info().origin == Origin::Native => {
                // What does not even fit the schema was told when the file was read.
                let root = format!("monitors[{index}].config");
                let found = executor.review(&monitor.config, &root, end).await;
                faults.add(found.unwrap_or_default());
                continue;
            }
            Ok(executor) => executor,
            Err(error) => {
                warn(&error);
                continue;
            }
        };
        let value = serde_json::from_str(&monitor.config).unwrap_or(Value::Null);
        let root = format!("monitors[{index}].config");
        let now = Instant::now();
        if !faults.hold(executor.info(), &value, &root) || mute.contains(&monitor.kind) || now >= end {
            continue;
        }
        let deadline = end.min(now + ANSWER.min(monitor.timeout));
        match executor.review(&monitor.config, &root, deadline).await {
            Ok(found) => found
                .iter()
                .for_each(|fault| warn(&format_args!("{}: {}", fault.field, fault.message))),
            Err(error) => {
                mute.insert(&monitor.kind);
                warn(&error);
            }
        }
    }
}
