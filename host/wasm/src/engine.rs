//! The compiler and the pool of instance slots, and the clock that interrupts busy guests.
//!
//! A fresh instance per run is affordable only out of a tuned pool: slots keep their first pages resident and are
//! cleaned by `PAGEMAP_SCAN` (Linux 6.7 and later; older kernels fall back by themselves). The host asks for the
//! largest reservation of address space first, because that spares guests their bounds checks, and makes do with less.

use crate::{
    reuse::{Instance, Shelf},
    settings::{PluginSettings, RunLimits, kib},
};
use serde::{Deserialize, Serialize};
use std::{num::NonZeroUsize, thread, time::Duration};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

/// Time between two looks at a busy guest: the grain of the processor budget and of a run's deadline.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Where instances live, from the most wanted to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Layout {
    /// A pool whose slots reserve 4 GiB each: guests need no bounds checks.
    Full,
    /// A pool whose slots reserve 256 MiB each, for small address spaces (limits, 39-bit kernels).
    Reduced,
    /// No pool: each instance maps its own memory.
    OnDemand,
}

/// Most memory a slot of the pool can hold; the settings' limit is below it.
const SLOT_BYTES: usize = 256 << 20;

/// Stack for the host's own code in a guest's call.
const HOST_STACK: usize = 512 << 10;

/// What a stack keeps of its pages between runs, cleared; a check that only computes takes less. One that goes out on the
/// network takes several times that: with 128 KiB an HTTP check costs a sixth less, and a pool's every stack that was once
/// used keeps those for good. The rest is given back, or one overflow after the other would leave every stack of the pool
/// as large as it can be.
const WARM_STACK: usize = 16 << 10;

/// What a memory keeps of its pages so: what a check in Rust touches. With 512 KiB one in JavaScript starts a quarter sooner, but
/// that is used again anyway, and a pool whose plugins are replaced grows by a third.
const WARM_MEMORY: usize = 96 << 10;

/// Most of each in one component; the settings' limits do not go beyond.
const MEMORIES: u32 = 4;
const TABLES: u32 = 16;
const CORE_INSTANCES: u32 = 64;

/// Builds the engine with the best layout this machine allows, and starts its ticker.
pub(crate) fn build(settings: &PluginSettings) -> Result<(Engine, Layout)> {
    let attempt = |layout| {
        let engine = Engine::new(&config(settings, layout));
        engine
            .map(|engine| (engine, layout))
            .inspect_err(|error| log_refusal(layout, error))
    };
    let (engine, layout) = attempt(Layout::Full)
        .or_else(|_| attempt(Layout::Reduced))
        .or_else(|_| attempt(Layout::OnDemand))?;
    start_ticker(&engine)?;
    Ok((engine, layout))
}

/// Builds an engine whose code fits those of `layout`, without their pool: it compiles, and runs `describe`.
pub(crate) fn build_compiler(layout: Layout, limits: &RunLimits) -> Result<Engine> {
    let engine = Engine::new(&code(layout, limits))?;
    start_ticker(&engine)?;
    Ok(engine)
}

fn log_refusal(layout: Layout, error: &wasmtime::Error) {
    tracing::warn!(
        ?layout,
        error = format!("{error:#}"),
        "plugins: address space refused, trying a smaller layout"
    );
}

fn config(settings: &PluginSettings, layout: Layout) -> Config {
    let mut config = code(layout, &settings.limits);
    if layout != Layout::OnDemand {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings)));
    }
    config
}

/// What shapes generated code, the same for every engine of one layout; and the stack, which does not.
fn code(layout: Layout, limits: &RunLimits) -> Config {
    let mut config = Config::new();
    match layout {
        Layout::Full => config.memory_reservation(4 << 30).memory_guard_size(32 << 20),
        Layout::Reduced => config
            .memory_reservation(SLOT_BYTES as u64)
            .memory_guard_size(64 << 10),
        Layout::OnDemand => config.memory_reservation(0).memory_guard_size(64 << 10),
    };
    config
        .epoch_interruption(true)
        // No canonical NaNs (`cranelift_nan_canonicalization`): they would slow down all arithmetic, and `describe` is asked
        // twice on one machine, which gives one operation the same bits each time.
        // No concurrent guests: halves the cost of a call on a live instance (0.9 against 2.1 µs).
        .concurrency_support(false)
        // Host code on a guest's stack gets the difference; past it the process would abort.
        .max_wasm_stack(kib(limits.stack_kib))
        .async_stack_size(kib(limits.stack_kib) + HOST_STACK)
        .async_stack_zeroing(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        .generate_address_map(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(16));
    config
}

fn pool(settings: &PluginSettings) -> PoolingAllocationConfig {
    // A thread that cleans a slot holds that of a run that is over and has given up its place.
    let slots = settings.concurrent_runs + Shelf::<Instance>::slots(settings) + settings.guest_threads() + 1;
    let mut pool = PoolingAllocationConfig::new();
    // Whatever runs and rests at a time fits, each as large as it may be: what has more than one memory counts as heavy.
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_memories(slots + settings.concurrent_heavy_runs.min(slots) * (MEMORIES - 1))
        .total_tables(slots.saturating_mul(TABLES))
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES))
        .max_memory_size(SLOT_BYTES)
        .table_elements(20_000)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memories_per_module(1)
        .max_tables_per_module(4)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        .max_unused_warm_slots(64)
        // At once: in batches it costs a tenth less, and leaves the memory of the last runs lying for as long as no others come.
        .decommit_batch_size(1)
        .linear_memory_keep_resident(WARM_MEMORY)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(WARM_STACK)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// A thread of its own, so that no busy guest can hold it up; it ends with the engine.
