//! Name look-ups and raw DNS questions.

use super::{Net, NetError};
use std::time::Duration;
use tokio::time::Instant;

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Owner name, with the trailing dot.
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    /// `A`, `MX`, …
    pub rtype: String,
    /// In presentation format.
    pub data: String,
}

/// The reply to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 0 NOERROR, 3 NXDOMAIN, …
    pub rcode: u16,
    /// The AA bit.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// Round-trip time.
    pub elapsed: Duration,
}

impl Net {
    /// Asks one question, of `server` (host, port) or of the system's resolvers; UDP, then TCP on truncation.
    ///
    /// NXDOMAIN and empty answers are replies, not errors.
    pub async fn query(
        &self,
        name: &str,
        rtype: &str,
        server: Option<(&str, u16)>,
        deadline: Instant,
    ) -> Result<Reply, NetError> {
        let _ = (name, rtype, server, deadline);
        todo!()
    }
}
