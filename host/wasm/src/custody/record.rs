//! What is known of one plugin beyond its runs: how they went, and the last lines it logged.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Most lines kept of one plugin.
const LINES: usize = 1000;
/// Most bytes of their texts.
const BYTES: usize = 256 << 10;

/// The record of one plugin, under its name; survives reloads.
#[derive(Debug, Default)]
pub struct Record {
    pub(crate) runs: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) limits: AtomicU64,
    pub(crate) reused: AtomicU64,
    log: Mutex<Log>,
}

/// How the runs of a plugin went, since this process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tally {
    /// Runs that came to an end, second tries included.
    pub runs: u64,
    /// Those in which the plugin went wrong: traps, limits, its own code out of time.
    pub faults: u64,
    /// Calls the host refused for want of a right.
    pub refusals: u64,
    /// Quotas and limits hit.
    pub limits: u64,
    /// Runs by an instance that had served its monitor before (`max-reuse`).
    pub reused: u64,
}

/// One line a plugin logged; secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The kind that ran.
    pub kind: String,
    /// The monitor it ran for.
    pub monitor: String,
    /// The line.
    pub message: String,
}

#[derive(Debug, Default)]
struct Log {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl LogLine {
    fn size(&self) -> usize {
        self.message.len() + self.monitor.len() + self.kind.len()
    }
}

impl Record {
    /// The counts so far.
    pub fn tally(&self) -> Tally {
        Tally {
            runs: self.runs.load(Relaxed),
            faults: self.faults.load(Relaxed),
            refusals: self.refusals.load(Relaxed),
            limits: self.limits.load(Relaxed),
            reused: self.reused.load(Relaxed),
        }
    }

    /// The last lines logged, oldest first: at most 1000, of at most 256 KiB.
    pub fn log(&self) -> Vec<LogLine> {
        self.locked().lines.iter().cloned().collect()
    }

    pub(crate) fn keep(&self, line: LogLine) {
        let mut log = self.locked();
        log.bytes += line.size();
        log.lines.push_back(line);
        while log.lines.len() > LINES || log.bytes > BYTES {
            let Some(oldest) = log.lines.pop_front() else {
                return;
            };
            log.bytes -= oldest.size();
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> LogLine {
        LogLine {
            at: Timestamp::UNIX_EPOCH,
            level: "info",
            kind: "k".into(),
            monitor: "m".into(),
            message: message.into(),
        }
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let record = Record::default();
        (0..LINES + 5).for_each(|n| record.keep(line(&n.to_string())));
        let log = record.log();
        assert_eq!((log.len(), log[0].message.as_str()), (LINES, "5"));
        record.keep(line(&"x".repeat(BYTES - 2)));
        assert_eq!(record.log().len(), 1, "a long one takes the room of many");
    }
}
