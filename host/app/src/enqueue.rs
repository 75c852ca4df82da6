//! What somebody wants enqueued, held against the kinds there are: for the tasks API and `lapwing enqueue`.

use crate::kinds::Kinds;
use jiff::Timestamp;
use lapwing_checks::{CheckError, schema::Schema};
use lapwing_model::{ParseError, Task, TaskMessage};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::Instant;

/// The function that takes a kind and its configuration as arguments.
pub(crate) const CHECK: &str = "check";
/// For what a kind itself finds wrong with a configuration.
const REVIEW: Duration = Duration::from_secs(5);

/// A task to be enqueued, not yet looked at.
#[derive(Debug)]
pub(crate) struct Order(TaskMessage);

/// Why it is not enqueued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Nobody here runs such a kind.
    #[error("{0}")]
    UnknownKind(CheckError),
    /// Its configuration is wrong.
    #[error("{0}")]
    Unfit(CheckError),
}

impl Order {
    /// By the function's name and its arguments: `check` takes a whole task, a kind its configuration.
    pub(crate) fn of(function: &str, arguments: Map<String, Value>) -> Result<Self, ParseError> {
        if function == CHECK {
            return TaskMessage::from_value(Value::Object(arguments)).map(Self);
        }
        Ok(Self(TaskMessage {
            kind: function.to_owned(),
            config: arguments,
            ..TaskMessage::default()
        }))
    }

    /// The kind.
    pub(crate) fn kind(&self) -> &str {
        &self.0.kind
    }

    /// Sets the time one run may take.
    pub(crate) fn limit(&mut self, timeout: Duration) {
        self.0.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }

    /// The task, as it stands. Where nothing names the monitor, it gets an id that no other has.
    pub(crate) fn unchecked(self, now: Timestamp) -> Task {
        let id = uuid::Uuid::new_v4().simple().to_string();
        self.0.into_task(&id, now)
    }

    /// As [`Self::unchecked`], if this process could run it: an unknown kind or a configuration with faults is not put on
    /// a queue.
    pub(crate) async fn review(
        self,
        kinds: &Kinds,
        load_test: bool,
        now: Timestamp,
    ) -> Result<Task, Refused> {
        let task = self.unchecked(now);
        kinds.settled(&task.monitor.kind).await;
        let executor = kinds.executor_as(&task.monitor.kind, load_test);
        let executor = executor.map_err(Refused::UnknownKind)?;
        let info = executor.info();
        if let Ok(schema) = Schema::new(&info.schema, &info.sensitive) {
            let config = serde_json::from_str(&task.monitor.config).unwrap_or(Value::Null);
            let faults = schema.faults(&config, "");
            if !faults.is_empty() {
                return Err(Refused::Unfit(CheckError::unfit(&faults)));
            }
        }
        let reviewed = executor
            .review(&task.monitor.config, "", Instant::now() + REVIEW)
            .await;
        match reviewed {
            Ok(faults) if faults.is_empty() => Ok(task),
            Ok(faults) => Err(Refused::Unfit(CheckError::unfit(&faults))),
            // The kind could not say: whoever runs it will.
            Err(error) if error.is_passing() => Ok(task),
            Err(error) => Err(Refused::Unfit(error)),
        }
    }
}
