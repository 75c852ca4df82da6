//! Reading: as many entries as were asked for, on a connection that may block.
//!
//! It runs as a task of its own, because a read that is given up halfway would leave what it was handed without an owner
//! until its lease runs out.

use super::{
    Shared,
    fields::{Entry, Fields},
    held::Reservation,
    keys::PARKED,
    ms, scripts,
    settle::{Hold, Settling},
    shelf::Shelf,
    trouble,
};
use crate::{Lease, QueueError, Settle, backoff::Backoff, held::Tenure, link::Link, script::Call};
use futures_util::future::join_all;
use redis::{Value, cmd, from_redis_value, pipe};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long entries lie on the shelf unasked for: a caller's loop comes again at once, and another worker may be idle.
const GRACE: Duration = Duration::from_millis(500);
/// Time between two looks at a paused queue.
const PAUSED: Duration = Duration::from_millis(500);

/// Fills the shelf.
pub(super) struct Reader {
    shared: Arc<Shared>,
    shelf: Arc<Shelf>,
    settle: Arc<Settling>,
    /// Answers only when there is something, or after the time it may block.
    link: Link,
    trouble: Backoff,
    /// Whether the group is known to be there.
    grouped: bool,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, shelf: Arc<Shelf>, settle: Arc<Settling>) -> Self {
        let link = Link::new(&shared.server, shared.options.block + shared.options.patience);
        Self {
            shared,
            shelf,
            settle,
            link,
            trouble: trouble(),
            grouped: false,
        }
    }

    /// Runs until aborted; what it was just handed then has no owner.
    pub(super) async fn run(mut self) {
        loop {
            let room = self.shelf.missing(GRACE).await;
            if room == 0 {
                let leases = self.shelf.clear();
                join_all(leases.into_iter().map(Lease::requeue)).await;
                continue;
            }
            match self.read(room.min(self.shared.options.batch.max(1))).await {
                Ok(leases) => {
                    self.trouble.reset();
                    self.shelf.put(leases);
                }
                Err(error) => {
                    let pause = self.trouble.pause();
                    sleep(pause).await;
                    if is_gone(&error) {
                        tracing::warn!("consumer group is gone, making it anew: {error}");
                        self.grouped = false;
                    } else {
                        self.shelf.fail(error);
                    }
                }
            }
        }
    }

    async fn read(&mut self, room: usize) -> Result<Vec<Lease>, QueueError> {
        if !self.grouped {
            self.group().await?;
            self.grouped = true;
        }
        let at = Instant::now();
        if self.shared.look.swap(false, Ordering::Relaxed) {
            let (paused, entries) = self.parked(room).await?;
            if paused || !entries.is_empty() {
                self.shared.look.store(true, Ordering::Relaxed);
            }
            if paused {
                sleep(PAUSED).await;
                return Ok(Vec::new());
            }
            if !entries.is_empty() {
                return Ok(self.open(entries, at).await);
            }
        }
        let (entries, paused) = self.fresh(room).await?;
        // The read itself may have blocked for long: the entries are ours since it ended, or a little longer.
        let leases = self.open(entries, Instant::now()).await;
        if !paused {
            return Ok(leases);
        }
        self.shared.look.store(true, Ordering::Relaxed);
        join_all(leases.into_iter().map(Lease::requeue)).await;
        Ok(Vec::new())
    }

    /// Makes sure of the group. It begins with what the stream holds already: `$` would lose that.
    async fn group(&self) -> Result<(), QueueError> {
        let (stream, group) = (&self.shared.keys.stream, &self.shared.options.group);
        let mut create = cmd("XGROUP");
        create
            .arg("CREATE")
            .arg(stream)
            .arg(group)
            .arg("0")
            .arg("MKSTREAM");
        match self.shared.link.command(&create).await {
            Err(QueueError::Protocol(text)) if text.contains("BUSYGROUP") => {}
            outcome => outcome?,
        }
        // Before 7.2 a read that finds nothing leaves no consumer, and an idle worker would not be seen.
        let mut join = cmd("XGROUP");
        join.arg("CREATECONSUMER").arg(stream).arg(group);
        self.shared.link.command(join.arg(&self.shared.consumer)).await
    }

    /// Whether the queue is paused, and entries that nobody works at.
    async fn parked(&self, room: usize) -> Result<(bool, Vec<Entry>), QueueError> {
        let keys = &self.shared.keys;
        let mut call = Call::new(&scripts::TAKE, &[&keys.stream, &keys.paused]);
        call.arg(&self.shared.options.group)
            .arg(&self.shared.consumer)
            .arg(PARKED)
            .arg(room);
        let (paused, taken): (bool, Vec<(String, u64, Value)>) = self.shared.link.script(&call).await?;
        let entry = |(id, deliveries, fields)| {
            let fields = Fields::read(fields).unwrap_or_default();
            Entry {
                id,
                deliveries,
                fields,
            }
        };
        Ok((paused, taken.into_iter().map(entry).collect()))
    }

    /// New entries, and whether the queue was paused meanwhile.
    async fn fresh(&self, room: usize) -> Result<(Vec<Entry>, bool), QueueError> {
        let (keys, options) = (&self.shared.keys, &self.shared.options);
        let mut pipe = pipe();
        pipe.cmd("XREADGROUP")
            .arg("GROUP")
            .arg(&options.group)
            .arg(&self.shared.consumer);
        pipe.arg("COUNT").arg(room).arg("BLOCK").arg(ms(options.block));
        pipe.arg("STREAMS").arg(&keys.stream).arg(">");
        pipe.cmd("EXISTS").arg(&keys.paused);
        let (read, paused): (Value, bool) = self.link.pipeline(&pipe).await?;
        let entries = entries(read)
            .ok_or_else(|| QueueError::Protocol("`XREADGROUP` answered no entries".to_owned()))?;
        Ok((entries, paused))
    }

    /// Leases of what is a task; the rest goes to the dead letters with the reason. If it cannot, it is not kept and
    /// comes again.
    async fn open(&self, entries: Vec<Entry>, at: Instant) -> Vec<Lease> {
        let (mut leases, mut faulty) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            match self.hold(entry, at) {
                Ok(lease) => leases.push(lease),
                Err(fault) => faulty.push(self.bury(fault)),
            }
        }
        join_all(faulty).await;
        leases
    }

    fn hold(&self, entry: Entry, at: Instant) -> Result<Lease, (Hold, String)> {
        let options = &self.shared.options;
        let parsed = match entry.task(options.format) {
            Ok(_) if entry.deliveries > options.max_deliveries => Err(format!(
                "handed out {} times, and no worker came to its end",
                entry.deliveries - 1
            )),
            parsed => parsed,
        };
        let (name, task, why) = match parsed {
            Ok((name, task)) => (name, Some(Arc::new(task)), String::new()),
            Err(why) => (entry.name(options.format), None, why),
        };
        let held = Reservation {
            entry: entry.id,
            deliveries: entry.deliveries,
            name: name.clone(),
            task: task.clone(),
            tenure: Tenure::since(at),
        };
        let seat = Hold::new(self.shared.clone(), self.settle.clone(), Arc::new(held));
        match task {
            Some(task) => Ok(Lease::new(name, task, options.policy, Box::new(seat))),
            None => Err((seat, why)),
        }
    }

    async fn bury(&self, (hold, why): (Hold, String)) {
        let name = hold.reservation().name.clone();
        match hold.archive(&why).await {
            Ok(()) => {
                self.shared.archived.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(task.id = name, "archived: {why}");
            }
            Err(error) => tracing::warn!(task.id = name, "not archived yet ({why}): {error}"),
        }
    }
}

/// Whether the group or its stream is not there, or vanished while we waited for entries.
pub(super) fn is_gone(error: &QueueError) -> bool {
    matches!(error, QueueError::Protocol(text) if text.contains("NOGROUP") || text.contains("UNBLOCKED"))
}

/// The entries of the one stream in an answer of `XREADGROUP`.
fn entries(answer: Value) -> Option<Vec<Entry>> {
    let list = |value| from_redis_value::<Vec<Value>>(value).ok();
    if answer == Value::Nil {
        return Some(Vec::new());
    }
    let stream = list(answer)?.pop()?;
    let entry = |value| {
        let mut parts = list(value)?.into_iter();
        let id = from_redis_value(parts.next()?).ok()?;
        Some(Entry {
            id,
            deliveries: 1,
            fields: Fields::read(parts.next()?).ok()?,
        })
    };
    list(list(stream)?.pop()?)?.into_iter().map(entry).collect()
}
