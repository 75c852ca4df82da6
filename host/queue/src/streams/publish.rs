//! Telling results, many at a time and each once.
//!
//! A mark for each monitor says which of its results was told last. A monitor has one task at a time, so a result that
//! is told again is always the last one, and the marks are as many as the monitors.

use super::{Format, Shared, ms, scripts, uptime};
use crate::{QueueError, script::Call};
use lapwing_model::{CheckResult, Task};
use std::sync::Arc;

/// One result to be told.
pub(super) struct Request {
    mark: String,
    id: String,
    fields: Vec<String>,
}

impl Request {
    pub(super) fn new(format: Format, task: &Task, result: &CheckResult) -> Result<Self, QueueError> {
        let fields = match format {
            Format::Lapwing => lapwing(result)?,
            Format::Uptime => uptime::publish(task, result),
        };
        Ok(Self {
            // Workers in several regions may run the same monitor.
            mark: format!(
                "{}@{}",
                result.monitor_id,
                result.region.as_deref().unwrap_or_default()
            ),
            id: result.id.clone(),
            fields,
        })
    }
}

fn lapwing(result: &CheckResult) -> Result<Vec<String>, QueueError> {
    let json = serde_json::to_string(result)
        .map_err(|error| QueueError::Protocol(format!("result `{}`: {error}", result.id)))?;
    let fields = [
        ("result", json.as_str()),
        ("monitor_id", &result.monitor_id),
        ("status", result.observation.status.as_str()),
        ("id", &result.id),
    ];
    Ok(fields
        .into_iter()
        .flat_map(|(field, value)| [field.to_owned(), value.to_owned()])
        .collect())
}

/// `tag` begins the keys that share the slot of the stream of results.
pub(super) async fn call(
    shared: Arc<Shared>,
    tag: String,
    requests: Vec<Request>,
) -> Result<Vec<()>, QueueError> {
    let options = &shared.options;
    let mut call = Call::new(&scripts::PUBLISH, &[&options.results]);
    call.arg(options.results_bound)
        .arg(format!("{tag}:told:"))
        .arg(ms(options.timing.told));
    for request in &requests {
        call.arg(&request.mark)
            .arg(&request.id)
            .arg(request.fields.len())
            .arg(&request.fields);
    }
    let () = shared.link.script(&call).await?;
    Ok(vec![(); requests.len()])
}
