//! What is tried, and what is expected of each run.

use super::{
    report::{Report, Trial, Verdict},
    servers::{Manner, Server},
};
use crate::{
    cli::{
        Usage,
        plugin::{
            retarget::retarget,
            subject::{self, Subject},
        },
    },
    config::Config,
    role::Role,
};
use anyhow::Context;
use lapwing_checks::{
    Executor, Net,
    net::{EgressPolicy, policy::Rule},
};
use lapwing_model::{CheckResult, Reason, Status};
use lapwing_wasm::{PluginHost, PluginSettings};
use serde_json::{Map, Value};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::time::Instant;

/// What a run may take beyond its time, on a machine that has other work.
const SLACK: Duration = Duration::from_millis(500);
/// How much of a message is shown, in characters: the advice is at its end.
const SEEN: usize = 400;
/// The largest result that is still one, in bytes of JSON.
const RESULT_BYTES: usize = 64 << 10;
/// All of IPv4 but 127.0.0.0/8, and all of IPv6.
const ELSEWHERE: [&str; 10] = [
    "0.0.0.0/2",
    "64.0.0.0/3",
    "96.0.0.0/4",
    "112.0.0.0/5",
    "120.0.0.0/6",
    "124.0.0.0/7",
    "126.0.0.0/8",
    "128.0.0.0/1",
    "::/1",
    "8000::/1",
];
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// What is tried out of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trying<'a> {
    /// Of its kinds only this.
    pub(crate) kind: Option<&'a str>,
    /// With this configuration and not its example.
    pub(crate) given: Option<&'a Map<String, Value>>,
    /// What a run may take.
    pub(crate) timeout: Duration,
}

/// Everything, for each kind of `file` or for the one that is wanted.
pub(crate) async fn all(
    file: &Path,
    trying: Trying<'_>,
    config: &Config,
    note: bool,
) -> anyhow::Result<Report> {
    let name = "loads and describes itself".to_owned();
    let kind = None;
    let host = Role::host(config)?;
    let subject = match Subject::load(file, &host, note).await {
        Ok(subject) => subject,
        Err(error) if error.is::<Usage>() => return Err(error),
        // Told by name; docs/plugins.md has the list.
        Err(error) => {
            let verdict = Verdict::fail(
                format!("{error:#}"),
                "see the table of docs/plugins.md, `Loading`",
            );
            return Ok(Report::of(vec![Trial { kind, name, verdict }]));
        }
    };
    let report = &subject.report;
    let seen = format!("{} {}: {}", report.name, report.version, report.kinds.join(", "));
    let mut trials = vec![Trial {
        kind,
        name,
        verdict: Verdict::Pass { seen },
    }];
    // Compiled and asked anew, not read from the cache.
    let uncached = PluginSettings {
        cache: None,
        ..config.plugin_settings.clone()
    };
    let host = PluginHost::new(uncached)?;
    let again = Subject::load(file, &host, note).await;
    trials.push(Trial {
        kind: None,
        name: "describes itself alike in another host".to_owned(),
        verdict: alike(&subject, again),
    });
    let warnings = report.about.iter().flat_map(|about| &about.warnings);
    trials.extend(warnings.map(|warning| Trial {
        kind: None,
        name: "says what it means".to_owned(),
        verdict: Verdict::fail(
            warning.clone(),
            "mend the description: it promises what it does not keep",
        ),
    }));
    // A configuration is that of one kind.
    let kinds = if trying.kind.is_some() || trying.given.is_some() {
        std::slice::from_ref(subject.kind(trying.kind)?)
    } else {
        subject.kinds.as_slice()
    };
    for kind in kinds {
        of_kind(kind, trying, &mut trials).await?;
    }
    Ok(Report::of(trials))
}

fn alike(one: &Subject, other: anyhow::Result<Subject>) -> Verdict {
    let change = "describe the same whatever the time, the randomness and the call before";
    let all =
        |subject: &Subject| -> Vec<_> { subject.kinds.iter().map(|kind| kind.info().clone()).collect() };
    match other {
        Err(error) => Verdict::fail(format!("{error:#}"), change),
        Ok(other) if all(&other) != all(one) => Verdict::fail("the second description is another", change),
        Ok(_) => Verdict::Pass {
            seen: "twice the same kinds, schemas and examples".to_owned(),
        },
    }
}

