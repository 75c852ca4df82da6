//! The entries that this process has in work, and how their leases are kept alive.

use super::{Shared, fields::parts, keys::PARKED, scripts, settle::refusal};
use crate::{
    QueueError,
    held::{CHUNK, Held, Reserved, Tenure},
    link::Link,
    script::Call,
};
use lapwing_model::Task;
use std::{collections::HashSet, sync::Arc};
use tokio::time::Instant;

/// One entry in work here.
#[derive(Debug)]
pub(super) struct Reservation {
    /// The entry's id.
    pub(super) entry: String,
    /// How often it was handed out: with the id, the right to settle it.
    pub(super) deliveries: u64,
    /// The queue's name for the task.
    pub(super) name: String,
    /// `None` when the entry is no task.
    pub(super) task: Option<Arc<Task>>,
    pub(super) tenure: Tenure,
}

impl Reserved for Reservation {
    fn name(&self) -> &str {
        &self.name
    }

    fn tenure(&self) -> &Tenure {
        &self.tenure
    }
}

/// The least and the greatest of entries' ids.
pub(super) fn span<'a>(ids: impl Iterator<Item = &'a str> + Clone) -> (&'a str, &'a str) {
    let least = ids.clone().min_by_key(|id| parts(id));
    let greatest = ids.max_by_key(|id| parts(id));
    (least.unwrap_or("-"), greatest.unwrap_or("+"))
}

/// Renews leases, and learns which of them are lost.
pub(super) async fn renew(shared: &Shared, link: &Link, held: &[Arc<Reservation>]) -> Result<(), QueueError> {
    let mut refused = Ok(());
    for chunk in held.chunks(CHUNK) {
        let at = Instant::now();
        let mut call = Call::new(&scripts::RENEW, &[&shared.keys.stream]);
        call.arg(&shared.options.group).arg(&shared.consumer).arg(PARKED);
        let (least, greatest) = span(chunk.iter().map(|held| held.entry.as_str()));
        call.arg(least).arg(greatest);
        for reservation in chunk {
            call.arg(&reservation.entry).arg(reservation.deliveries);
        }
        let (lost, why): (HashSet<String>, String) = link.script(&call).await?;
        Held::renewed(chunk, at, |held| lost.contains(&held.entry));
        if !why.is_empty() {
            refused = Err(refusal(&why));
        }
    }
    refused
}
