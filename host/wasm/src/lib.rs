#![doc = include_str!("../README.md")]

mod abi;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod capability;
mod engine;
mod executor;
mod guest;
mod host;
mod ledger;
mod limiter;
mod load;
mod outcome;
mod output;
mod plugin;
mod quarantine;
mod quota;
mod rights;
mod run;
mod schema;
mod settings;
mod text;
mod threads;
mod verdict;

pub use host::{HostError, PluginHost};
pub use load::LoadError;
pub use plugin::{About, Capability, Plugin, PluginReport, PluginState};
pub use rights::Right;
pub use settings::{PluginSettings, QuarantineSettings, RunLimits};
