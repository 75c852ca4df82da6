//! From a file to a plugin, or to a reason that says what to change.
//!
//! Every step refuses by name: reading ([`file`]), the world it was built for ([`world`]), what it says of itself
//! ([`manifest`]). Called by [`crate::PluginHost`]; a refusal never stops another file.

pub(crate) mod file;
pub(crate) mod manifest;
pub(crate) mod start;
pub(crate) mod world;

use crate::{
    abi::v1::PluginPre,
    cache::{Cache, Hold, Record},
    compile::Compiler,
    custody::Custody,
    executor::Program,
    guest::Guest,
    plugin::{Plugin, PluginState},
    run::Runner,
    settings::PluginSettings,
    stats::Compilations,
    validate::Validation,
};
use std::{io, path::PathBuf, sync::Arc};
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
    /// No UTF-8, or with characters that would garble a log or a lock file.
    #[error("its name is no plain text; rename the file")]
    Name,
    /// A folder, a fifo, a device.
    #[error("not a regular file")]
    NotAFile,
    /// A link that leads elsewhere.
    #[error("a link out of the plugin folder, to `{0}`; copy the file into the folder")]
    Outside(PathBuf),
    /// Others can change it.
    #[error("writable by others (mode {0:03o}); take that away with `chmod go-w`")]
    OpenFile(u32),
    /// Others can put files beside it, or another in its place.
    #[error("its folder `{0}` is writable by others (mode {1:03o}); take that away with `chmod go-w`")]
    OpenFolder(PathBuf, u32),
    /// Someone else's.
    #[error("belongs to user {0}; give it to root, or to who runs this, with `chown`")]
    Foreign(u32),
    /// In someone else's folder.
    #[error("its folder `{0}` belongs to user {1}; give it to root, or to who runs this, with `chown`")]
    ForeignFolder(PathBuf, u32),
    /// Its digest is not what the lock file says.
    #[error("not pinned in `plugins.lock`: {0}")]
    Unpinned(String),
    /// It is not signed as it must be.
    #[error("signature `{0}` {1}")]
    Signature(String, String),
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
    /// Compiling it takes too much.
    #[error("compiling it took more than {0}; raise the limit if you trust the file")]
    CompileLimit(String),
    /// The process that compiles cannot do its work.
    #[error("the compiler process failed: {0}")]
    Compiler(String),
    /// The process that compiles cannot be started, or somebody killed it: often for the machine's memory.
    #[error("the compiler process failed: {0}")]
    CompilerLost(String),
    /// The process that compiles refused it; the text is that of one of the others.
    #[error("{0}")]
    Unfit(String),
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

impl LoadError {
    /// Whether the same file may be fit another time: it is our trouble, or the machine's.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreadable(_) | Self::CompilerLost(_) | Self::Internal(_)
        )
    }
}

/// What loading needs.
pub(crate) struct Loader {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) settings: PluginSettings,
    pub(crate) custody: Arc<Custody>,
    pub(crate) compiler: Compiler,
    pub(crate) cache: Arc<Cache>,
    pub(crate) compilations: Compilations,
}

impl Loader {
    /// Loads the bytes of one file: from the cache, else compiled. `stage` hears of each step.
    ///
    /// Cancel safe: dropping the future ends the compilation.
    pub(crate) async fn load(
        self: &Arc<Self>,
        content: &file::Content,
        stage: &(impl Fn(PluginState) + Sync),
    ) -> Result<Plugin, LoadError> {
        let (loader, digest) = (self.clone(), content.digest.clone());
        let find = move || loader.cached(&digest);
        let found = blocking(find).await?;
        self.compilations.looked(found.is_some());
        if let Some(plugin) = found {
            return plugin;
        }
        stage(PluginState::Validating);
        let bytes = content.bytes.clone();
        let inspect = move || {
            file::classify(&bytes)?;
            world::inspect(&bytes)
        };
        let facts = blocking(inspect).await??;
        let loader = self.clone();
        let mut draft = blocking(move || loader.cache.draft()).await??;
        let begun = || stage(PluginState::Compiling);
        let made = self.compiler.compile(&content.bytes, &mut draft, begun).await?;
        draft.finish().await?;
        self.compilations.made(made.compile_ms);
        let (loader, digest) = (self.clone(), content.digest.clone());
        let keep = move || {
            loader.cache.store(draft, &digest, made, facts)?;
            loader
                .cached(&digest)
                .unwrap_or_else(|| Err(LoadError::Internal("compiled code vanished".to_owned())))
        };
        blocking(keep).await?
    }

    /// The plugin of that digest, when the cache has it. Limits of today hold, whenever it was compiled.
    fn cached(&self, digest: &str) -> Option<Result<Plugin, LoadError>> {
        let hold = self.cache.hold(digest);
        let (component, record) = self.cache.load(&self.engine, digest)?;
        Some(self.plugin(&component, record, digest, hold))
    }

    fn plugin(
        &self,
        component: &Component,
        record: Record,
        digest: &str,
        code: Hold,
    ) -> Result<Plugin, LoadError> {
        let (memory_kib, memories) = world::memory(component, &record.facts.start, &self.settings.limits)?;
        let name = crate::text::line(&record.made.described.name, 64);
        // The pool has room to keep one memory for each.
        let most = if memories > 1 { 1 } else { self.settings.max_reuse };
        let max_reuse = record.made.described.max_reuse.clamp(1, most);
        let program = Program {
            record: self.custody.record(&name),
            name: name.into(),
            digest: digest.into(),
            pre: Arc::new(link(&self.linker, component)?),
            validation: Validation::of(component)?,
            runner: self.runner.clone(),
            custody: self.custody.clone(),
            line: self.runner.line(memory_kib, memories),
            max_reuse,
            stats: self.runner.stats(),
            _code: code,
        };
        manifest::plugin(record, memory_kib, digest, program, &self.settings.quarantine)
    }
}

/// Runs `work` where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LoadError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| LoadError::Internal(error.to_string()))
}

/// Binds the imports.
pub(crate) fn link(linker: &Linker<Guest>, component: &Component) -> Result<PluginPre<Guest>, LoadError> {
    linker
        .instantiate_pre(component)
        .and_then(PluginPre::new)
        .map_err(|error| LoadError::Mismatch(crate::text::line(&format!("{error:#}"), 500)))
}

pub(crate) fn invalid(text: &str) -> LoadError {
    // wasmparser's words for a section, or a module within, that goes on behind the end of the file.
    if text.contains("unexpected end") || text.contains("is out of bounds (bound = ") {
        return LoadError::Truncated;
    }
    LoadError::Invalid(crate::text::line(text, 500))
}
