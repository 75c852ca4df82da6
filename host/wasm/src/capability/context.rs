//! `context`: what the run has left, and which optional capabilities it has.

use crate::{abi::v1::wit::context::Host, guest::Guest};
use wasmtime::Result;

impl Host for Guest {
    fn remaining(&mut self) -> Result<u64> {
        Ok(super::convert::nanoseconds(self.time_left()))
    }

    fn granted(&mut self, capability: String) -> Result<bool> {
        let network = matches!(
            capability.as_str(),
            "net.http" | "net.tcp" | "net.udp" | "net.dns"
        );
        Ok(network && self.errand.network.is_some())
    }
}
