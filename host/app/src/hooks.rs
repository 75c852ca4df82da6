//! Commands of the operator's that a worker runs before its first task and after its last.

use anyhow::{Context, bail};
use std::{process::Stdio, time::Duration};
use tokio::process::Command;
use tracing::{info, warn};

/// The commands, for `sh -c`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hooks {
    /// Before the first task is taken.
    pub(crate) on_start: Option<String>,
    /// After the last task has ended.
    pub(crate) on_stop: Option<String>,
    /// For each.
    pub(crate) timeout: Duration,
}

impl Hooks {
    /// Runs what comes first; `Err` when it fails, so that no task is taken.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        self.run("on_start", self.on_start.as_deref()).await
    }

    /// Runs what comes last; its failure is told, and changes nothing.
    pub(crate) async fn stop(&self) {
        if let Err(error) = self.run("on_stop", self.on_stop.as_deref()).await {
            warn!("{error:#}");
        }
    }

    async fn run(&self, name: &str, command: Option<&str>) -> anyhow::Result<()> {
        let Some(command) = command else {
            return Ok(());
        };
        info!("running `worker.{name}`");
        // Its output goes where the logs go, so that results on standard output stay what they are.
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run `worker.{name}`"))?;
        match tokio::time::timeout(self.timeout, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => bail!("`worker.{name}` failed: {status}"),
            Ok(Err(error)) => Err(error).with_context(|| format!("cannot wait for `worker.{name}`")),
            Err(_) => bail!(
                "`worker.{name}` did not end within {:?} and was killed",
                self.timeout
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_fails_or_hangs_is_told_by_its_name() {
        let hooks = |command: &str| Hooks {
            on_start: Some(command.to_owned()),
            on_stop: None,
            timeout: Duration::from_millis(300),
        };
        assert!(hooks("true").start().await.is_ok());
        assert!(Hooks::default().start().await.is_ok());
        let failed = hooks("exit 3").start().await.unwrap_err().to_string();
        assert!(
            failed.contains("`worker.on_start` failed: exit status: 3"),
            "{failed}"
        );
        let hung = hooks("sleep 60").start().await.unwrap_err().to_string();
        assert!(hung.contains("did not end within"), "{hung}");
    }
}
