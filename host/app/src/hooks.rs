//! Commands of the operator's that a worker runs before its first task and after its last.

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{process::Stdio, time::Duration};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
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
    /// Runs what comes first; `Err` when it fails, so that no task is taken. Given up when it is time to stop.
    pub(crate) async fn start(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            outcome = self.run("on_start", self.on_start.as_deref()) => outcome,
            () = stop.cancelled() => Ok(()),
        }
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
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run `worker.{name}`"))?;
        let _group = Group(child.id());
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

/// A command and all it started; killed when dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let group = self.0.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            // Gone already, in most cases.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(command: &str, timeout: Duration) -> Hooks {
        Hooks {
            on_start: Some(command.to_owned()),
            on_stop: None,
            timeout,
        }
    }

    #[tokio::test]
    async fn a_command_that_fails_or_hangs_is_told_by_its_name() {
        let (never, long) = (CancellationToken::new(), Duration::from_secs(60));
        assert!(hooks("true", long).start(&never).await.is_ok());
        assert!(Hooks::default().start(&never).await.is_ok());
        let failed = hooks("exit 3", long).start(&never).await.unwrap_err().to_string();
        assert!(
            failed.contains("`worker.on_start` failed: exit status: 3"),
            "{failed}"
        );
        let hung = hooks("sleep 60", Duration::from_millis(300)).start(&never).await;
        let hung = hung.unwrap_err().to_string();
        assert!(hung.contains("did not end within"), "{hung}");
    }

    #[tokio::test]
    async fn what_a_command_started_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let command = format!("sleep 600 & echo $! > {}; sleep 600", file.display());
        let stop = CancellationToken::new();
        let hooks = hooks(&command, Duration::from_secs(60));
        let pid = async {
            loop {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                if let Ok(pid) = text.trim().parse::<u32>() {
                    stop.cancel();
                    return pid;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let (outcome, pid) = tokio::join!(hooks.start(&stop), pid);
        outcome.unwrap();
        // Nobody may have reaped it yet.
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        for _ in 0..200 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {pid} lives on");
    }
}
