//! What a run's ending means: the table of the plugins' page, as one pure function.
//!
//! `down` is only what a plugin says of its target with nothing refused, or the target's own silence while the host
//! waited for it. All else is `unknown`, with the reason.

use crate::{
    abi::v1::wit::types,
    ledger::{Entries, Hindrance},
    outcome,
    run::{Checked, Ending, Report},
    text,
};
use lapwing_checks::{CheckError, net::NetError};
use lapwing_model::{Observation, Reason, Status};
use serde_json::json;
use std::time::Duration;

/// Longest text of a guest or of the engine in an error.
const TEXT: usize = 1024;

/// A run's result, and what it says of the plugin itself.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) result: Result<Observation, CheckError>,
    pub(crate) conduct: Conduct,
}

/// How the plugin behaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// As it should.
    Well,
    /// It asks for another try.
    Retry,
    /// It went wrong; several in a row quarantine the kind.
    Fault,
    /// The run says nothing of it.
    Unseen,
}

/// Judges one run that had `budget` from the moment it asked for a slot.
pub(crate) fn judge(report: Report<Checked>, budget: Duration) -> Verdict {
    let Report {
        ending,
        mut entries,
        waited,
        gate,
        queued,
        elapsed,
    } = report;
    let starved = starved(&entries, waited, gate, elapsed, budget);
    let (result, conduct) = match ending {
        Ending::Answered(Ok(outcome)) => {
            let observation = outcome::observe(outcome, &mut entries, elapsed);
            (
                Ok(excuse(observation, entries.hindrance.or(starved))),
                Conduct::Well,
            )
        }
        Ending::Answered(Err(error)) => refusal(error, entries.hindrance),
        Ending::NetworkTimeout(error) => entries.hindrance.take().or(starved).map_or_else(
            || (Ok(silent(&error, entries)), Conduct::Well),
            |hindrance| (Err(hindered(hindrance)), Conduct::Unseen),
        ),
        Ending::OutOfTime if waited > budget / 10 => (
            Err(plugin(
                Reason::LimitHit,
                waited_too_long(waited, gate, budget),
                true,
            )),
            Conduct::Unseen,
        ),
        // It had a processor for less than a fifth of what the network left of its time: not its doing.
        Ending::OutOfTime if queued > elapsed.saturating_sub(entries.network) * 4 / 5 => {
            let ms = queued.as_millis();
            let why = format!("this worker was too busy: waited {ms} ms for a processor (`plugins.threads`)");
            (Err(plugin(Reason::LimitHit, why, true)), Conduct::Unseen)
        }
        Ending::OutOfTime => fault(
            Reason::PluginTimeout,
            "the plugin did not end within its budget".into(),
        ),
        Ending::OutOfCpu => fault(
            Reason::PluginTimeout,
            "the plugin used up its processor time (`limits.cpu_ms`)".into(),
        ),
        Ending::Limit(limit) => fault(Reason::PluginLimit, format!("the plugin went past its {limit}")),
        Ending::Trap(why) => fault(
            Reason::PluginTrap,
            format!("the plugin trapped: {}", text::line(&why, TEXT)),
        ),
        Ending::Crowded(what) => {
            let why = format!("other runs have the {what}");
            (Err(plugin(Reason::LimitHit, why, true)), Conduct::Unseen)
        }
        Ending::NoSlot => (
            Err(plugin(
                Reason::LimitHit,
                waited_too_long(waited, gate, budget),
                true,
            )),
            Conduct::Unseen,
        ),
        Ending::Host(why) => (Err(CheckError::Internal(text::line(&why, TEXT))), Conduct::Unseen),
    };
    Verdict { result, conduct }
}

/// Whether the target had less than half of the budget and yet "took too long": then the rest went into waiting for a
/// slot or a thread, or into the plugin's own code, and its time-outs prove nothing.
fn starved(
    entries: &Entries,
    waited: Duration,
    gate: &str,
    elapsed: Duration,
    budget: Duration,
) -> Option<Hindrance> {
    let over = waited + elapsed > budget * 3 / 4;
    if !(entries.timed_out && over && entries.network < budget / 2) {
        return None;
    }
    if waited > budget / 10 {
        return Some(Hindrance {
            reason: Reason::LimitHit,
            why: waited_too_long(waited, gate, budget),
        });
    }
    let (network, budget) = (entries.network.as_millis(), budget.as_millis());
    let why =
        format!("the target had only {network} ms of the {budget} ms; the plugin's side used up the rest");
    Some(Hindrance {
        reason: Reason::PluginTimeout,
        why,
    })
}

