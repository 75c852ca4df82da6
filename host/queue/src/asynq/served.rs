//! One queue that is served.

use super::{
    keys::Keys,
    options::{Priority, QueueOptions},
    settle::{self, Ending},
};
use crate::{Policy, RedisClock, backoff::Backoff, batch::Batch, link::Link};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// How long a queue of a cluster is left alone that could not be asked.
const LEAST_REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(2);
/// Most tasks ended by one call of the script.
const SETTLED: usize = 512;

/// Its names, its rules, and what ends its tasks together.
pub(super) struct Served {
    pub(super) keys: Keys,
    pub(super) weight: u32,
    pub(super) policy: Policy,
    pub(super) keep_result: Duration,
    pub(super) settle: Batch<Ending, bool>,
    seats: Option<Arc<Semaphore>>,
    /// After a failure: the pauses, and until when it is left alone.
    rest: Mutex<(Backoff, Instant)>,
}

/// How many tasks of a queue may be taken now. Seats not used are given back with the value.
pub(super) struct Seats {
    pub(super) most: usize,
    taken: Option<OwnedSemaphorePermit>,
}

impl Served {
    pub(super) fn new(options: &QueueOptions, link: &Arc<Link>, clock: &RedisClock) -> Self {
        let keys = Keys::new(&options.name);
        let seats = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self {
            settle: Batch::new(SETTLED, settle::caller(&keys, link, clock)),
            keys,
            weight: options.weight,
            policy: options.policy,
            keep_result: options.keep_result,
            seats: options.max_jobs.map(seats),
            rest: Mutex::new((Backoff::new(LEAST_REST, LONGEST_REST), Instant::now())),
        }
    }

    /// Notes whether it could be asked. If not, it is left alone for a while, longer each time.
    pub(super) fn asked(&self, well: bool) {
        let (backoff, until) = &mut *self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if well {
            backoff.reset();
        } else {
            *until = Instant::now() + backoff.pause();
        }
    }

    pub(super) fn rests(&self) -> bool {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).1 > Instant::now()
    }

    /// Sets seats for up to `room` tasks apart.
    pub(super) fn seats(&self, room: usize) -> Seats {
        let Some(seats) = &self.seats else {
            return Seats {
                most: room,
                taken: None,
            };
        };
        let most = room.min(seats.available_permits());
        let taken = u32::try_from(most)
            .ok()
            .and_then(|most| seats.clone().try_acquire_many_owned(most).ok());
        // Another reservation may have been faster; the next look is soon.
        Seats {
            most: taken.as_ref().map_or(0, |_| most),
            taken,
        }
    }
}

impl Seats {
    /// One of them, for a task.
    pub(super) fn one(&mut self) -> Option<OwnedSemaphorePermit> {
        self.taken.as_mut()?.split(1)
    }
}

/// The order in which queues are looked at this time, as indices.
///
/// With weights, the first one is each with a chance proportional to its weight, and so on with the rest: what Asynq
/// gets by shuffling a list that holds each queue as often as its weight says.
pub(super) fn order(queues: &[Served], priority: Priority) -> Vec<usize> {
    let mut order: Vec<(f64, usize)> = queues
        .iter()
        .enumerate()
        .map(|(index, queue)| {
            let wait = -(1.0 - fastrand::f64()).ln() / f64::from(queue.weight);
            (wait, index)
        })
        .collect();
    if priority == Priority::Weighted {
        order.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    }
    order.into_iter().map(|(_, index)| index).collect()
}
