//! `context`: what the run has left, and which optional capabilities it has.

use crate::{abi::v1::wit::context::Host, guest::Guest};
use wasmtime::Result;

impl Host for Guest {
    fn remaining(&mut self) -> Result<u64> {
        Ok(super::convert::nanoseconds(self.time_shown()))
    }

    fn granted(&mut self, capability: String) -> Result<bool> {
        let begun = self.call_begins("context.granted", || capability.clone());
        let granted = self.rights().is_some_and(|rights| rights.granted(&capability));
        self.call_ends(begun, &Ok::<_, std::fmt::Error>(granted), ToString::to_string);
        Ok(granted)
    }
}
