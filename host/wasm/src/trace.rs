//! The calls a guest makes to the host, written down one by one: only for trial runs, where an author or an operator
//! looks. Other runs pay for a look at a flag.

use crate::{custody::LogLine, guest::Guest, ledger::Ledger};
use schemars::JsonSchema;
use serde::Serialize;
use std::{fmt, time::Duration};

/// Most calls written down of one run; later ones are counted.
const CALLS: usize = 1000;
/// Longest text of a call, in characters.
const TEXT: usize = 200;

/// One call of a guest to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Call {
    /// Since the run began, in microseconds.
    pub at_us: u64,
    /// Interface and function: `tcp.connect`.
    pub call: &'static str,
    /// With what; secrets are masked.
    pub detail: String,
    /// Time it took, in microseconds; `None` if the run ended before it did.
    pub elapsed_us: Option<u64>,
    /// What came of it, or why it was refused.
    pub outcome: String,
    /// Whether it came to an error.
    pub failed: bool,
}

/// What was written down of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    pub(crate) calls: Vec<Call>,
    /// Calls beyond those kept.
    pub(crate) more: u64,
    /// Lines logged.
    pub(crate) lines: Vec<LogLine>,
}

/// A call that is under way; its place in the trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(usize);

impl Guest {
    /// A call begins. `None` where nothing is written down.
    pub(crate) fn call_begins(&self, call: &'static str, detail: impl FnOnce() -> String) -> Option<Begun> {
        self.ledger.call_begins(call, detail)
    }

    /// A call ends, with what came of it.
    pub(crate) fn call_ends<T, E: fmt::Display>(
        &self,
        begun: Option<Begun>,
        result: &Result<T, E>,
        show: impl FnOnce(&T) -> String,
    ) {
        self.ledger.call_ends(begun, result, show);
    }
}

/// For what goes on while the guest does something else.
impl Ledger {
    /// As [`Guest::call_begins`].
    pub(crate) fn call_begins(&self, call: &'static str, detail: impl FnOnce() -> String) -> Option<Begun> {
        let at_us = micros(self.elapsed());
        let mut entries = self.entries();
        let aside = &mut entries.aside;
        let trace = aside.trace.as_mut()?;
        if trace.calls.len() >= CALLS {
            trace.more += 1;
            return None;
        }
        trace.calls.push(Call {
            at_us,
            call,
            detail: aside.mask.line(&detail(), TEXT),
            elapsed_us: None,
            outcome: "the run ended before it did".to_owned(),
            failed: true,
        });
        Some(Begun(trace.calls.len() - 1))
    }

    /// As [`Guest::call_ends`].
    pub(crate) fn call_ends<T, E: fmt::Display>(
        &self,
        begun: Option<Begun>,
        result: &Result<T, E>,
        show: impl FnOnce(&T) -> String,
    ) {
        let Some(Begun(place)) = begun else { return };
        let outcome = match result {
            Ok(value) => show(value),
            Err(error) => error.to_string(),
        };
        let now = micros(self.elapsed());
        let mut entries = self.entries();
        let aside = &mut entries.aside;
        let outcome = aside.mask.line(&outcome, TEXT * 2);
        if let Some(call) = aside.trace.as_mut().and_then(|trace| trace.calls.get_mut(place)) {
            call.elapsed_us = Some(now.saturating_sub(call.at_us));
            call.outcome = outcome;
            call.failed = result.is_err();
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
