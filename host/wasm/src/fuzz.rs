//! The loader's looks at a file, for the fuzzers in `fuzz/` only (feature `fuzz`).

use crate::{
    engine::{self, Layout},
    load::{file, world},
    settings::RunLimits,
};
use std::sync::OnceLock;
use wasmtime::{Engine, component::Component};

/// What these bytes are, and whether this host could link them; the refusal as users see it.
pub fn inspect(bytes: &[u8]) -> Result<Vec<String>, String> {
    file::classify(bytes)
        .and_then(|()| world::inspect(bytes))
        .map(|facts| facts.imports)
        .map_err(|refusal| refusal.to_string())
}

/// Compiles what passed [`inspect`], as the compiling child does.
pub fn compile(bytes: &[u8]) -> Result<(), String> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let build = || engine::build_compiler(Layout::OnDemand, &RunLimits::default()).expect("an engine");
    Component::new(ENGINE.get_or_init(build), bytes)
        .map(drop)
        .map_err(|error| format!("{error:#}"))
}
