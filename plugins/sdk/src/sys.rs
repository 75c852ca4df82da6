//! The host's functions: those of the worker in a component, those of [`harness`](crate::harness) elsewhere.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::lapwing::plugin::{context, dns, http, log, tcp, udp};
#[cfg(target_family = "wasm")]
pub use crate::bindings::lapwing::plugin::{secrets, state};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::harness::sys::{context, dns, http, log, tcp, udp};
#[cfg(not(target_family = "wasm"))]
pub use crate::harness::sys::{secrets, state};
