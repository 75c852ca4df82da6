//! What one run's store holds: the guest's limits, its rights, and the book that is kept on it.
//!
//! Made by [`crate::run`] for each run and dropped with it, or made ready for its tenant's next one ([`crate::reuse`]).

use crate::{
    capability::wasi,
    ledger::{Ledger, Usage},
    limiter::{Limiter, SharedMemory},
    output::Output,
    quota::Shared,
    rights::Rights,
    settings::RunLimits,
    settings::kib,
    stage::{self, Stage},
    stats::{Live, Stats},
    trace::Trace,
};
use lapwing_checks::{Net, net::NetError};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;
use wasmtime::{Store, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Most things the host may keep for a guest between two runs: runtimes hold on to their streams.
const HELD: usize = 64;
/// How much of its output is kept for somebody who looks, in bytes.
const OUTPUT: usize = 4096;

/// Who runs, for whom, and with which rights.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    /// The plugin's name, for logs.
    pub(crate) plugin: Arc<str>,
    /// The kind being run; empty for `describe`.
    pub(crate) kind: Arc<str>,
    /// The monitor's id; empty for `describe`.
    pub(crate) monitor: String,
    /// When the run must have ended.
    pub(crate) deadline: Instant,
    /// Processor time its code may take.
    pub(crate) cpu: Duration,
    /// The way to the network; `None` grants nothing.
    pub(crate) network: Option<Network>,
    /// Where its plugin's doings are counted.
    pub(crate) stats: Arc<Stats>,
    /// What all runs of the host share.
    pub(crate) memory: Arc<SharedMemory>,
}

/// The network as one run may use it. The work is done on the worker's runtime, where native checks do theirs, so that
/// busy guests do not distort what is measured.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) net: Net,
    pub(crate) worker: Handle,
    /// The queue whose monitor it is; `None` keeps nothing for another run.
    pub(crate) queue: Option<Arc<str>>,
    pub(crate) rights: Rights,
}

/// Quotas left.
#[derive(Debug)]
pub(crate) struct Quotas {
    pub(crate) log_bytes: usize,
    pub(crate) dns_queries: u32,
    /// Bytes on the network, connections, and open sockets.
    pub(crate) shared: Shared,
}

/// The data of one run's store.
pub(crate) struct Guest {
    pub(crate) errand: Errand,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) output: Output,
    pub(crate) limiter: Limiter,
    pub(crate) table: ResourceTable,
    pub(crate) quotas: Quotas,
    pub(crate) http: wasi::http::Courier,
    pub(crate) pins: wasi::sockets::Pins,
    /// On a stage, time stands.
    staged: bool,
    wasi: WasiCtx,
    /// Tells that this store exists, until it is dropped.
    _live: Live,
}

/// Ends a run from within; found again in the error that comes out of the engine.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Stop {
    /// The budget ended while the host waited for the target.
    #[error("budget over: {0}")]
    Network(NetError),
    /// The budget ended in the guest's own code.
    #[error("budget over")]
    Deadline,
    /// The guest took too much processor time.
    #[error("processor time over")]
    Cpu,
    /// A fault of ours.
    #[error("{0}")]
    Host(String),
}