async fn of_kind(
    kind: &Arc<dyn Executor>,
    Trying { given, timeout, .. }: Trying<'_>,
    trials: &mut Vec<Trial>,
) -> anyhow::Result<()> {
    let info = kind.info();
    let config = given.cloned().unwrap_or_else(|| subject::example(info));
    let mut add = |name: &str, verdict| {
        trials.push(Trial {
            kind: Some(info.kind.clone()),
            name: name.to_owned(),
            verdict,
        });
    };
    add("every setting is explained", explained(&info.schema));
    // An address of its own, so that no name is looked up.
    let (nowhere, marked) = retarget(&info.schema, &config, ([127, 0, 0, 1], 9).into());
    add("target fields are marked", targets(marked));
    let (denied, took) = run(kind, nowhere, net(&EVERYWHERE)?, timeout).await;
    if denied.observation.reason == Some(Reason::InvalidConfig) {
        return Err(subject::unfit(info, &denied.observation.message));
    }
    add("without any network", without_network(&denied, took, timeout));
    if marked == 0 {
        return Ok(());
    }
    let (mut well, mut tried, mut reached) = (0, 0, 0);
    for manner in Manner::ALL {
        let server = Server::start(manner)
            .await
            .context("cannot start a server on loopback")?;
        let (config, _) = retarget(&info.schema, &config, server.address);
        let (result, took) = run(kind, config, net(&ELSEWHERE)?, timeout).await;
        add(
            &format!("the server {}", manner.as_str()),
            against_server(manner, &result, took, timeout),
        );
        well += usize::from(is_well(&result));
        tried += usize::from(result.observation.reason != Some(Reason::DeniedByPolicy));
        reached += usize::from(server.was_visited());
    }
    add(
        "tells a dead server from a live one",
        discerning(well, tried, reached),
    );
    Ok(())
}

/// One run, and how long it took. A machine with other work ends a run in `limit_hit` as a used-up quota does: then it
/// is tried again, twice.
async fn run(
    kind: &Arc<dyn Executor>,
    config: Map<String, Value>,
    net: Net,
    timeout: Duration,
) -> (CheckResult, Duration) {
    let mut tries = 3;
    loop {
        let begun = Instant::now();
        let result = subject::run(kind, config.clone(), net.clone(), timeout).await;
        tries -= 1;
        if tries == 0 || result.observation.reason != Some(Reason::LimitHit) {
            return (result, begun.elapsed());
        }
    }
}

/// A network without these.
fn net(deny: &[&str]) -> anyhow::Result<Net> {
    let deny = deny
        .iter()
        .map(|rule| Ok(rule.parse::<Rule>()?))
        .collect::<anyhow::Result<_>>()?;
    Ok(Net::new(EgressPolicy {
        deny,
        ..EgressPolicy::default()
    }))
}

fn explained(schema: &Value) -> Verdict {
    let properties = schema.get("properties").and_then(Value::as_object);
    let (mut all, mut dumb) = (0, Vec::new());
    for (name, property) in properties.into_iter().flatten() {
        all += 1;
        if property.get("description").is_none() && property.get("$ref").is_none() {
            dumb.push(format!("`{name}`"));
        }
    }
    if dumb.is_empty() {
        Verdict::Pass {
            seen: format!("{all} settings"),
        }
    } else {
        Verdict::Note {
            seen: format!(
                "no `description` for {}: users see the name only",
                dumb.join(", ")
            ),
        }
    }
}

fn targets(marked: usize) -> Verdict {
    if marked > 0 {
        return Verdict::Pass {
            seen: format!("{marked} fields"),
        };
    }
    let seen = "none: a run may reach no address its operator did not grant, and could not be tried against servers; \
                mark the field with `format` (uri, hostname, ipv4) or `x-lapwing-target` (host, port, url, host:port)";
    Verdict::Note {
        seen: seen.to_owned(),
    }
}

fn is_well(result: &CheckResult) -> bool {
    matches!(result.observation.status, Status::Up | Status::Degraded)
}

