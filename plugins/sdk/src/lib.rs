#![doc = include_str!("../README.md")]

pub mod bindings;
pub mod checker;
pub mod config_check;
pub mod dns;
mod failure;
#[doc(hidden)]
pub mod glue;
#[cfg(not(target_family = "wasm"))]
pub mod harness;
pub mod http;
pub mod log;
pub mod net;
mod outcome;
#[cfg(target_family = "wasm")]
mod panic;
mod sys;
pub mod tcp;
pub mod udp;

pub use bindings::lapwing::plugin::types::{Outcome, Status, Value};
pub use checker::{Capability, Checker, Context};
pub use failure::Failure;
pub use net::NetError;
pub use serde_json;
pub use sys::{secrets, state};
