//! Results as stock clients read them (source: `serialize_result` in `arq/jobs.py` of arq 0.28).

use super::{
    job::{Format, Job},
    value::{Failure, Value},
};
use lapwing_model::{CheckResult, Status};

/// What became of a job.
pub(super) type Outcome = Result<Value, Failure>;

/// What a run's result is to whoever awaits it: data, unless nothing could be said of the target.
pub(super) fn outcome(result: Option<&CheckResult>) -> Outcome {
    let Some(result) = result else {
        return Ok(Value::None);
    };
    if result.observation.status == Status::Unknown {
        return Err(Failure::Execution(result.observation.message.clone()));
    }
    serde_json::to_value(result)
        .map(Value::from)
        .map_err(|error| Failure::Execution(error.to_string()))
}

/// A run that has ended.
pub(super) struct Ended<'a> {
    pub(super) id: &'a str,
    pub(super) queue: &'a str,
    /// `None` where it could not be read.
    pub(super) job: Option<&'a Job>,
    pub(super) attempt: u32,
    /// In Unix milliseconds.
    pub(super) started: i64,
    pub(super) finished: i64,
}

impl Ended<'_> {
    /// The result, written as the job was, or in `format` where that is not known.
    pub(super) fn write(&self, outcome: Outcome, format: Format) -> Vec<u8> {
        let none = (Value::Tuple(Vec::new()), Value::Dict(Vec::new()));
        let format = self.job.map_or(format, |job| job.format);
        let (args, kwargs) = self
            .job
            .map_or((&none.0, &none.1), |job| (&job.args, &job.kwargs));
        let success = Value::Bool(outcome.is_ok());
        let result = outcome.unwrap_or_else(Value::Failure);
        let function = self.job.map_or("<unknown>", |job| job.function.as_str());
        let time = |ms: i64| Value::Int(ms.into());
        let write = |result: &Value, success: &Value, args: &Value, kwargs: &Value| {
            format.write(&[
                ("t", &Value::Int(self.attempt.into())),
                ("f", &Value::from(function)),
                ("a", args),
                ("k", kwargs),
                ("et", &time(self.job.map_or(0, |job| job.enqueued))),
                ("s", success),
                ("r", result),
                ("st", &time(self.started)),
                ("ft", &time(self.finished)),
                ("q", &Value::from(self.queue)),
                ("id", &Value::from(self.id)),
            ])
        };
        // A format has no place for something: stock workers say so in these words.
        write(&result, &success, args, kwargs)
            .or_else(|_| {
                write(
                    &"unable to serialize result".into(),
                    &Value::Bool(false),
                    &none.0,
                    &none.1,
                )
            })
            .unwrap_or_default()
    }
}