/// Whether it was let to some server and came to one, and found one of them not to be well.
fn discerning(well: usize, tried: usize, reached: usize) -> Verdict {
    let all = Manner::ALL.len();
    if tried == 0 {
        return Verdict::fail(
            "it was refused every one of them",
            "declare the capability, and mark the fields that it dials as target; the message above names them",
        );
    }
    if well == all {
        return Verdict::fail(
            format!("up with all {all} servers, though at one of them nobody listens"),
            "wait for each call, and let none fail unnoticed: its result is the verdict",
        );
    }
    if reached == 0 {
        return Verdict::fail(
            "it came to none of them: whatever it met is elsewhere",
            "mark the fields that it dials as target, the port too, and dial what they say",
        );
    }
    Verdict::Pass {
        seen: format!("up with {well} of {all} servers"),
    }
}

fn without_network(result: &CheckResult, took: Duration, timeout: Duration) -> Verdict {
    let seen = seen(result, took);
    if let Some(fault) = fault(result, took, timeout, &seen) {
        return fault;
    }
    match result.observation.status {
        Status::Unknown => Verdict::Pass { seen },
        // The host lets no run with a refused call end in `down`.
        Status::Down => Verdict::fail(
            seen,
            "answer `err(denied)` when a call is refused; the target did nothing",
        ),
        Status::Up | Status::Degraded => Verdict::Note {
            seen: format!("{seen}; it asked for nothing, or takes no notice of a refusal"),
        },
    }
}

fn against_server(manner: Manner, result: &CheckResult, took: Duration, timeout: Duration) -> Verdict {
    let seen = seen(result, took);
    if let Some(fault) = fault(result, took, timeout, &seen) {
        return fault;
    }
    match (result.observation.status, &result.observation.reason) {
        (Status::Down, _) | (Status::Unknown, Some(Reason::LimitHit)) => Verdict::Pass { seen },
        (Status::Up | Status::Degraded, _) if manner == Manner::Refuses => Verdict::fail(
            seen,
            "answer `ok(down)` when a connection fails: nobody listens there",
        ),
        (Status::Up | Status::Degraded, _) => Verdict::Note {
            seen: format!("{seen}; is such a server well?"),
        },
        (Status::Unknown, _) => Verdict::Note {
            seen: format!("{seen}; this could not be tried"),
        },
    }
}

/// What no run may do, whatever it met.
fn fault(result: &CheckResult, took: Duration, timeout: Duration, seen: &str) -> Option<Verdict> {
    use Reason::{Internal, PluginError, PluginLimit, PluginTimeout, PluginTrap};
    let observation = &result.observation;
    let change = match &observation.reason {
        Some(PluginTrap) => "handle the error: a panic or trap says nothing of the target",
        Some(PluginTimeout) => "bound the loop: its own code used up the time",
        Some(PluginLimit) => "bound what is read and kept at a time",
        Some(PluginError) => "answer `ok(down)` with a reason when the target talks nonsense",
        Some(Internal) => "report this: it is a fault of the host",
        _ if took > timeout + SLACK => "report this: a run must end with its budget",
        _ if observation.attributes.contains_key("plugin.dropped") => {
            "keep to the limits of an outcome: attribute `plugin.dropped` names what was dropped"
        }
        _ if serde_json::to_vec(result).map_or(0, |json| json.len()) > RESULT_BYTES => {
            "answer with less than 64 KiB"
        }
        _ => return None,
    };
    Some(Verdict::fail(seen, change))
}

fn seen(result: &CheckResult, took: Duration) -> String {
    let observation = &result.observation;
    let reason = observation.reason.as_ref().map_or("", Reason::as_str);
    let mut message: String = observation.message.chars().take(SEEN).collect();
    if message.len() < observation.message.len() {
        message.push('…');
    }
    format!(
        "{} {reason} in {} ms: {message}",
        observation.status,
        took.as_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_left() {
        let elsewhere: Vec<Rule> = ELSEWHERE.iter().map(|rule| rule.parse().unwrap()).collect();
        let policy = EgressPolicy {
            deny: elsewhere,
            ..EgressPolicy::default()
        };
        let reaches = |address: &str| policy.judge(address, address.parse().unwrap()).is_ok();
        assert!(reaches("127.0.0.1") && reaches("127.255.255.255"));
        for address in [
            "126.255.255.255",
            "128.0.0.0",
            "10.0.0.1",
            "8.8.8.8",
            "0.0.0.0",
            "::1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!reaches(address), "{address}");
        }
    }
}
