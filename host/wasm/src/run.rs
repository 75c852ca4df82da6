//! One run of a guest: a fresh store and instance (or a kept one), one call, and what became of it.
//!
//! Guests run on threads of their own, so that a spinning one takes no time from native checks. The caller waits on
//! its own runtime and gives up at the deadline, whatever the guest does; the guest is then dropped at its next tick,
//! and its slot is free again only after that.

use crate::{
    abi::v1::{PluginPre, wit::types},
    guest::{Errand, Guest, Stop},
    ledger::{Entries, Ledger},
    limiter::{SHARED_MEMORY, SharedMemory},
    reuse::{self, Instance, Shelf, Tenant},
    settings::RunLimits,
    slots::{Line, Slots},
    stage::Stage,
    stats::{Stats, Usage},
    threads::Threads,
};
use lapwing_checks::net::NetError;
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};
use wasmtime_wasi::{I32Exit, ResourceTableError};

/// How much of a guest's output goes into a fault's message.
const TAIL: usize = 400;

/// What a `check` answers.
pub(crate) type Checked = Result<types::Outcome, types::CheckError>;

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Ending<T> {
    /// The guest answered.
    Answered(T),
    /// The budget ended while the host waited for the target.
    NetworkTimeout(NetError),
    /// The budget ended in the guest's own code.
    OutOfTime,
    /// The guest took too much processor time.
    OutOfCpu,
    /// The guest went past this limit, named with its setting.
    Limit(&'static str),
    /// Others had what it wanted of what all runs share: this, named with its setting.
    Crowded(&'static str),
    /// The guest trapped.
    Trap(String),
    /// No slot became free in time.
    NoSlot,
    /// A fault of ours.
    Host(String),
}

/// A call's ending, and what the host saw of it.
#[derive(Debug)]
pub(crate) struct Report<T> {
    pub(crate) ending: Ending<T>,
    pub(crate) entries: Entries,
    /// Time waited for a free slot.
    pub(crate) waited: Duration,
    /// The setting that kept it waiting, if one did.
    pub(crate) gate: &'static str,
    /// Time the guest wanted a processor after that and had none.
    pub(crate) queued: Duration,
    /// Time from the start of the call to its end.
    pub(crate) elapsed: Duration,
}

/// Runs guests of one engine, so many at a time.
#[derive(Debug)]
pub(crate) struct Runner {
    threads: Threads,
    slots: Slots,
    instances: Arc<Shelf>,
    live: Arc<AtomicU64>,
    memory: Arc<SharedMemory>,
    limits: RunLimits,
}

impl Runner {
    pub(crate) fn new(settings: &crate::PluginSettings) -> std::io::Result<Self> {
        let threads = Threads::start(settings.guest_threads())?;
        let instances = Arc::new(Shelf::new(settings));
        let shelf = Arc::downgrade(&instances);
        threads.handle().spawn(async move {
            loop {
                tokio::time::sleep(reuse::SWEEP).await;
                let Some(shelf): Option<Arc<Shelf>> = shelf.upgrade() else {
                    break;
                };
                shelf.sweep();
            }
        });
        Ok(Self {
            threads,
            slots: Slots::new(settings),
            instances,
            live: Arc::default(),
            memory: Arc::new(SharedMemory::new(settings.total_memory_bytes())),
            limits: settings.limits,
        })
    }

    pub(crate) fn limits(&self) -> &RunLimits {
        &self.limits
    }

    /// What runs hold at this moment.
    pub(crate) fn usage(&self) -> Usage {
        let (slots_used, slots_total, waiting) = self.slots.counts();
        Usage {
            live_stores: self.live.load(Relaxed),
            kept: self.instances.count(),
            slots_used,
            slots_total,
            waiting,
        }
    }

    /// The memory that all runs share.
    pub(crate) fn memory(&self) -> Arc<SharedMemory> {
        self.memory.clone()
    }

    /// Counters for one more plugin.
    pub(crate) fn stats(&self) -> Arc<Stats> {
        Arc::new(Stats::new(self.live.clone()))
    }

    /// A line to the slots for one more plugin, which starts with so much memory, in so many pieces.
    pub(crate) fn line(&self, memory_kib: u64, memories: u32) -> Line {
        self.slots.line(memory_kib, memories)
    }

    /// Drops the instances kept of a plugin.
    pub(crate) fn forget(&self, digest: &str) {
        self.instances.clear(digest);
    }

    /// Calls `check`: on the instance kept for `tenant`, or a fresh one, which is then kept if it may be. Cancel safe:
    /// dropping the future drops the run.
    pub(crate) async fn check(
        &self,
        pre: &Arc<PluginPre<Guest>>,
        line: &Line,
        errand: Errand,
        tenant: Option<(Tenant, u32)>,
        request: impl FnOnce(Duration) -> types::Request + Send + 'static,
    ) -> Report<Checked> {
        let (pre, limits, instances) = (pre.clone(), self.limits, self.instances.clone());
        self.run(line, errand, move |errand, ledger| async move {
            let kept = tenant.as_ref().and_then(|(tenant, _)| instances.take(tenant));
            let request = request(errand.time_left());
            let book = ledger.clone();
            let (mut ending, instance) = check_once(&pre, kept, errand, ledger, &request, &limits).await;
            let mask = book.entries().aside.mask.clone();
            mask.ending(&mut ending);
            if let (Some((tenant, most)), Some(mut instance)) = (tenant, instance) {
                let runs = instance.runs;
                let guest = instance.store.data_mut();
                if runs < most && guest.is_clean(&limits) {
                    let bytes = guest.bytes();
                    instances.put(tenant, instance, bytes);
                }
            }
            ending
        })
        .await
    }

    /// Calls `describe` on a fresh instance on `stage`, without any rights.
    pub(crate) async fn describe(
        &self,
        pre: &Arc<PluginPre<Guest>>,
        line: &Line,
        errand: Errand,
        stage: Stage,
    ) -> Report<types::PluginInfo> {
        let (pre, limits) = (pre.clone(), self.limits);
        self.run(line, errand, move |errand, ledger| async move {
            let guest = Guest::new(errand, ledger, &limits).on(stage, &limits);
            describe_once(&pre, guest, &limits).await
        })
        .await
    }

    /// Makes `call` on a thread of the guests, when a slot is free. Cancel safe.
    pub(crate) async fn run<T, F>(
        &self,
        line: &Line,
        errand: Errand,
        call: impl FnOnce(Errand, Arc<Ledger>) -> F + Send + 'static,
    ) -> Report<T>
    where
        T: Send + 'static,
        F: Future<Output = Ending<T>> + Send,
    {
        let queued = Instant::now();
        let deadline = errand.deadline.into();
        let slot = self.slots.take(line, deadline).await;
        let waited = queued.elapsed();
        let ledger = Arc::new(Ledger::new());
        let gate = slot.as_ref().map_or_else(|gate| *gate, |slot| slot.gate);
        let _closed = Close(&ledger);
        let ending = if let Ok(slot) = slot {
            let book = ledger.clone();
            let task = self.threads.handle().spawn(async move {
                let ending = call(errand, book).await;
                drop(slot);
                ending
            });
            match timeout_at(deadline, AbortOnDropHandle::new(task)).await {
                Ok(Ok(ending)) => ending,
                Ok(Err(error)) => Ending::Host(format!("the plugin host failed: {error}")),
                Err(_) => out_of_time(&ledger),
            }
        } else {
            Ending::NoSlot
        };
        let entries = ledger.close();
        Report {
            ending,
            entries,
            waited,
            gate,
            queued: ledger.queued(),
            elapsed: ledger.elapsed(),
        }
    }
}

/// Closes a book, also that of a run that is given up.
struct Close<'a>(&'a Ledger);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The deadline came first: in the network's time or in the guest's?
fn out_of_time<T>(ledger: &Ledger) -> Ending<T> {
    ledger.wait_over(true);
    let overdue = ledger.entries().overdue.take();
    overdue
        .or_else(|| ledger.just_waited())
        .map_or(Ending::OutOfTime, |step| {
            ledger.entries().timed_out = true;
            Ending::NetworkTimeout(step)
        })
}

/// One `check` on the current thread, by a kept instance or a fresh one; which comes back if it gave an outcome.
pub(crate) async fn check_once(
    pre: &PluginPre<Guest>,
    kept: Option<Instance>,
    errand: Errand,
    ledger: Arc<Ledger>,
    request: &types::Request,
    limits: &RunLimits,
) -> (Ending<Checked>, Option<Instance>) {
    let (mut store, started, runs) = match kept {
        None => {
            let guest = Guest::new(errand, ledger.clone(), limits);
            (guest.into_store(pre.engine(), limits), None, 0)
        }
        Some(Instance {
            mut store,
            plugin,
            runs,
        }) => {
            store.data_mut().renew(errand, &ledger, limits);
            store.set_epoch_deadline(1);
            (store, Some(plugin), runs)
        }
    };
    let result = metered(
        &ledger,
        pin!(async {
            let plugin = match started {
                Some(plugin) => plugin,
                None => pre.instantiate_async(&mut store).await?,
            };
            let checker = plugin.lapwing_plugin_checker();
            let answer = checker.call_check(&mut store, request).await?;
            wasmtime::Result::Ok((answer, plugin))
        }),
    )
    .await;
    store.data().close_books(limits);
    let (result, plugin) = match result {
        Ok((answer, plugin)) => (Ok(answer), Some(plugin)),
        Err(error) => (Err(error), None),
    };
    let ending = conclude(&store, result, is_failure);
    let plugin = plugin.filter(|_| matches!(ending, Ending::Answered(Ok(_))));
    let instance = plugin.map(|plugin| Instance {
        store,
        plugin,
        runs: runs + 1,
    });
    (ending, instance)
}

/// Whether a guest says that something went wrong.
fn is_failure(answer: &Checked) -> bool {
    let down = |outcome: &types::Outcome| outcome.status == types::Status::Down;
    answer.as_ref().map_or(true, down)
}

async fn describe_once(
    pre: &PluginPre<Guest>,
    guest: Guest,
    limits: &RunLimits,
) -> Ending<types::PluginInfo> {
    let ledger = guest.ledger.clone();
    let mut store = guest.into_store(pre.engine(), limits);
    let result = metered(
        &ledger,
        pin!(async {
            let plugin = pre.instantiate_async(&mut store).await?;
            plugin.lapwing_plugin_checker().call_describe(&mut store).await
        }),
    )
    .await;
    conclude(&store, result, |_| false)
}

/// Runs `call` with the time it holds the thread written down. Pinned by the caller: by value it would be in the run's
/// memory twice.
pub(crate) async fn metered<T>(ledger: &Ledger, mut call: Pin<&mut impl Future<Output = T>>) -> T {
    poll_fn(|context| {
        ledger.resume();
        let poll = call.as_mut().poll(context);
        ledger.suspend();
        poll
    })
    .await
}

/// Our own counters first: a trap's name often misleads (a guest out of memory ends in `unreachable`), and so does a
/// failure that a guest tells of (`is_failure`) after memory was refused to it: some languages catch their own want of
/// memory, and a parser may take it for a fault of its text.
pub(crate) fn conclude<T>(
    store: &Store<Guest>,
    result: wasmtime::Result<T>,
    is_failure: impl FnOnce(&T) -> bool,
) -> Ending<T> {
    let guest = store.data();
    let mask = guest.ledger.entries().aside.mask.clone();
    let output = guest.output.tail(TAIL, &mask);
    let error = match result {
        Ok(answer) => {
            if !output.is_empty() {
                log_output(guest, &mask.line(&output, TAIL));
            }
            let limit = guest.limiter.hit().filter(|_| is_failure(&answer));
            return limit.map_or(Ending::Answered(answer), over);
        }
        Err(error) => error,
    };
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Network(error) => Ending::NetworkTimeout(error.clone()),
            Stop::Deadline => out_of_time(&guest.ledger),
            // What found no memory seldom does anything of use with the rest of its time.
            Stop::Cpu => guest.limiter.hit().map_or(Ending::OutOfCpu, over),
            Stop::Host(why) => Ending::Host(why.clone()),
        };
    }
    if let Some(error) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Ending::Host(format!("no instance slot: {error}"));
    }
    if let Some(limit) = guest.limiter.hit().or_else(|| limit_in(&error)) {
        return over(limit);
    }
    tracing::debug!(
        plugin = &*guest.errand.plugin,
        error = format!("{error:?}"),
        "plugin trapped"
    );
    Ending::Trap(trap_message(&error, &output))
}

