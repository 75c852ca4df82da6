//! The loader's first looks at a file, for the fuzzers in `fuzz/` only (feature `fuzz`).

use crate::load::{file, world};

/// What these bytes are, and whether this host could link them; the refusal as users see it.
pub fn inspect(bytes: &[u8]) -> Result<Vec<String>, String> {
    file::classify(bytes)
        .and_then(|()| world::inspect(bytes))
        .map(|facts| facts.imports)
        .map_err(|refusal| refusal.to_string())
}
