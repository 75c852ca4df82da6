//! `context`: what the run has left, and which optional capabilities it has.

use crate::{abi::v1::wit::context::Host, guest::Guest};
use std::time::Duration;
use wasmtime::Result;

impl Guest {
    /// Time for the guest to finish by itself: a little less than is left, so that a guest that gives its own
    /// time-outs this length can still say what it saw.
    pub(crate) fn working_time(&self) -> Duration {
        working_time(self.remaining())
    }
}

/// What is left of `left` after the time to report in.
pub(crate) fn working_time(left: Duration) -> Duration {
    left.saturating_sub((left / 10).min(Duration::from_millis(50)))
}

impl Host for Guest {
    fn remaining(&mut self) -> Result<u64> {
        Ok(super::convert::nanoseconds(self.working_time()))
    }

    fn granted(&mut self, capability: String) -> Result<bool> {
        let network = matches!(capability.as_str(), "net.http" | "net.tcp" | "net.udp" | "net.dns");
        Ok(network && self.errand.network.is_some())
    }
}
