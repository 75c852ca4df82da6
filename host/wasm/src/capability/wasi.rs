//! WASI's own network interfaces, for programs that know nothing of Lapwing: `wasi:http` and `wasi:sockets` through the
//! same gate, judge, resolver, TLS and quotas as the interfaces of `lapwing:plugin`.
//!
//! The rest of WASI is the stock implementation with nothing behind it ([`crate::guest`]).

pub(crate) mod http;
pub(crate) mod sockets;
