#![doc = include_str!("../README.md")]

mod abi;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod cache;
mod capability;
mod compile;
mod custody;
mod data;
mod engine;
mod executor;
mod folder;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
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
mod processor;
mod quarantine;
mod quota;
mod reuse;
mod rights;
mod run;
mod schema;
mod settings;
mod slots;
mod stage;
mod stats;
mod text;
mod threads;
mod trace;
mod trial;
pub mod trust;
mod validate;
mod verdict;

pub use compile::child::compile_child;
pub use custody::{Custody, LogLine, Record, Tally};
pub use data::{Data, DataError, Decisions};
pub use folder::{Approver, Candidate, PluginFolder};
pub use host::{HostError, PluginHost};
pub use load::LoadError;
pub use memo::{MemoryState, StateStore};
pub use plugin::{About, Capability, Pending, Plugin, PluginReport, PluginState};
pub use rights::{Approval, Grant, Grants, Right, SecretSource, Secrets, asked, assess, diff, grantable};
pub use settings::{CompileSettings, PluginSettings, QuarantineSettings, RunLimits};
pub use stats::{Compiled, PluginStats, Usage};
pub use trace::Call;
pub use trial::{Trial, TrialOptions};
