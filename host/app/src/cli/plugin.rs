//! `lapwing plugin …`: what plugins are, why they were refused, and which may be loaded. A file a verb.

mod bench;
mod build;
mod compile;
mod conformance;
mod grants;
mod inspect;
mod keygen;
mod kit;
mod list;
mod lock;
mod new;
mod retarget;
mod sign;
mod subject;
mod switch;
mod test;
mod verify;

use super::Exit;
use crate::config::Environment;
use clap::Subcommand;

/// `lapwing plugin`
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List the plugin folder: what was loaded, and what was refused and why
    List(list::ListArgs),
    /// Look into one file: what it describes, imports and asks for
    Inspect(inspect::InspectArgs),
    /// Run one file once, and see what it does
    Test(test::TestArgs),
    /// The same as `lapwing check`: run a kind of the plugin folder, or a native one
    #[command(after_help = super::check::RUN_EXAMPLES)]
    Run(super::check::CheckArgs),
    /// Try one file against servers that misbehave: does it always tell the truth?
    Conformance(conformance::ConformanceArgs),
    /// Measure what a run of one file costs
    Bench(bench::BenchArgs),
    /// Begin a plugin: a complete project in Rust, JavaScript, Python or C
    New(new::NewArgs),
    /// Build a project to dist/NAME.wasm; installs what is missing and says so
    Build(build::BuildArgs),
    /// Pin the plugin folder: from then on only these contents are loaded from it
    Lock(lock::LockArgs),
    /// Let a plugin of the folder serve again
    Enable(switch::EnableArgs),
    /// Keep a plugin of the folder from serving, over restarts
    Disable(switch::SwitchArgs),
    /// Make a key pair to sign plugins with
    Keygen(keygen::KeygenArgs),
    /// Sign a plugin file
    Sign(sign::SignArgs),
    /// Check a plugin file's signature
    Verify(verify::VerifyArgs),
    /// Compile standard input (for Lapwing's own use)
    #[command(hide = true)]
    Compile(compile::CompileArgs),
}

/// Runs it.
pub(crate) fn main(command: &PluginCommand, environment: &Environment) -> anyhow::Result<Exit> {
    match command {
        PluginCommand::List(args) => list::main(args, environment),
        PluginCommand::Inspect(args) => inspect::main(args, environment),
        PluginCommand::Test(args) => test::main(args, environment),
        PluginCommand::Run(args) => super::check::main(args, environment),
        PluginCommand::Conformance(args) => conformance::main(args, environment),
        PluginCommand::Bench(args) => bench::main(args, environment),
        PluginCommand::New(args) => new::main(args),
        PluginCommand::Build(args) => build::main(args, environment),
        PluginCommand::Lock(args) => lock::main(args, environment),
        PluginCommand::Enable(args) => switch::enable(args, environment),
        PluginCommand::Disable(args) => switch::disable(args, environment),
        PluginCommand::Keygen(args) => keygen::main(args),
        PluginCommand::Sign(args) => sign::main(args),
        PluginCommand::Verify(args) => verify::main(args, environment),
        PluginCommand::Compile(args) => Ok(compile::main(args)),
    }
}
