//! One connection that mends itself.

use super::{
    connection::Connection,
    error::{Silence, describe, queue_error},
};
use crate::{QueueError, Server, backoff::Backoff};
use redis::{RedisError, RedisResult};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// Pauses between tries to connect: short enough to be back well within two seconds of the server's return.
const LEAST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A cluster is asked anew for its nodes after a failure, but not more often than this: the `redis` crate follows moved
/// slots by itself, and with it go the connections to the nodes that are well.
const CLUSTER_PERIOD: Duration = Duration::from_secs(5);

/// Holds one connection, and makes another when that one is no good.
pub(super) struct Lane {
    live: Mutex<Option<Live>>,
    /// Held by whoever connects; the others wait for the outcome.
    dialing: tokio::sync::Mutex<Dialing>,
    /// Calls under way.
    busy: AtomicUsize,
}

#[derive(Clone)]
struct Live {
    connection: Connection,
    serial: u64,
    since: Instant,
}

struct Dialing {
    backoff: Backoff,
    failed: bool,
    serial: u64,
}

impl Lane {
    pub(super) fn new(patience: Duration) -> Self {
        // A caller gives up after `patience`: with a longer pause before it, no try would ever be made.
        let dialing = Dialing {
            backoff: Backoff::new(LEAST_PAUSE, LONGEST_PAUSE.min(patience / 4)),
            failed: false,
            serial: 0,
        };
        Self {
            live: Mutex::default(),
            dialing: tokio::sync::Mutex::new(dialing),
            busy: AtomicUsize::new(0),
        }
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Begins a call: waits for the connection while there is none, as long as the patience lasts.
    pub(super) async fn begin(&self, server: &Server, patience: Duration) -> Result<Call<'_>, QueueError> {
        let busy = Busy::new(&self.busy);
        let live = self.live(server, patience).await?;
        Ok(Call {
            lane: self,
            live,
            patience,
            _busy: busy,
        })
    }

    /// The connection; while there is none, waits for one as long as its patience lasts.
    async fn live(&self, server: &Server, patience: Duration) -> Result<Live, QueueError> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let mut failure = QueueError::Unavailable("no connection to Redis in time".into());
        // On the heap, as it is rare and has 3 KiB: every call, and every task's end, would carry and copy as much.
        let connected = Box::pin(async {
            loop {
                match self.dial(server, patience).await {
                    Err(error @ QueueError::Unavailable(_)) => failure = error,
                    outcome => return outcome,
                }
            }
        });
        match timeout(patience, connected).await {
            Ok(outcome) => outcome,
            Err(_) => Err(failure),
        }
    }

    /// One try to connect, by one caller at a time; after a failure, not before a pause.
    async fn dial(&self, server: &Server, patience: Duration) -> Result<Live, QueueError> {
        let mut dialing = self.dialing.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        if dialing.failed {
            let pause = dialing.backoff.pause();
            sleep(pause).await;
        }
        // Stays so when this future is dropped halfway.
        dialing.failed = true;
        let connection = server.connect(patience).await?;
        dialing.failed = false;
        dialing.backoff.reset();
        dialing.serial += 1;
        let live = Live {
            connection,
            serial: dialing.serial,
            since: Instant::now(),
        };
        *self.slot() = Some(live.clone());
        Ok(live)
    }

    fn current(&self) -> Option<Live> {
        self.slot().clone()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up the connection that failed when another one may do better: it broke, it went silent, or its server
    /// became a replica.
    fn give_up(&self, failed: &Live, error: &RedisError) {
        let unfit =
            error.is_io_error() || error.is_unrecoverable_error() || describe(error).contains("READONLY");
        let settled = failed.connection.is_cluster() && failed.since.elapsed() < CLUSTER_PERIOD;
        let mut slot = self.slot();
        if unfit && !settled && slot.as_ref().is_some_and(|live| live.serial == failed.serial) {
            *slot = None;
        }
    }
}

/// One call that is under way.
pub(super) struct Call<'a> {
    lane: &'a Lane,
    live: Live,
    patience: Duration,
    _busy: Busy<'a>,
}

impl Call<'_> {
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.live.connection
    }

    /// Ends it. `what` names it in case no answer came.
    pub(super) fn end<T>(
        self,
        answer: RedisResult<T>,
        what: impl FnOnce() -> String,
    ) -> Result<T, QueueError> {
        answer.map_err(|error| {
            self.lane.give_up(&self.live, &error);
            if error.is_timeout() {
                let (what, patience) = (what(), self.patience);
                QueueError::Unavailable(Silence { what, patience }.into())
            } else {
                queue_error(error)
            }
        })
    }
}

/// Counts a call for as long as it lasts, cancelled or not.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