fn over<T>(limit: &'static str) -> Ending<T> {
    if limit == SHARED_MEMORY {
        Ending::Crowded(limit)
    } else {
        Ending::Limit(limit)
    }
}

fn log_output(guest: &Guest, output: &str) {
    tracing::debug!(
        plugin = &*guest.errand.plugin,
        monitor.id = guest.errand.monitor,
        output,
        "plugin output"
    );
}

/// The limits that only the error tells of. The texts are wasmtime 48's; the tests notice when they change.
fn limit_in(error: &wasmtime::Error) -> Option<&'static str> {
    if error.downcast_ref::<Trap>() == Some(&Trap::StackOverflow) {
        return Some("stack limit (`limits.stack_kib`)");
    }
    if matches!(
        error.downcast_ref::<ResourceTableError>(),
        Some(ResourceTableError::Full)
    ) {
        return Some("host resources limit (`limits.host_resources`)");
    }
    let texts = [
        (
            "too much data is being copied",
            "hostcall bytes limit (`limits.hostcall_kib`)",
        ),
        ("store handle limit exceeded", "handles limit (`limits.handles`)"),
        ("count too high", "instances limit (`limits.instances`)"),
        (
            "total size of fields",
            "limit of a request's header fields (16 KiB in all)",
        ),
        ("requested len", "random bytes limit (`limits.random_kib`)"),
    ];
    let error = format!("{error:#}");
    texts
        .into_iter()
        .find(|(text, _)| error.contains(text))
        .map(|(_, limit)| limit)
}

