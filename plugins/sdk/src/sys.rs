//! The host's functions: those of the worker in a component, those of [`harness`](crate::harness) elsewhere.

#[cfg(target_family = "wasm")]
pub use crate::bindings::lapwing::plugin::{context, dns, http, log, secrets, state, tcp, udp};
#[cfg(not(target_family = "wasm"))]
pub use crate::harness::sys::{context, dns, http, log, secrets, state, tcp, udp};
