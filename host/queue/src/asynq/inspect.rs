//! Looking into Asynq's queues, as its Inspector does.

use super::Asynq;
use crate::{DeadLetter, Inspect, KeptResult, QueueError, QueueStats, TaskStatus, WorkerPresence};
use async_trait::async_trait;

fn later<T>() -> Result<T, QueueError> {
    Err(QueueError::Unfit("not spoken yet".to_owned()))
}

#[async_trait]
impl Inspect for Asynq {
    fn dialect(&self) -> &'static str {
        "asynq"
    }

    fn queues(&self) -> Vec<String> {
        Vec::new()
    }

    async fn stats(&self, _: &str) -> Result<QueueStats, QueueError> {
        later()
    }

    async fn set_paused(&self, _: &str, _: bool) -> Result<(), QueueError> {
        later()
    }

    async fn status(&self, _: &str, _: &str) -> Result<Option<TaskStatus>, QueueError> {
        later()
    }

    async fn result(&self, _: &str, _: &str) -> Result<Option<KeptResult>, QueueError> {
        later()
    }

    async fn cancel(&self, _: &str, _: &str) -> Result<bool, QueueError> {
        later()
    }

    async fn dead(&self, _: &str, _: usize, _: usize) -> Result<Vec<DeadLetter>, QueueError> {
        later()
    }

    async fn revive(&self, _: &str, _: &str) -> Result<bool, QueueError> {
        later()
    }

    async fn discard(&self, _: &str, _: &str) -> Result<bool, QueueError> {
        later()
    }

    async fn workers(&self) -> Result<Vec<WorkerPresence>, QueueError> {
        later()
    }
}
