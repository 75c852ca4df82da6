//! The `lapwing` binary: reads the command line and the configuration, then hands over to one role.

mod admin;
mod cli;
mod config;
mod consent;
mod console;
mod enqueue;
mod fields;
mod hooks;
mod kinds;
mod metrics;
mod probe;
mod producer;
mod pulse;
mod queues;
#[cfg(test)]
mod reference;
mod review;
mod role;
mod shutdown;
mod state;
mod tally;
mod telemetry;
mod watch;
mod worker;

use clap::Parser;
use cli::{Cli, Command, Exit, Usage};
use config::{Environment, Faults};
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// A task is many small allocations, made and freed by different threads: with the C library's allocator it costs a
/// quarter more processor time (`just bench-queue`), and what a storm of runs has freed stays with the process.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if let Some(args) = Cli::check_to_explain(&error) {
                return concluded(cli::check::explain(&args, &environment));
            }
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Up.into()
            };
        }
    };
    concluded(match &cli.command {
        Command::Run(args) => cli::run::main(args, &environment),
        Command::Worker(args) => cli::worker::main(args, &environment),
        Command::Check(args) => cli::check::main(args, &environment),
        Command::Config(args) => cli::config::main(args, &environment),
        Command::Enqueue(args) => cli::enqueue::main(args, &environment),
        Command::Kinds(args) => cli::kinds::main(args, &environment),
        Command::Plugin(command) => cli::plugin::main(command, &environment),
        Command::Health(args) => cli::health::main(args, &environment),
    })
}

fn concluded(outcome: anyhow::Result<Exit>) -> ExitCode {
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            console::error(&error);
            if error.is::<Faults>() || error.is::<Usage>() {
                Exit::Usage.into()
            } else {
                Exit::Unknown.into()
            }
        }
    }
}
