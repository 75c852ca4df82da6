//! A toy `lapwing:plugin@2.0.0`, for tests only: how a second version stands beside the first.
//!
//! What a version needs: bindings of its own; one linker for both, because their import names differ by version; its
//! imports answered by what answers those of the first; its answers turned into those of the newest version that the
//! rest of the crate knows. Here the first is the newest, so the toy's guests are turned into its guests; the real second
//! version will turn the first's `Outcome` into its own instead, and nothing behind that seam will know two.

use crate::{
    abi::v1::{self, wit::types},
    guest::Guest,
};
use wasmtime::{
    Engine, Result, Store,
    component::{Component, HasSelf, Linker},
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "src/abi/v2.wit",
        world: "lapwing:plugin/plugin",
        imports: { default: trappable },
        exports: { default: async },
    });
}

use bindings::{Plugin, lapwing::plugin as wit};

impl wit::log::Host for Guest {
    /// As the first version's, at its usual level.
    fn log(&mut self, message: String, fields: Vec<(String, String)>) -> Result<()> {
        let pairs = fields.iter().map(|(key, value)| format!("{key}={value}"));
        let line: Vec<String> = std::iter::once(message).chain(pairs).collect();
        v1::wit::log::Host::log(self, v1::wit::log::Level::Info, line.join(" "))
    }
}

/// Everything that guests of either version may import.
fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = v1::linker(engine)?;
    Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

/// A `check` of this version, answered as one of the first.
async fn check(
    linker: &Linker<Guest>,
    component: &Component,
    store: &mut Store<Guest>,
    config: &str,
) -> Result<types::Outcome> {
    let plugin = Plugin::instantiate_async(&mut *store, component, linker).await?;
    let checker = plugin.lapwing_plugin_checker();
    Ok(outcome(checker.call_check(store, config).await?))
}

fn outcome(answer: std::result::Result<String, String>) -> types::Outcome {
    let (status, message) = match answer {
        Ok(message) => (types::Status::Up, message),
        Err(message) => (types::Status::Down, message),
    };
    types::Outcome {
        status,
        reason: None,
        message,
        latency: None,
        phases: Vec::new(),
        metrics: Vec::new(),
        attributes: Vec::new(),
        tls: None,
        details: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PluginSettings, engine, guest::Errand, ledger::Ledger, limiter::SharedMemory, load::world};
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    /// Logs a line, and is down with a message.
    const GUEST: &str = r#"(component
        (import "lapwing:plugin/log@2.0.0" (instance $log
          (export "log" (func (param "message" string) (param "fields" (list (tuple string string)))))))
        (alias export $log "log" (func $say))
        (core module $memory (memory (export "memory") 1)
          (data (i32.const 16) "zzz")
          (data (i32.const 64) "\01\00\00\00\10\00\00\00\03\00\00\00")
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $memory (instantiate $memory))
        (core func $say (canon lower (func $say) (memory (core memory $memory "memory"))))
        (core module $main
          (import "log" "log" (func $log (param i32 i32 i32 i32)))
          (func (export "check") (param i32 i32) (result i32)
            (call $log (i32.const 16) (i32.const 3) (i32.const 0) (i32.const 0))
            (i32.const 64)))
        (core instance $main (instantiate $main (with "log" (instance (export "log" (func $say))))))
        (func $check (param "config" string) (result (result string (error string)))
          (canon lift (core func $main "check") (memory (core memory $memory "memory"))
            (realloc (core func $memory "realloc"))))
        (instance $checker (export "check" (func $check)))
        (export "lapwing:plugin/checker@2.0.0" (instance $checker)))"#;

    fn guest() -> Vec<u8> {
        wat::parse_str(GUEST).unwrap()
    }

    fn store(engine: &Engine, settings: &PluginSettings) -> Store<Guest> {
        let errand = Errand {
            plugin: "toy".into(),
            kind: "toy".into(),
            monitor: String::new(),
            deadline: Instant::now() + Duration::from_secs(20),
            cpu: Duration::from_secs(20),
            network: None,
            stats: Arc::default(),
            memory: Arc::new(SharedMemory::new(64 << 20)),
        };
        Guest::new(errand, Arc::new(Ledger::new()), &settings.limits).into_store(engine, &settings.limits)
    }

    #[tokio::test]
    async fn a_second_version_stands_beside_the_first() {
        let settings = PluginSettings {
            concurrent_runs: 4,
            ..PluginSettings::default()
        };
        let (engine, _) = engine::build(&settings).unwrap();
        let linker = linker(&engine).unwrap();

        let second = Component::from_binary(&engine, &guest()).unwrap();
        let mut store = store(&engine, &settings);
        let seen = check(&linker, &second, &mut store, "{}").await.unwrap();
        assert_eq!((seen.status, seen.message.as_str()), (types::Status::Down, "zzz"));

        let first = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../plugins/fixtures/v1/whole_world.wasm");
        let first = Component::from_binary(&engine, &std::fs::read(first).unwrap()).unwrap();
        let pre = v1::PluginPre::new(linker.instantiate_pre(&first).unwrap());
        assert!(pre.is_ok(), "guests of the first version link as before");
    }

    #[test]
    fn until_it_is_offered_its_guests_are_refused_by_version() {
        let error = world::inspect(&guest()).unwrap_err().to_string();
        assert!(
            error.starts_with("built for lapwing:plugin@2.0.0, this worker supports 1.0"),
            "{error}"
        );
    }
}
