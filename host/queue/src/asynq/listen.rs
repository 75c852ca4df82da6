//! Listening: for `asynq:cancel`, where someone asks for a task to be cancelled, wherever it runs, and for word of new
//! tasks by producers of ours.

use super::{Shared, keys};
use crate::{QueueError, backoff::Backoff};
use futures_util::StreamExt;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// Runs until aborted, on a connection of its own. One connection at a time: a server that refuses the subscription
/// is asked again after a pause.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        if let Err(error) = listen(&shared, &mut backoff).await {
            tracing::debug!("not listening for cancellations: {error}");
        }
        sleep(backoff.pause()).await;
    }
}

async fn listen(shared: &Shared, backoff: &mut Backoff) -> Result<(), QueueError> {
    let mut messages = match shared.server.subscribe(&[keys::CANCEL, keys::HINTS]).await {
        Err(QueueError::Denied(why)) => {
            tracing::debug!("no word of new tasks, polling: {why}");
            shared.server.subscribe(&[keys::CANCEL]).await?
        }
        outcome => outcome?,
    };
    backoff.reset();
    while let Some(message) = messages.next().await {
        let text = String::from_utf8_lossy(message.get_payload_bytes());
        if message.get_channel_name() == keys::CANCEL {
            shared.held.cancel(|held| held.id == text);
        } else if shared.queues.iter().any(|queue| *queue.keys.queue == *text) {
            shared.hint();
        }
    }
    Ok(())
}
