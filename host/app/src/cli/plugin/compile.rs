//! `lapwing plugin compile`: the process in which plugins are compiled. Reads no configuration and starts no logging.

use crate::cli::Exit;
use clap::Args;
use std::process::ExitCode;

/// `lapwing plugin compile`
#[derive(Debug, Args)]
pub(crate) struct CompileArgs {
    /// What to do, as Lapwing tells itself
    job: String,
}

/// Runs it.
pub(crate) fn main(args: &CompileArgs) -> Exit {
    if lapwing_wasm::compile_child(&args.job) == ExitCode::SUCCESS {
        Exit::Up
    } else {
        Exit::Unknown
    }
}
