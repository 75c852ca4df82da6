//! `log`: a guest's lines go to the worker's log and to the plugin's record, made fit, without secrets, and up to a
//! quota.

use crate::{
    abi::v1::wit::log::{Host, Level},
    custody::LogLine,
    guest::Guest,
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
        let mask = self.ledger.entries().aside.mask.clone();
        let message = mask.line(&message, LINE_LENGTH);
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
        self.record(level, message);
        Ok(())
    }
}

impl Guest {
    fn record(&self, level: Level, message: String) {
        let Some(rights) = self.rights() else { return };
        let line = LogLine {
            at: rights.clock.now(),
            level: word(level),
            kind: self.errand.kind.to_string(),
            monitor: self.errand.monitor.clone(),
            message,
        };
        if let Some(trace) = &mut self.ledger.entries().aside.trace {
            trace.lines.push(line.clone());
        }
        rights.record.keep(line);
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}
