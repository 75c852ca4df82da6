//! `log`: a guest's lines go to the worker's log, made fit and up to a quota.

use crate::{
    abi::v1::wit::log::{Host, Level},
    guest::Guest,
    text,
};
use wasmtime::Result;

/// What a line costs beside its text, so that a flood of empty lines ends too.
const LINE_COST: usize = 32;
/// Longest line shown, in characters.
const LINE_LENGTH: usize = 4096;

impl Host for Guest {
    fn log(&mut self, level: Level, message: String) -> Result<()> {
        let Some(left) = self.quotas.log_bytes.checked_sub(message.len() + LINE_COST) else {
            self.ledger.entries().dropped_lines += 1;
            return Ok(());
        };
        self.quotas.log_bytes = left;
        let message = text::line(&message, LINE_LENGTH);
        let (plugin, kind, monitor) = (&*self.errand.plugin, &*self.errand.kind, &*self.errand.monitor);
        macro_rules! forward {
            ($level:ident) => {
                tracing::$level!(target: "plugin", plugin, check.kind = kind, monitor.id = monitor, "{message}")
            };
        }
        match level {
            Level::Trace => forward!(trace),
            Level::Debug => forward!(debug),
            Level::Info => forward!(info),
            Level::Warn => forward!(warn),
            Level::Error => forward!(error),
        }
        Ok(())
    }
}
