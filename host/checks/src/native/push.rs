//! Kind `push`: the target reports by itself, and is down when it does not. Nothing is probed.
//!
//! What was pushed last comes with the task. In time is no news, as whoever took the push has stored it: the worker
//! settles such a task without a result.

use crate::{Check, CheckError, ProbeContext};
use jiff::SignedDuration;
use lapwing_model::{Observation, Reason};
use schemars::JsonSchema;
use serde::Deserialize;

/// The status of a stored result that counts as a push (Peekaping's number for up).
const UP: i64 = 1;

/// Kind `push`.
#[derive(Debug, Clone, Copy)]
pub struct Push;

/// Configuration of kind `push`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushConfig {
    /// What a pusher names the monitor by, where pushes are taken in; no effect on the check.
    #[serde(default, rename = "pushToken")]
    pub push_token: String,
}

impl Check for Push {
    const KIND: &'static str = "push";
    const SUMMARY: &'static str = "Waits for the target to report by itself";
    const EXAMPLE: &'static str = r#"{"pushToken": "k3yThatOnlyTheTargetKnows"}"#;
    const SENSITIVE: &'static [&'static str] = &["/pushToken"];
    // Peekaping's worker does not read it.
    const TAKES_ANY_CONFIG: bool = true;
    type Config = PushConfig;

    async fn probe(&self, _: PushConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let Some(last) = &cx.task.last_heartbeat else {
            return Ok(Observation::down(Reason::NoPush, "No push received yet"));
        };
        let age = last
            .time
            .filter(|_| last.status == UP)
            .map(|at| cx.clock.now().duration_since(at));
        let interval = SignedDuration::try_from(cx.task.monitor.interval).unwrap_or(SignedDuration::MAX);
        Ok(match age {
            Some(age) if age <= interval => {
                Observation::up(format!("Push received {} s ago", age.as_secs().max(0))).untold()
            }
            _ => Observation::down(Reason::NoPush, "No push received in time"),
        })
    }
}
