//! What people read: a line for each result, and the last word of an error.

use async_trait::async_trait;
use jiff::Timestamp;
use lapwing_checks::text::disturbs;
use lapwing_model::{CheckResult, Status, Task, observation::milliseconds};
use lapwing_queue::{QueueError, Sink};
use std::{
    io::{self, IsTerminal, Write},
    pin::pin,
    time::Duration,
};
use tokio::time::timeout;

/// How long loading goes on before it is told that it does: what was compiled before is there sooner.
const QUICK: Duration = Duration::from_millis(500);

/// How to print results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    /// One JSON object a line.
    pub(crate) json: bool,
    /// Colours; set only on a terminal.
    pub(crate) colors: bool,
}

impl Console {
    /// Colours if standard output is a terminal and `NO_COLOR` is not set.
    pub(crate) fn new(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json,
            colors: !json && !plain && io::stdout().is_terminal(),
        }
    }

    /// A word in a colour of ANSI's, where there are colours.
    pub(crate) fn color(self, word: &str, color: u8) -> String {
        if self.colors {
            format!("\x1b[{color}m{word}\x1b[0m")
        } else {
            word.to_owned()
        }
    }

    /// The status, padded to eight characters and coloured.
    pub(crate) fn status(self, status: Status) -> String {
        let color = match status {
            Status::Up => 32,
            Status::Degraded => 33,
            Status::Down => 31,
            Status::Unknown => 35,
        };
        self.color(&format!("{status:8}"), color)
    }

    /// One result on one line.
    pub(crate) fn result(self, result: &CheckResult) -> String {
        if self.json {
            return serde_json::to_string(result).unwrap_or_default();
        }
        let observation = &result.observation;
        let latency = observation
            .latency
            .map_or_else(String::new, |time| format!("{:.1} ms", milliseconds(time)));
        format!(
            "{}  {}  {:<15}  {:<24}  {latency:>10}  {}",
            time_of_day(result.ended_at),
            self.status(observation.status),
            one_line(&result.kind),
            one_line(&result.monitor_name),
            one_line(&observation.message)
        )
    }
}

#[async_trait]
impl Sink for Console {
    async fn publish(&self, _: &Task, result: &CheckResult) -> Result<(), QueueError> {
        line(&self.result(result));
        Ok(())
    }
}

/// `HH:MM:SS`, UTC.
fn time_of_day(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

/// Writes a line to standard output. A reader that went away is no reason to stop checking.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A word beside the result, on standard error: what is being done, and may take a while.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Does `work`; `slow` is called when that takes longer than what needs no compiling.
pub(crate) async fn patiently<T>(work: impl Future<Output = T>, slow: impl FnOnce()) -> T {
    let mut work = pin!(work);
    if let Ok(done) = timeout(QUICK, &mut work).await {
        return done;
    }
    slow();
    work.await
}

/// What others wrote, fit for a terminal: control characters and those that reorder text would break the line, or the
/// reader's trust in it.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if disturbs(c) { ' ' } else { c }).collect()
}

/// The last word of a failed command, on standard error.
pub(crate) fn error(error: &anyhow::Error) {
    let _ = writeln!(io::stderr().lock(), "lapwing: {error:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_breaks_a_line_or_reorders_it() {
        assert_eq!(
            one_line("a\u{1b}b\nc\u{61c}d\u{202e}e\u{2028}f grüße 世界"),
            "a b c d e f grüße 世界"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_takes_a_while_is_told() {
        for (millis, expected) in [(100, false), (5000, true)] {
            let mut told = false;
            patiently(tokio::time::sleep(Duration::from_millis(millis)), || told = true).await;
            assert_eq!(told, expected, "{millis}");
        }
    }
}
