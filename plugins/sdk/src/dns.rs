//! DNS questions, asked by the host.

pub use crate::bindings::lapwing::plugin::dns::Answer;
use crate::{
    net::{Endpoint, NetError, timeout},
    sys::dns as host,
};
use std::time::Duration;

/// The reply to one question. NXDOMAIN and an empty answer are replies, not errors.
#[derive(Debug, Clone)]
pub struct Reply {
    /// 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, … (RFC 1035 §4.1.1).
    pub rcode: u16,
    /// Whether an authoritative server answered.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Answer>,
    /// Round-trip time.
    pub elapsed: Duration,
}

/// Asks the worker's resolvers for the `rtype` records (`A`, `MX`, `TXT`, …) of `name`.
pub fn query(name: &str, rtype: &str) -> Result<Reply, NetError> {
    query_with(name, rtype, None, None)
}

/// As [`query`], asking `server` if there is one, and for no longer than `limit`.
pub fn query_with(
    name: &str,
    rtype: &str,
    server: Option<&Endpoint>,
    limit: Option<Duration>,
) -> Result<Reply, NetError> {
    let host::Reply {
        rcode,
        authoritative,
        answers,
        elapsed,
    } = host::query(name, rtype, server, timeout(limit))?;
    Ok(Reply {
        rcode,
        authoritative,
        answers,
        elapsed: Duration::from_nanos(elapsed),
    })
}