fn start_ticker(engine: &Engine) -> Result<()> {
    let engine = engine.weak();
    thread::Builder::new()
        .name("lapwing-epoch".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                #[expect(clippy::disallowed_methods, reason = "this thread does nothing but sleep")]
                thread::sleep(TICK);
            }
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_makes_an_engine() {
        let settings = PluginSettings {
            concurrent_runs: 8,
            ..PluginSettings::default()
        };
        for layout in [Layout::Full, Layout::Reduced, Layout::OnDemand] {
            let engine = Engine::new(&config(&settings, layout)).unwrap();
            let pools = engine.pooling_allocator_metrics().is_some();
            assert_eq!(pools, layout != Layout::OnDemand, "{layout:?}");
            assert_eq!(
                crate::cache::compatibility(&engine),
                crate::cache::compatibility(&build_compiler(layout, &settings.limits).unwrap()),
                "the compiler's code fits: {layout:?}"
            );
        }
    }

    /// What a description is made of must not depend on chance: the bits of a result that is no number are the machine's,
    /// and the same whenever they are asked for, whatever engine compiled the code.
    #[tokio::test]
    async fn a_result_that_is_no_number_has_the_same_bits_each_time() {
        let text = r#"(module
            (func (export "bits") (param $zero f64) (result i64)
                (i64.reinterpret_f64 (f64.add
                    (f64.div (local.get $zero) (local.get $zero))
                    (f64.sqrt (f64.sub (local.get $zero) (f64.const 1)))))))"#;
        let mut seen = std::collections::BTreeSet::new();
        for layout in [Layout::Full, Layout::Reduced, Layout::OnDemand] {
            let engine = build_compiler(layout, &RunLimits::default()).unwrap();
            let module = wasmtime::Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
            for _ in 0..3 {
                let mut store = wasmtime::Store::new(&engine, ());
                store.set_epoch_deadline(1000);
                let instance = wasmtime::Instance::new_async(&mut store, &module, &[])
                    .await
                    .unwrap();
                let bits = instance.get_typed_func::<f64, i64>(&mut store, "bits").unwrap();
                seen.insert(bits.call_async(&mut store, 0.0).await.unwrap());
            }
        }
        assert_eq!(seen.len(), 1, "{seen:x?}");
        assert!(
            seen.iter()
                .all(|bits| f64::from_bits(bits.cast_unsigned()).is_nan())
        );
    }

    #[tokio::test]
    async fn an_overflow_leaves_no_large_stack() {
        let settings = PluginSettings {
            concurrent_runs: 8,
            ..PluginSettings::default()
        };
        let engine = Engine::new(&config(&settings, Layout::Reduced)).unwrap();
        let text = r#"(module (func $deeper (export "run") (call $deeper)))"#;
        let module = wasmtime::Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        for _ in 0..4 {
            let mut store = wasmtime::Store::new(&engine, ());
            store.set_epoch_deadline(1000);
            let instance = wasmtime::Instance::new_async(&mut store, &module, &[])
                .await
                .unwrap();
            let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
            let error = run.call_async(&mut store, ()).await.unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&wasmtime::Trap::StackOverflow));
        }
        let metrics = engine.pooling_allocator_metrics().unwrap();
        let (stacks, bytes) = (
            metrics.unused_warm_stacks(),
            metrics.unused_stack_bytes_resident(),
        );
        assert!(stacks > 0);
        assert!(
            bytes.unwrap() <= stacks as usize * WARM_STACK,
            "{stacks}: {bytes:?}"
        );
    }
}