/// The target kept silent for as long as the run had.
fn silent(error: &NetError, entries: Entries) -> Observation {
    let mut observation = Observation::down(error.reason(), text::line(&error.to_string(), TEXT));
    observation.phases = entries.phases;
    observation.tls = entries.tls;
    observation
}

/// A plugin that was hindered may have taken that for its target's fault.
fn excuse(observation: Observation, hindrance: Option<Hindrance>) -> Observation {
    let Some(Hindrance { reason, why }) = hindrance.filter(|_| observation.status == Status::Down) else {
        return observation;
    };
    let claim = json!({
        "status": observation.status,
        "reason": observation.reason,
        "message": observation.message,
        "details": observation.details,
    });
    Observation {
        status: Status::Unknown,
        reason: Some(reason),
        message: text::line(&why, TEXT),
        details: Some(json!({ "plugin": claim })),
        ..observation
    }
}

/// The plugin says that it could not check.
fn refusal(
    error: types::CheckError,
    hindrance: Option<Hindrance>,
) -> (Result<Observation, CheckError>, Conduct) {
    let fit = |why: &str| text::line(why, TEXT);
    let (error, conduct) = match (error, hindrance) {
        (types::CheckError::InvalidConfig(why), _) => (CheckError::InvalidConfig(fit(&why)), Conduct::Well),
        // The host knows better why.
        (_, Some(hindrance)) => (hindered(hindrance), Conduct::Well),
        (types::CheckError::Denied(why), None) => (CheckError::Denied(fit(&why)), Conduct::Well),
        (types::CheckError::Retryable(why), None) => {
            (plugin(Reason::PluginError, fit(&why), true), Conduct::Retry)
        }
        (types::CheckError::Unsupported(why) | types::CheckError::Internal(why), None) => {
            (plugin(Reason::PluginError, fit(&why), false), Conduct::Well)
        }
    };
    (Err(error), conduct)
}

fn hindered(Hindrance { reason, why }: Hindrance) -> CheckError {
    let why = text::line(&why, TEXT);
    match reason {
        Reason::DeniedByPolicy => CheckError::Denied(why),
        Reason::InvalidConfig => CheckError::InvalidConfig(why),
        Reason::LimitHit => plugin(Reason::LimitHit, why, false),
        Reason::PluginTimeout => plugin(Reason::PluginTimeout, why, true),
        _ => CheckError::Internal(why),
    }
}

fn fault(reason: Reason, message: String) -> (Result<Observation, CheckError>, Conduct) {
    (Err(plugin(reason, message, true)), Conduct::Fault)
}

fn plugin(reason: Reason, message: String, retryable: bool) -> CheckError {
    CheckError::Plugin {
        reason,
        message,
        retryable,
    }
}

