//! The tasks that this process has reserved, and how their leases are kept alive.

use super::{Shared, keys::Keys, message::Envelope, scripts};
use crate::{
    QueueError,
    held::{CHUNK, Held, Reserved, Tenure},
    link::Link,
    script::Call,
};
use jiff::Timestamp;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// One task in work here.
#[derive(Debug)]
pub(super) struct Reservation {
    /// Index into the queues served.
    pub(super) queue: usize,
    pub(super) id: String,
    /// What the task's hash is marked with.
    pub(super) owner: Arc<str>,
    pub(super) envelope: Envelope,
    pub(super) started: Timestamp,
    /// How long the run may take, by the message.
    pub(super) limit: Duration,
    pub(super) tenure: Tenure,
}

impl Reserved for Reservation {
    fn name(&self) -> &str {
        &self.id
    }

    fn tenure(&self) -> &Tenure {
        &self.tenure
    }
}

/// Extends the leases of `held`, which are all of the queue with these keys, and learns which of them are lost.
pub(super) async fn extend(
    shared: &Shared,
    link: &Link,
    keys: &Keys,
    held: &[Arc<Reservation>],
) -> Result<(), QueueError> {
    for chunk in held.chunks(CHUNK) {
        let at = Instant::now();
        let mut call = Call::new(&scripts::EXTEND, &[&keys.lease]);
        call.arg(&keys.tasks)
            .arg(shared.clock.lease_end(shared.options.timing.lease));
        for reservation in chunk {
            call.arg(&reservation.id).arg(&*reservation.owner);
        }
        let lost: HashSet<String> = link.script(&call).await?;
        Held::renewed(chunk, at, |held| lost.contains(&held.id));
    }
    Ok(())
}