fn trap_message(error: &wasmtime::Error, output: &str) -> String {
    let cause = match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
        (Some(exit), _) => format!("it called `exit({})`", exit.0),
        (None, Some(trap)) => trap.to_string(),
        (None, None) => error.root_cause().to_string(),
    };
    let output = output.trim();
    if output.is_empty() {
        cause
    } else {
        format!("{cause}; it wrote: {output}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_the_host_ends_its_run_and_nothing_else() {
        let runner = Runner::new(&crate::PluginSettings {
            threads: 1,
            concurrent_runs: 1,
            ..crate::PluginSettings::default()
        })
        .unwrap();
        let line = runner.line(0, 1);
        let errand = || Errand {
            plugin: "test".into(),
            kind: "test".into(),
            monitor: String::new(),
            deadline: Instant::now() + Duration::from_secs(20),
            cpu: Duration::from_secs(20),
            network: None,
            stats: runner.stats(),
            memory: runner.memory(),
        };
        let broken = runner
            .run(&line, errand(), async |_, _| -> Ending<()> {
                panic!("a fault of ours")
            })
            .await;
        assert!(matches!(&broken.ending, Ending::Host(_)), "{broken:?}");
        let next = runner
            .run(&line, errand(), async |_, _| Ending::Answered(7))
            .await;
        assert!(matches!(next.ending, Ending::Answered(7)), "{next:?}");
        assert_eq!((runner.usage().live_stores, runner.usage().slots_used), (0, 0));
    }

    #[test]
    fn a_network_step_that_took_until_the_end_is_what_the_run_ended_in() {
        let step = || NetError::ResponseTimeout("mail.test".into());
        let ending = |events: &dyn Fn(&Ledger)| {
            let ledger = Ledger::new();
            events(&ledger);
            out_of_time::<()>(&ledger)
        };
        assert!(matches!(ending(&|_| {}), Ending::OutOfTime));
        let waiting = ending(&|ledger| ledger.wait(step()));
        assert!(matches!(waiting, Ending::NetworkTimeout(_)), "{waiting:?}");
        let just_over = ending(&|ledger| {
            ledger.wait(step());
            ledger.wait_over(true);
        });
        assert!(matches!(just_over, Ending::NetworkTimeout(_)), "{just_over:?}");
        let in_time = ending(&|ledger| {
            ledger.wait(step());
            ledger.wait_over(false);
        });
        assert!(matches!(in_time, Ending::OutOfTime), "{in_time:?}");
    }
}