/// Without a gate nothing but this worker's own slowness stood in the way.
fn waited_too_long(waited: Duration, gate: &str, budget: Duration) -> String {
    if gate.is_empty() {
        let left = budget.saturating_sub(waited).as_millis();
        return format!(
            "this worker was too busy: {left} ms of the run's time were left when it could begin"
        );
    }
    format!("waited {} ms for a free instance (`{gate}`)", waited.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_secs(1);

    fn report(ending: Ending<Checked>, entries: Entries) -> Report<Checked> {
        Report {
            ending,
            entries,
            waited: Duration::ZERO,
            gate: "plugins.concurrent_runs",
            queued: Duration::ZERO,
            elapsed: BUDGET,
        }
    }

    fn says(status: types::Status) -> Ending<Checked> {
        Ending::Answered(Ok(types::Outcome {
            status,
            reason: Some("connection-refused".into()),
            message: "permission denied".into(),
            latency: None,
            phases: Vec::new(),
            metrics: Vec::new(),
            attributes: Vec::new(),
            tls: None,
            details: None,
        }))
    }

    fn hindered_by(reason: Reason) -> Entries {
        Entries {
            hindrance: Some(Hindrance {
                reason,
                why: "rule 7".into(),
            }),
            ..Entries::default()
        }
    }

    fn reason(verdict: &Verdict) -> Reason {
        match &verdict.result {
            Ok(observation) => observation.reason.clone().unwrap(),
            Err(error) => error.reason(),
        }
    }

    #[test]
    fn down_counts_only_when_nothing_was_refused() {
        let plain = judge(report(says(types::Status::Down), Entries::default()), BUDGET);
        assert_eq!(plain.result.unwrap().status, Status::Down);

        let refused = hindered_by(Reason::DeniedByPolicy);
        let verdict = judge(report(says(types::Status::Down), refused.clone()), BUDGET);
        let observation = verdict.result.unwrap();
        assert_eq!(
            (observation.status, observation.reason),
            (Status::Unknown, Some(Reason::DeniedByPolicy))
        );
        assert_eq!(observation.message, "rule 7");
        assert_eq!(
            observation.details.unwrap()["plugin"]["message"],
            "permission denied"
        );

        for reason in [Reason::LimitHit, Reason::InvalidConfig, Reason::Internal] {
            let verdict = judge(
                report(says(types::Status::Down), hindered_by(reason.clone())),
                BUDGET,
            );
            let observation = verdict.result.unwrap();
            assert_eq!(
                (observation.status, observation.reason),
                (Status::Unknown, Some(reason))
            );
        }

        let up = judge(report(says(types::Status::Up), refused), BUDGET);
        assert_eq!(
            up.result.unwrap().status,
            Status::Up,
            "an optional call may be refused"
        );
    }

    #[test]
    fn silence_after_a_refusal_is_no_outage() {
        let ending = Ending::NetworkTimeout(NetError::ResponseTimeout("x".into()));
        let entries = Entries {
            timed_out: true,
            network: BUDGET,
            ..hindered_by(Reason::DeniedByPolicy)
        };
        let verdict = judge(report(ending, entries), BUDGET);
        assert_eq!(verdict.result, Err(CheckError::Denied("rule 7".into())));
    }

    #[test]
    fn silence_of_the_target_is_down_and_of_the_plugin_unknown() {
        for (error, word) in [
            (NetError::DnsTimeout("x".into()), Reason::DnsTimeout),
            (NetError::ConnectTimeout("x".into()), Reason::ConnectionTimeout),
            (NetError::TlsTimeout("x".into()), Reason::TlsTimeout),
            (NetError::ResponseTimeout("x".into()), Reason::ResponseTimeout),
        ] {
            let entries = Entries {
                timed_out: true,
                network: BUDGET,
                ..Entries::default()
            };
            let verdict = judge(report(Ending::NetworkTimeout(error), entries), BUDGET);
            assert_eq!(verdict.conduct, Conduct::Well);
            let observation = verdict.result.unwrap();
            assert_eq!(
                (observation.status, observation.reason),
                (Status::Down, Some(word))
            );
        }
        let verdict = judge(report(Ending::OutOfTime, Entries::default()), BUDGET);
        assert_eq!(
            (reason(&verdict), verdict.conduct),
            (Reason::PluginTimeout, Conduct::Fault)
        );
    }

    #[test]
    fn a_time_out_proves_nothing_when_the_target_had_little_time() {
        let timed_out = |network| Entries {
            timed_out: true,
            network,
            ..Entries::default()
        };
        let ending = || Ending::NetworkTimeout(NetError::ResponseTimeout("x".into()));
        let little = timed_out(BUDGET / 4);

        let verdict = judge(
            Report {
                waited: BUDGET / 2,
                ..report(ending(), little.clone())
            },
            BUDGET,
        );
        assert_eq!(
            (reason(&verdict), verdict.conduct),
            (Reason::LimitHit, Conduct::Unseen)
        );
        let verdict = judge(report(ending(), little.clone()), BUDGET);
        assert_eq!(
            (reason(&verdict), verdict.conduct),
            (Reason::PluginTimeout, Conduct::Unseen)
        );

        let claimed = judge(report(says(types::Status::Down), little.clone()), BUDGET)
            .result
            .unwrap();
        assert_eq!(
            (claimed.status, claimed.reason),
            (Status::Unknown, Some(Reason::PluginTimeout))
        );
        let early = Report {
            elapsed: BUDGET / 4,
            ..report(says(types::Status::Down), little)
        };
        assert_eq!(
            judge(early, BUDGET).result.unwrap().status,
            Status::Down,
            "its own, shorter time-out"
        );
        let full = judge(report(ending(), timed_out(BUDGET * 9 / 10)), BUDGET);
        assert_eq!(full.result.unwrap().status, Status::Down);
    }

    #[test]
    fn a_guest_without_a_processor_is_not_at_fault() {
        let entries = Entries {
            network: BUDGET / 2,
            ..Entries::default()
        };
        for (queued, word, conduct) in [
            (BUDGET * 9 / 20, Reason::LimitHit, Conduct::Unseen),
            (BUDGET * 7 / 20, Reason::PluginTimeout, Conduct::Fault),
        ] {
            let report = Report {
                queued,
                ..report(Ending::OutOfTime, entries.clone())
            };
            let verdict = judge(report, BUDGET);
            assert_eq!((reason(&verdict), verdict.conduct), (word, conduct));
        }
    }

    #[test]
    fn time_lost_before_the_run_is_told_as_what_it_was() {
        let lost = |waited, gate, budget| {
            let report = Report {
                waited,
                gate,
                ..report(Ending::OutOfTime, Entries::default())
            };
            let verdict = judge(report, budget);
            assert_eq!(
                (reason(&verdict), verdict.conduct),
                (Reason::LimitHit, Conduct::Unseen)
            );
            verdict.result.unwrap_err().to_string()
        };
        assert_eq!(
            lost(BUDGET, "plugins.concurrent_runs", BUDGET),
            "waited 1000 ms for a free instance (`plugins.concurrent_runs`)"
        );
        let little = Duration::from_micros(3);
        assert_eq!(
            lost(little, "", little),
            "this worker was too busy: 0 ms of the run's time were left when it could begin"
        );
    }

    #[test]
    fn faults_have_their_own_reasons() {
        for (ending, word) in [
            (Ending::Trap("boom".into()), Reason::PluginTrap),
            (Ending::Limit("memory limit"), Reason::PluginLimit),
            (Ending::OutOfCpu, Reason::PluginTimeout),
        ] {
            let verdict = judge(report(ending, Entries::default()), BUDGET);
            assert_eq!((reason(&verdict), verdict.conduct), (word, Conduct::Fault));
        }
    }

    #[test]
    fn a_plugins_errors_keep_their_meaning() {
        let error = |error| judge(report(Ending::Answered(Err(error)), Entries::default()), BUDGET);
        let verdict = error(types::CheckError::InvalidConfig("port".into()));
        assert_eq!(verdict.result, Err(CheckError::InvalidConfig("port".into())));
        let verdict = error(types::CheckError::Denied("no".into()));
        assert_eq!(verdict.result, Err(CheckError::Denied("no".into())));
        assert_eq!(
            error(types::CheckError::Retryable(String::new())).conduct,
            Conduct::Retry
        );
        let verdict = error(types::CheckError::Internal("bug".into()));
        assert_eq!(
            (reason(&verdict), verdict.conduct),
            (Reason::PluginError, Conduct::Well)
        );

        for reason in [
            Reason::DeniedByPolicy,
            Reason::LimitHit,
            Reason::InvalidConfig,
            Reason::Internal,
        ] {
            let ending = Ending::Answered(Err(types::CheckError::Retryable("again".into())));
            let verdict = judge(report(ending, hindered_by(reason.clone())), BUDGET);
            assert_eq!(
                verdict.conduct,
                Conduct::Well,
                "trying again does not lift a refusal"
            );
            let error = verdict.result.unwrap_err();
            assert_eq!((error.reason(), error.to_string()), (reason, "rule 7".to_owned()));
        }
    }
}
