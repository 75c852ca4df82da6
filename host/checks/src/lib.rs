#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod check;
pub mod executor;
pub mod findings;
pub mod native;
pub mod net;
pub mod registry;
pub mod schema;
pub mod text;

pub use check::{Check, CheckError, ProbeContext};
pub use executor::{BoxFuture, Executor, KindInfo, Origin};
pub use findings::Findings;
pub use net::Net;
pub use registry::{Clash, Registry};
