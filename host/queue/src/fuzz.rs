//! The readers of what others write, for the fuzzers in `fuzz/` only (feature `fuzz`).
//!
//! Each reads, writes what it read, and reads that again; it panics when the two differ, so that a fuzzer sees it.

pub use crate::{arq::fuzz::pickle, streams::fuzz::stream_entry};

use crate::asynq::message::Envelope;

/// An Asynq message: rewriting it loses nothing, whatever a later version put into it.
pub fn asynq_message(bytes: &[u8]) {
    let Ok(read) = Envelope::decode(bytes) else {
        return;
    };
    let written = read.encode();
    let again = Envelope::decode(&written).expect("what was written can be read");
    assert_eq!(again, read, "written and read again");
    assert_eq!(again.encode(), written, "written the same each time");
}
