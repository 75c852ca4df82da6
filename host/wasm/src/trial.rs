//! One run of a plugin for somebody who looks at it: an author, or an operator before granting something.
//!
//! It runs as any check does, with the same limits and rights; each call to the host is written down. It counts for
//! nothing: not for the quarantine, and what the plugin wants remembered is forgotten.

use crate::{
    custody::LogLine,
    executor::{Attempt, PluginExecutor},
    plugin::Plugin,
    rights::{Grant, Held},
    trace::{Call, Trace},
};
use lapwing_checks::{CheckError, ProbeContext, net::scope::Destination};
use lapwing_model::Observation;
use schemars::JsonSchema;
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// What to allow in a trial run beyond what is granted.
#[derive(Debug, Clone, Default)]
pub struct TrialOptions {
    /// Places the plugin may reach if it asks for them, as in `plugins.grants.NAME.hosts`.
    pub allow: Vec<Destination>,
}

/// What came of a trial run, and how. Secrets are masked.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Trial {
    /// The result, as a monitor would have it.
    pub result: Observation,
    /// Each call to the host, in order; at most 1000.
    pub calls: Vec<Call>,
    /// Calls beyond those.
    pub more_calls: u64,
    /// What the plugin logged.
    pub log: Vec<LogLine>,
    /// The end of what it wrote to stdout and stderr, up to 4 KiB.
    pub output: String,
    /// Calls refused for want of a right.
    pub refusals: u64,
    /// Time from the start of the call to its end, in microseconds.
    pub elapsed_us: u64,
    /// Time waited for a free slot and for a processor, in microseconds.
    pub queued_us: u64,
    /// Time the plugin's own code held a thread, in microseconds.
    pub cpu_us: u64,
    /// Linear memory it had at the end, in bytes.
    pub memory_bytes: usize,
    /// Bytes sent and received.
    pub network_bytes: usize,
    /// Connections made.
    pub connects: u32,
    /// DNS questions asked.
    pub dns_queries: u32,
}

impl Trial {
    /// One that did not come to a run.
    pub fn never(why: CheckError) -> Self {
        report(Attempt::never(why))
    }
}

impl Plugin {
    /// Runs `config` (JSON) once, with each call to the host written down. `Err` when there is no such kind, the
    /// configuration does not fit its schema, or the plugin's own check finds fault with it. Ends by `cx.deadline`; cancel safe.
    pub async fn trial(
        &self,
        kind: &str,
        config: &str,
        cx: &ProbeContext,
        options: TrialOptions,
    ) -> Result<Trial, CheckError> {
        let find = |executor: &&Arc<PluginExecutor>| executor.kind() == kind;
        let executor = self
            .executors
            .iter()
            .find(find)
            .ok_or_else(|| CheckError::UnknownKind {
                kind: kind.to_owned(),
                away: None,
                known: self
                    .executors
                    .iter()
                    .map(|executor| executor.kind().to_owned())
                    .collect(),
            })?;
        let config = executor.fit(config)?;
        match executor.review(&config, "", cx.deadline).await {
            Ok(faults) if faults.is_empty() => {}
            Ok(faults) => return Err(CheckError::unfit(&faults)),
            Err(error) => return Ok(report(Attempt::never(error))),
        }
        let mut rights = executor.rights(&config, cx);
        rights.traced = true;
        let allowed = Grant {
            hosts: options.allow,
            ..Grant::default()
        };
        rights.held = Arc::new(Held::from(rights.held.grant.and(&allowed)));
        Ok(report(executor.attempt(&config, cx, rights, 0).await))
    }
}

fn report(attempt: Attempt) -> Trial {
    let Attempt {
        verdict,
        aside,
        queued,
        elapsed,
    } = attempt;
    let Trace { calls, more, lines } = aside.trace.unwrap_or_default();
    let usage = aside.usage;
    Trial {
        result: verdict.result.unwrap_or_else(CheckError::into_observation),
        calls,
        more_calls: more,
        log: lines,
        output: aside.output,
        refusals: aside.refusals,
        elapsed_us: micros(elapsed),
        queued_us: micros(queued),
        // Measured in ticks of the engine: of a short run its first tick is more than all of it.
        cpu_us: micros(usage.cpu.min(elapsed)),
        memory_bytes: usage.memory_bytes,
        network_bytes: usage.network_bytes,
        connects: usage.connects,
        dns_queries: usage.dns_queries,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_code_takes_no_longer_than_the_whole() {
        let mut attempt = Attempt::never(CheckError::Internal(String::new()));
        attempt.elapsed = Duration::from_micros(2660);
        attempt.aside.usage.cpu = Duration::from_micros(5350);
        let trial = report(attempt);
        assert_eq!((trial.cpu_us, trial.elapsed_us), (2660, 2660));
    }
}
