#![doc = include_str!("../README.md")]

pub mod bindings;
pub mod checker;
pub mod dns;
mod failure;
#[doc(hidden)]
pub mod glue;
pub mod http;
pub mod log;
pub mod net;
mod outcome;
pub mod tcp;
pub mod udp;

pub use bindings::lapwing::plugin::{
    secrets, state,
    types::{Outcome, Status, Value},
};
pub use checker::{Capability, Checker, Context};
pub use failure::Failure;
pub use net::NetError;
pub use serde_json;