impl Errand {
    /// Time until the deadline.
    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl Quotas {
    fn new(limits: &RunLimits) -> Self {
        Self {
            log_bytes: kib(limits.log_kib),
            dns_queries: limits.dns_queries,
            shared: Shared::new(kib(limits.network_kib), limits.connects, limits.open_sockets),
        }
    }
}

impl Guest {
    pub(crate) fn new(errand: Errand, ledger: Arc<Ledger>, limits: &RunLimits) -> Self {
        let output = Output::new(kib(limits.output_kib));
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limits.host_resources).unwrap_or(usize::MAX));
        if let Some(Network { rights, .. }) = &errand.network {
            let aside = &mut ledger.entries().aside;
            aside.mask = rights.mask.clone();
            aside.trace = rights.traced.then(Trace::default);
        }
        Self {
            wasi: closed_wasi(&output, limits).build(),
            _live: errand.stats.enter(),
            limiter: Limiter::new(limits, errand.memory.clone()),
            errand,
            ledger,
            output,
            table,
            http: wasi::http::Courier::new(),
            pins: wasi::sockets::Pins::new(),
            staged: false,
            quotas: Quotas::new(limits),
        }
    }

    /// With the clocks and the chance of `stage`.
    pub(crate) fn on(mut self, stage: Stage, limits: &RunLimits) -> Self {
        let mut wasi = closed_wasi(&self.output, limits);
        stage.set(&mut wasi);
        self.wasi = wasi.build();
        self.staged = true;
        self
    }

    /// Ready for one more run: nothing stays but what is in the guest's own memory, the streams and clocks it holds, and
    /// what must not be shown of earlier runs.
    pub(crate) fn renew(&mut self, errand: Errand, ledger: &Arc<Ledger>, limits: &RunLimits) {
        // It stays in a book that is closed, too.
        let mask = self.ledger.entries().aside.mask.clone();
        let aside = &mut ledger.entries().aside;
        aside.mask = mask;
        if let Some(rights) = errand.network.as_ref().map(|network| &network.rights) {
            aside.mask.join(&rights.mask);
        }
        aside.reused = true;
        self.errand = errand;
        self.ledger = ledger.clone();
        self.output.clear();
        self.http = wasi::http::Courier::new();
        self.pins = wasi::sockets::Pins::new();
        self.quotas = Quotas::new(limits);
    }

    /// Whether the run that is over leaves an instance that another may follow in: nothing was refused, no limit was
    /// met, no time ran out; it has no socket, opened or not, nothing is under way, and there is room for more: memory,
    /// things the host keeps for it, secrets.
    pub(crate) fn is_clean(&mut self, limits: &RunLimits) -> bool {
        self.time_left() > Duration::ZERO
            && !self.ledger.entries().aside.mask.is_half_full()
            && self.limiter.hit().is_none()
            && self.limiter.memory() <= limits.memory_bytes() / 2
            && self.quotas.shared.sockets() == limits.open_sockets
            && self.ledger.is_clean()
            && self.table.iter_mut().count() <= HELD
            && !self.table.iter_mut().any(|held| wasi::sockets::is_socket(held))
    }

    /// Bytes it holds: its memory, and whatever the largest thing is that the host keeps for it.
    pub(crate) fn bytes(&mut self) -> usize {
        self.limiter.memory() + self.table.iter_mut().count() * wasi::http::REQUEST_BYTES
    }

    /// A store with every limit set.
    pub(crate) fn into_store(self, engine: &wasmtime::Engine, limits: &RunLimits) -> Store<Self> {
        let mut store = Store::new(engine, self);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(kib(limits.hostcall_kib));
        store.set_max_component_handles(usize::try_from(limits.handles).unwrap_or(usize::MAX));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| context.data().tick());
        store
    }

    /// Called at every tick at which guest code is found running.
    fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if Instant::now() >= self.errand.deadline {
            return Err(Stop::Deadline.into());
        }
        if self.ledger.tick() >= self.errand.cpu {
            return Err(Stop::Cpu.into());
        }
        self.ledger.queue();
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    }

    /// Its rights; none while it describes itself.
    pub(crate) fn rights(&self) -> Option<&Rights> {
        self.errand.network.as_ref().map(|network| &network.rights)
    }

    /// Writes down what it used of `limits`.
    pub(crate) fn close_books(&self, limits: &RunLimits) {
        let mut entries = self.ledger.entries();
        let aside = &mut entries.aside;
        if aside.trace.is_some() {
            aside.output = self.output.tail(OUTPUT, &aside.mask);
        }
        aside.usage = Usage {
            cpu: self.ledger.held(),
            memory_bytes: self.limiter.memory(),
            network_bytes: kib(limits.network_kib).saturating_sub(self.quotas.shared.bytes()),
            connects: limits.connects.saturating_sub(self.quotas.shared.connects()),
            dns_queries: limits.dns_queries.saturating_sub(self.quotas.dns_queries),
        };
    }

    /// Time until the deadline.
    pub(crate) fn time_left(&self) -> Duration {
        self.errand.time_left()
    }

    /// Time until the deadline, as the guest is told.
    pub(crate) fn time_shown(&self) -> Duration {
        if self.staged {
            return stage::BUDGET;
        }
        self.time_left()
    }
}

/// WASI with nothing behind it: no arguments, environment or files. Its network is in [`wasi`].
fn closed_wasi(output: &Output, limits: &RunLimits) -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(output.clone())
        .stderr(output.clone())
        .max_random_size(u64::from(limits.random_kib) << 10);
    wasi
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}
