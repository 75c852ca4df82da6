//! From a file to a plugin, or to a reason that says what to change.
//!
//! Every step refuses by name: reading ([`file`]), the world it was built for ([`world`]), what it says of itself
//! ([`manifest`]). Called by [`crate::PluginHost`]; a refusal never stops another file.

pub(crate) mod file;
pub(crate) mod manifest;
pub(crate) mod world;

use crate::{
    abi::v1::{PluginPre, wit::types},
    custody::Custody,
    executor::Program,
    guest::{Errand, Guest},
    plugin::Plugin,
    run::{Ending, Runner},
    settings::PluginSettings,
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

/// Why a file is no plugin of this host.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// A folder, a fifo, a device.
    #[error("not a regular file")]
    NotAFile,
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Larger than the setting allows.
    #[error("larger than {0} MiB (`plugins.file_mib`)")]
    TooLarge(u32),
    /// WebAssembly text.
    #[error("WebAssembly text, not a component; build it first (`wasm-tools parse`)")]
    Text,
    /// Something else.
    #[error("not WebAssembly")]
    NotWasm,
    /// A module without component.
    #[error("a core module, not a component; build for `wasm32-wasip2`, or run `wasm-tools component new`")]
    CoreModule,
    /// Machine code made elsewhere.
    #[error("precompiled code is not accepted; give the component it was made from")]
    Precompiled,
    /// The end is missing.
    #[error("truncated: the file ends in the middle of a section")]
    Truncated,
    /// It does not compile.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// Another version of the interface.
    #[error("built for lapwing:plugin@{0}, this worker supports {major}.{minor}; rebuild it with a matching SDK",
        major = crate::abi::v1::VERSION.0, minor = crate::abi::v1::VERSION.1)]
    Version(String),
    /// It does not export what a plugin must.
    #[error("not a plugin: it does not export `lapwing:plugin/checker`")]
    NoChecker,
    /// It needs what no plugin gets.
    #[error("imports `{0}`, which this worker does not offer")]
    UnknownImport(String),
    /// An import or export has another type than this host's.
    #[error("does not fit the interface: {0}")]
    Mismatch(String),
    /// More than the limits at the start.
    #[error("needs {0}")]
    Resources(String),
    /// `describe` failed.
    #[error("`describe` {0}")]
    Describe(String),
    /// What it says of itself is unfit.
    #[error("{0}")]
    Manifest(String),
    /// A fault of ours.
    #[error("the plugin host failed: {0}")]
    Internal(String),
}

/// What loading needs.
pub(crate) struct Loader {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) settings: PluginSettings,
    pub(crate) custody: Arc<Custody>,
}

/// A component that links, not yet asked what it is.
struct Compiled {
    pre: Arc<PluginPre<Guest>>,
    facts: world::Facts,
    memory_kib: u64,
    compile: Duration,
}

impl Loader {
    /// Compiles and describes the bytes of one file.
    pub(crate) async fn load(self: &Arc<Self>, content: file::Content) -> Result<Plugin, LoadError> {
        let loader = self.clone();
        let digest = content.digest.clone();
        let compiled = tokio::task::spawn_blocking(move || loader.compile(&content.bytes));
        let compiled = compiled
            .await
            .map_err(|error| LoadError::Internal(error.to_string()))??;
        let described = self.describe(&compiled.pre).await?;
        if described != self.describe(&compiled.pre).await? {
            return Err(LoadError::Describe(
                "answers differently each time it is asked".to_owned(),
            ));
        }
        let name = crate::text::line(&described.name, 64);
        let program = Program {
            record: self.custody.record(&name),
            name: name.into(),
            digest: digest.as_str().into(),
            pre: compiled.pre,
            runner: self.runner.clone(),
            custody: self.custody.clone(),
        };
        manifest::plugin(
            described,
            compiled.facts,
            compiled.memory_kib,
            compiled.compile,
            &digest,
            program,
            &self.settings.quarantine,
        )
    }

    fn compile(&self, bytes: &[u8]) -> Result<Compiled, LoadError> {
        file::classify(bytes)?;
        let facts = world::inspect(bytes)?;
        let begun = Instant::now();
        let component =
            Component::from_binary(&self.engine, bytes).map_err(|error| invalid(&format!("{error:#}")))?;
        let compile = begun.elapsed();
        let memory_kib = world::memory_kib(&component, &self.settings.limits)?;
        let mismatch =
            |error: wasmtime::Error| LoadError::Mismatch(crate::text::line(&format!("{error:#}"), 500));
        let pre = self
            .linker
            .instantiate_pre(&component)
            .and_then(PluginPre::new)
            .map_err(mismatch)?;
        Ok(Compiled {
            pre: Arc::new(pre),
            facts,
            memory_kib,
            compile,
        })
    }

    async fn describe(&self, pre: &Arc<PluginPre<Guest>>) -> Result<types::PluginInfo, LoadError> {
        let cpu = self.settings.limits.describe_cpu();
        let errand = Errand {
            plugin: "(being described)".into(),
            kind: "".into(),
            monitor: String::new(),
            // Compilations beside it may keep it waiting; its own time is what counts.
            deadline: Instant::now() + cpu * 4 + Duration::from_secs(5),
            cpu,
            network: None,
        };
        let fault = match self.runner.describe(pre, errand).await.ending {
            Ending::Answered(info) => return Ok(info),
            Ending::OutOfCpu => {
                format!(
                    "used up its processor time ({} ms, `plugins.limits.describe_cpu_ms`)",
                    cpu.as_millis()
                )
            }
            Ending::OutOfTime | Ending::NetworkTimeout(_) => "did not end in time".to_owned(),
            Ending::Limit(limit) => format!("went past its {limit} limit"),
            Ending::Trap(why) => format!("trapped: {}", crate::text::line(&why, 500)),
            Ending::NoSlot => {
                return Err(LoadError::Internal(
                    "no free instance to describe it with".to_owned(),
                ));
            }
            Ending::Host(why) => return Err(LoadError::Internal(why)),
        };
        Err(LoadError::Describe(fault))
    }
}

fn invalid(text: &str) -> LoadError {
    // wasmparser's words for a section, or a module within, that goes on behind the end of the file.
    if text.contains("unexpected end") || text.contains("is out of bounds (bound = ") {
        return LoadError::Truncated;
    }
    LoadError::Invalid(crate::text::line(text, 500))
}
