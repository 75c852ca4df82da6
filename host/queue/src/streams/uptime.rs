//! The BetterStack-style entries: a website to GET within ten seconds, and what came of it.
//!
//! A job has the fields `websiteId`, `url` and perhaps `regionId`. The same website may have a job in each region, so
//! the monitor's id is both, and its lock is per region.

use super::fields::Fields;
use jiff::Timestamp;
use lapwing_model::{CheckResult, Monitor, Status, Task};
use serde_json::{Map, Value};
use std::time::Duration;
use url::Url;

/// Time one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The queue's name for the task, and the task. Fields of other names are left alone.
pub(super) fn read(fields: &Fields, at: Timestamp) -> Result<(String, Task), String> {
    let (website, address) = (needed(fields, "websiteId")?, needed(fields, "url")?);
    let parsed = Url::parse(address).map_err(|error| format!("`url` is no address: {error}"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("`url` is no http address but {}:", parsed.scheme()));
    }
    let attempt = fields.text("attempt")?.and_then(|attempt| attempt.parse().ok());
    let id = name(fields)?;
    let monitor = Monitor {
        id: id.clone(),
        name: website.to_owned(),
        kind: "http".to_owned(),
        interval: Duration::ZERO,
        timeout: TIMEOUT,
        max_retries: 0,
        retry_interval: Duration::ZERO,
        resend_interval: 0,
        config: Value::Object(Map::from_iter([("url".to_owned(), address.into())])).to_string(),
    };
    let task = Task {
        monitor,
        scheduled_at: Some(at),
        attempt: attempt.unwrap_or(1).max(1),
        under_maintenance: false,
        check_cert_expiry: false,
        proxy: None,
        last_heartbeat: None,
        nameless: false,
    };
    Ok((id, task))
}

/// The monitor's id: the website's, and behind an `@` the region's.
pub(super) fn name(fields: &Fields) -> Result<String, String> {
    let website = escape(needed(fields, "websiteId")?);
    let region = fields.text("regionId")?.filter(|region| !region.is_empty());
    Ok(region.map_or_else(
        || website.clone(),
        |region| format!("{website}@{}", escape(region)),
    ))
}

fn needed<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, String> {
    match fields.text(name)?.map(str::trim) {
        None => Err(format!("missing field `{name}`")),
        Some("") => Err(format!("`{name}` is empty")),
        Some(text) => Ok(text),
    }
}

fn escape(id: &str) -> String {
    id.replace('%', "%25").replace('@', "%40")
}

fn unescape(id: &str) -> String {
    id.replace("%40", "@").replace("%25", "%")
}

/// Website and region of a monitor's id.
fn split(id: &str) -> (String, Option<String>) {
    match id.split_once('@') {
        Some((website, region)) => (unescape(website), Some(unescape(region))),
        None => (unescape(id), None),
    }
}

/// The task as fields and values; `Err` when it is more than an HTTP GET.
pub(super) fn write(task: &Task) -> Result<Vec<String>, String> {
    let monitor = &task.monitor;
    if monitor.kind != "http" {
        return Err(format!("an uptime job is `http`, not `{}`", monitor.kind));
    }
    let config: Map<String, Value> = serde_json::from_str(&monitor.config)
        .map_err(|error| format!("`config` is no JSON object: {error}"))?;
    let Some(url) = config.get("url").and_then(Value::as_str) else {
        return Err("an uptime job needs a `url`".to_owned());
    };
    if let Some(more) = config.keys().find(|field| *field != "url") {
        return Err(format!("an uptime job cannot carry `{more}`"));
    }
    let (website, region) = split(&monitor.id);
    let mut fields = vec![("websiteId", website), ("url", url.to_owned())];
    fields.extend(region.map(|region| ("regionId", region)));
    if task.attempt > 1 {
        fields.push(("attempt", task.attempt.to_string()));
    }
    Ok(flat(fields))
}

/// A result as fields and values: `Up` (also when something wants mending soon), `Down` or `Unknown`.
pub(super) fn publish(task: &Task, result: &CheckResult) -> Vec<String> {
    let seen = &result.observation;
    let (website, region) = split(&result.monitor_id);
    let status = match seen.status {
        Status::Up | Status::Degraded => "Up",
        Status::Down => "Down",
        Status::Unknown => "Unknown",
    };
    // A target that never answered took as long as the run did.
    let ran = || Duration::try_from(result.ended_at.duration_since(result.started_at)).unwrap_or_default();
    let took = seen.latency.unwrap_or_else(ran);
    let mut fields = vec![("websiteId", website)];
    fields.extend(url(task).map(|url| ("url", url)));
    fields.extend(
        region
            .or_else(|| result.region.clone())
            .map(|region| ("regionId", region)),
    );
    fields.extend([
        ("status", status.to_owned()),
        ("responseTimeMs", took.as_millis().to_string()),
        ("checkedAt", result.started_at.to_string()),
        ("message", seen.message.clone()),
        ("id", result.id.clone()),
    ]);
    flat(fields)
}

/// What was asked.
fn url(task: &Task) -> Option<String> {
    let config: Value = serde_json::from_str(&task.monitor.config).ok()?;
    config.get("url")?.as_str().map(str::to_owned)
}

