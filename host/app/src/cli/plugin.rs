//! `lapwing plugin list|inspect`: what plugins are and why they were refused.

mod bench;
mod conformance;
mod retarget;
mod subject;
mod build;
mod kit;
mod new;

use super::{Exit, Shared, table};
use crate::{
    config::{Config, Environment},
    console,
    role::{self, Role},
};
use clap::{Args, Subcommand};
use lapwing_wasm::PluginReport;
use std::path::PathBuf;

/// `lapwing plugin`
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List the plugin folder: what was loaded, and what was refused and why
    List(ListArgs),
    /// Look into one file: what it describes, imports and asks for
    Inspect(InspectArgs),
    /// Try one file against servers that misbehave: does it always tell the truth?
    Conformance(conformance::ConformanceArgs),
    /// Measure what a run of one file costs
    Bench(bench::BenchArgs),
    /// Begin a plugin: a complete project in Rust, JavaScript, Python or C
    New(new::NewArgs),
    /// Build a project to dist/NAME.wasm; installs what is missing and says so
    Build(build::BuildArgs),
}

/// `lapwing plugin list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    shared: Shared,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// `lapwing plugin inspect`
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shared: Shared,
}

/// Runs it. Exits 2 if any plugin was refused.
pub(crate) fn main(command: &PluginCommand, environment: &Environment) -> anyhow::Result<Exit> {
    let (json, shared) = match command {
        PluginCommand::List(args) => (args.json, &args.shared),
        PluginCommand::Inspect(args) => (args.json, &args.shared),
        PluginCommand::Conformance(args) => return conformance::main(args, environment),
        PluginCommand::Bench(args) => return bench::main(args, environment),
        PluginCommand::New(args) => return new::main(args),
        PluginCommand::Build(args) => return build::main(args, environment),
    };
    let config = Config::load(shared, environment)?;
    config.start_logging();
    role::block_on(async {
        let plugins: Vec<PluginReport> = match command {
            PluginCommand::List(_) => Role::load(&config).await?.prober.kinds.plugins().to_vec(),
            PluginCommand::Inspect(args) => vec![Role::host(&config)?.load_file(&args.file).await],
            _ => Vec::new(),
        };
        console::line(&match (command, plugins.as_slice()) {
            (PluginCommand::Inspect(_), [one]) if json => serde_json::to_string_pretty(one)?,
            (PluginCommand::Inspect(_), [one]) => table::of_plugin(one),
            _ if json => serde_json::to_string_pretty(&plugins)?,
            _ => table::of_plugins(&plugins, &config.plugins),
        });
        Ok(if plugins.iter().any(|plugin| plugin.failure().is_some()) {
            Exit::Unknown
        } else {
            Exit::Up
        })
    })
}
