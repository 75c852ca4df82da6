#![doc = include_str!("../README.md")]

mod abi;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod capability;
mod custody;
mod engine;
mod executor;
mod guest;
mod host;
mod ledger;
mod limiter;
mod load;
mod mask;
mod memo;
mod outcome;
mod output;
mod plugin;
mod quarantine;
mod rights;
mod run;
mod schema;
mod settings;
mod text;
mod threads;
mod trace;
mod trial;
mod verdict;

pub use custody::{Custody, LogLine, Record, Tally};
pub use host::{HostError, PluginHost};
pub use load::LoadError;
pub use memo::{MemoryState, StateStore};
pub use plugin::{About, Capability, Plugin, PluginReport, PluginState};
pub use rights::{Approval, Grant, Grants, Right, SecretSource, Secrets, assess, diff};
pub use settings::{PluginSettings, QuarantineSettings, RunLimits};
pub use trace::Call;
pub use trial::{Trial, TrialOptions};
