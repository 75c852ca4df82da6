//! What the compiling child answers: a length, one JSON object, and the machine code.

use crate::abi::v1::wit::types;
use serde::{Deserialize, Serialize};

/// Largest JSON object: what a plugin may say of itself, and its imports.
const HEADER_BYTES: usize = 8 << 20;

/// The child's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// `code_bytes` of code follow.
    Made(Box<Made>),
    /// The file is no plugin; nothing follows.
    Refused(String),
}

/// What is known of a component once it is compiled. Kept beside its code in the cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// What it says of itself.
    pub(crate) described: types::PluginInfo,
    /// Time compilation took, in milliseconds.
    pub(crate) compile_ms: u64,
    /// Length of the code.
    pub(crate) code_bytes: u64,
}

/// The header of an answer, its length first.
pub(crate) fn header(answer: &Answer) -> Result<Vec<u8>, String> {
    let json = serde_json::to_vec(answer).map_err(|error| error.to_string())?;
    if json.len() > HEADER_BYTES {
        return Err(format!(
            "describes itself in more than {} MiB",
            HEADER_BYTES >> 20
        ));
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    Ok(header)
}

/// The announced length, if it is one.
pub(crate) fn header_length(announced: u64) -> Result<usize, String> {
    usize::try_from(announced)
        .ok()
        .filter(|length| *length <= HEADER_BYTES)
        .ok_or_else(|| "does not speak this version's language".to_owned())
}

/// Whether a child's last words are those of a process without memory: Rust's allocator, the engine's `mmap`.
pub(crate) fn out_of_memory(said: &str) -> bool {
    ["memory allocation of", "Cannot allocate memory", "os error 12"]
        .iter()
        .any(|words| said.contains(words))
}