fn flat(fields: Vec<(&str, String)>) -> Vec<String> {
    let pair = |(field, value): (&str, String)| [field.to_owned(), value];
    fields.into_iter().flat_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_model::{Observation, Reason, WorkerIdentity};

    fn at() -> Timestamp {
        "2026-04-11T08:15:20.123Z".parse().unwrap()
    }

    fn job(fields: &[(&str, &str)]) -> Result<(String, Task), String> {
        let owned = fields
            .iter()
            .map(|(field, value)| ((*field).to_owned(), value.as_bytes().to_vec()));
        read(&Fields(owned.collect()), at())
    }

    fn told(task: &Task, region: Option<&str>, observation: Observation) -> String {
        let worker = WorkerIdentity {
            name: "here:1".to_owned(),
            region: region.map(str::to_owned),
        };
        let ended = "2026-04-11T08:15:30.2Z".parse().unwrap();
        let started = "2026-04-11T08:15:20.2Z".parse().unwrap();
        let result = CheckResult::new(task, &worker, started, ended, observation);
        let fields = publish(task, &result);
        let lines: Vec<String> = fields.chunks(2).map(|pair| pair.join("=")).collect();
        lines.join("\n")
    }

    #[test]
    fn a_job_is_a_get_within_ten_seconds() {
        let (name, task) = job(&[("websiteId", "w1"), ("url", "https://example.com/a?b=c")]).unwrap();
        assert_eq!((name.as_str(), task.monitor.id.as_str()), ("w1", "w1"));
        assert_eq!(task.monitor.kind, "http");
        assert_eq!(task.monitor.config, r#"{"url":"https://example.com/a?b=c"}"#);
        assert_eq!(task.budget(), Duration::from_secs(10));
        assert_eq!(task.scheduled_at, Some(at()));
    }

    #[test]
    fn a_job_is_written_as_it_was_read() {
        for job_fields in [
            vec![("websiteId", "w1"), ("url", "http://h/")],
            vec![
                ("websiteId", "a@b%40"),
                ("url", "http://h/"),
                ("regionId", "eu@1"),
            ],
            vec![
                ("websiteId", "w1"),
                ("url", "http://h/"),
                ("regionId", "eu"),
                ("attempt", "3"),
            ],
        ] {
            let (_, task) = job(&job_fields).unwrap();
            let expected: Vec<&str> = job_fields
                .iter()
                .flat_map(|(field, value)| [*field, *value])
                .collect();
            assert_eq!(write(&task).unwrap(), expected);
        }
    }

    #[test]
    fn a_result_is_what_the_uptime_monitor_stores() {
        let (_, task) = job(&[("websiteId", "w1"), ("url", "http://h/"), ("regionId", "eu")]).unwrap();
        let up = Observation::up("200 OK").with_latency(Duration::from_micros(123_900));
        assert_eq!(
            told(&task, Some("us"), up),
            "websiteId=w1\nurl=http://h/\nregionId=eu\nstatus=Up\nresponseTimeMs=123\n\
             checkedAt=2026-04-11T08:15:20.2Z\nmessage=200 OK\nid=w1@eu:1775895320123000000:us:1"
        );
        let (_, task) = job(&[("websiteId", "w1"), ("url", "http://h/")]).unwrap();
        let down = Observation::down(Reason::ResponseTimeout, "no answer");
        assert_eq!(
            told(&task, None, down),
            "websiteId=w1\nurl=http://h/\nstatus=Down\nresponseTimeMs=10000\n\
             checkedAt=2026-04-11T08:15:20.2Z\nmessage=no answer\nid=w1:1775895320123000000::1"
        );
        let degraded = told(
            &task,
            Some("us"),
            Observation::degraded(Reason::ResponseTimeout, "soon"),
        );
        assert!(degraded.contains("\nregionId=us\nstatus=Up\n"), "{degraded}");
        let unknown = told(
            &task,
            None,
            Observation::unknown(Reason::ResponseTimeout, "trouble"),
        );
        assert!(unknown.contains("\nstatus=Unknown\n"), "{unknown}");
    }

    #[test]
    fn what_is_no_job_says_why() {
        for (fields, says) in [
            (vec![("url", "http://h/")], "missing field `websiteId`"),
            (vec![("websiteId", "w")], "missing field `url`"),
            (
                vec![("websiteId", " "), ("url", "http://h/")],
                "`websiteId` is empty",
            ),
            (vec![("websiteId", "w"), ("url", "")], "`url` is empty"),
            (
                vec![("websiteId", "w"), ("url", "example.com")],
                "`url` is no address",
            ),
            (
                vec![("websiteId", "w"), ("url", "ftp://h/")],
                "no http address but ftp:",
            ),
        ] {
            let why = job(&fields).unwrap_err();
            assert!(why.contains(says), "{fields:?}: {why}");
        }
    }

    #[test]
    fn a_task_that_is_more_than_a_get_is_refused() {
        let (_, mut task) = job(&[("websiteId", "w"), ("url", "http://h/")]).unwrap();
        task.monitor.config = r#"{"url":"http://h/","method":"POST"}"#.to_owned();
        assert!(write(&task).unwrap_err().contains("`method`"));
        task.monitor.config = "{}".to_owned();
        assert!(write(&task).unwrap_err().contains("needs a `url`"));
        task.monitor.kind = "tcp".to_owned();
        assert!(write(&task).unwrap_err().contains("`tcp`"));
    }
}
