//! The inside of the host, for `benches/plugin.rs` only (feature `bench`): what a run costs without queue or threads.

use crate::{
    PluginSettings,
    abi::v1::{self, PluginPre, wit::types},
    engine,
    guest::{Errand, Guest},
    ledger::Ledger,
    limiter::SharedMemory,
    run::{self, Ending},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use wasmtime::{
    Engine, Result, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// One compiled component.
pub struct Subject {
    engine: Engine,
    pre: PluginPre<Guest>,
    settings: PluginSettings,
    code_bytes: usize,
}

impl Subject {
    /// Compiles a file.
    pub fn compile(path: &Path, settings: PluginSettings) -> Result<Self> {
        let (engine, _) = engine::build(&settings)?;
        let linker = v1::linker(&engine)?;
        let component = Component::from_binary(&engine, &std::fs::read(path)?)?;
        let pre = PluginPre::new(linker.instantiate_pre(&component)?)?;
        let code_bytes = component.serialize()?.len();
        Ok(Self {
            engine,
            pre,
            settings,
            code_bytes,
        })
    }

    /// A fresh store and instance, one `check`, and all of it dropped: a whole run. The time it took.
    pub async fn fresh(&self, config: &str) -> Duration {
        let request = request(config);
        let begun = Instant::now();
        let limits = &self.settings.limits;
        let (ending, _) = run::check_once(
            &self.pre,
            None,
            errand(),
            Arc::new(Ledger::new()),
            &request,
            limits,
        )
        .await;
        let took = begun.elapsed();
        assert!(matches!(ending, Ending::Answered(Ok(_))), "{ending:?}");
        took
    }

    /// `calls` calls of `check` on one live instance; the time of each.
    pub async fn warm(&self, config: &str, calls: usize) -> Result<Vec<Duration>> {
        let request = request(config);
        let guest = Guest::new(errand(), Arc::new(Ledger::new()), &self.settings.limits);
        let mut store = guest.into_store(&self.engine, &self.settings.limits);
        let plugin = self.pre.instantiate_async(&mut store).await?;
        let mut took = Vec::with_capacity(calls);
        for _ in 0..calls {
            let begun = Instant::now();
            let outcome = plugin
                .lapwing_plugin_checker()
                .call_check(&mut store, &request)
                .await?;
            took.push(begun.elapsed());
            assert!(outcome.is_ok(), "{outcome:?}");
        }
        Ok(took)
    }

    /// Size of the compiled code in bytes.
    pub fn code_bytes(&self) -> usize {
        self.code_bytes
    }
}

/// The same component by wasmtime alone: an engine with the same settings, a store with WASI and nothing of ours in it. What
/// a run costs on this machine before there is a host.
pub struct Bare {
    engine: Engine,
    pre: PluginPre<Alone>,
}

struct Alone {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Alone {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl Bare {
    /// Compiles a file; what it imports beside WASI ends in a trap.
    pub fn compile(path: &Path) -> Result<Self> {
        let (engine, _) = engine::build(&PluginSettings::default())?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        let component = Component::from_binary(&engine, &std::fs::read(path)?)?;
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = PluginPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, pre })
    }

    /// As [`Subject::fresh`].
    pub async fn fresh(&self, config: &str) -> Result<Duration> {
        let request = request(config);
        let begun = Instant::now();
        let alone = Alone {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(&self.engine, alone);
        store.set_epoch_deadline(u64::from(u32::MAX));
        let plugin = self.pre.instantiate_async(&mut store).await?;
        let answer = plugin
            .lapwing_plugin_checker()
            .call_check(&mut store, &request)
            .await?;
        drop((store, plugin));
        let took = begun.elapsed();
        assert!(answer.is_ok(), "{answer:?}");
        Ok(took)
    }
}

fn errand() -> Errand {
    Errand {
        plugin: "bench".into(),
        kind: "bench".into(),
        monitor: String::new(),
        deadline: Instant::now() + Duration::from_secs(60),
        cpu: Duration::from_secs(60),
        network: None,
        stats: Arc::default(),
        memory: Arc::new(SharedMemory::new(1 << 30)),
    }
}

fn request(config: &str) -> types::Request {
    types::Request {
        check_type: "bench".to_owned(),
        monitor_id: "monitor".to_owned(),
        run_id: "run".to_owned(),
        config: config.to_owned(),
        budget: 60_000_000_000,
        attempt: 1,
        previous: None,
    }
}
