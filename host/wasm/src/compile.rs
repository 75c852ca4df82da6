//! Compiles plugins in a process of their own, so that a file that is a burden to compile is none to the checks.
//!
//! The child ([`child`]) limits itself, compiles, asks the plugin what it is, and writes the answer ([`wire`]) and the
//! machine code to its standard output. Here it is started, watched and, past a limit, named. The code goes straight to
//! a file: it is never whole in this process's memory. Called by [`crate::load`].

pub(crate) mod child;
pub(crate) mod wire;

use crate::{
    cache::Draft,
    engine::Layout,
    load::LoadError,
    settings::{CompileSettings, PluginSettings, RunLimits},
};
use serde::{Deserialize, Serialize};
use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::Semaphore,
    time::timeout,
};
use wire::{Answer, Made};

/// How much of what a failed child wrote is told.
const TAIL: usize = 2000;

/// What the child must know; its only argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) layout: Layout,
    pub(crate) limits: RunLimits,
    pub(crate) memory_mib: u32,
    pub(crate) cpu_seconds: u32,
    /// Who waits for the answer: without it the child ends.
    pub(crate) parent: u32,
}

/// Starts children, one at a time.
#[derive(Debug)]
pub(crate) struct Compiler {
    program: PathBuf,
    settings: CompileSettings,
    job: Job,
    one: Semaphore,
}

/// Why there is no code.
enum Fault {
    /// The child ended without an answer, or with half of one.
    Ended,
    /// The answer is none of a child of this version.
    Garbled(String),
    /// The code cannot be kept.
    Unkept(LoadError),
}

impl Compiler {
    pub(crate) fn new(settings: &PluginSettings, layout: Layout) -> std::io::Result<Self> {
        let compile = settings.compile.clone();
        Ok(Self {
            program: match &compile.program {
                Some(program) => program.clone(),
                None => own_program()?,
            },
            job: Job {
                layout,
                limits: settings.limits,
                memory_mib: compile.memory_mib,
                cpu_seconds: compile.cpu_seconds,
                parent: std::process::id(),
            },
            settings: compile,
            one: Semaphore::new(1),
        })
    }

    /// Waits until no other child runs. `begun` is called when it is this one's turn.
    ///
    /// Cancel safe: dropping the future kills the child.
    pub(crate) async fn compile(
        &self,
        bytes: &[u8],
        into: &mut Draft,
        begun: impl FnOnce(),
    ) -> Result<Made, LoadError> {
        let turn = self.one.acquire().await;
        let _turn = turn.map_err(|error| LoadError::Internal(error.to_string()))?;
        begun();
        let mut child = self.start()?;
        let wall = Duration::from_secs(self.settings.wall_seconds.into());
        if let Ok(outcome) = timeout(wall, self.talk(&mut child, bytes, into)).await {
            return outcome;
        }
        // Reaped, too: the next child starts when this one is gone.
        let _ = child.kill().await;
        Err(LoadError::CompileLimit(format!(
            "{} s (`plugins.compile.wall_seconds`)",
            wall.as_secs()
        )))
    }

    fn start(&self) -> Result<Child, LoadError> {
        let refuse = |why: String| LoadError::CompilerLost(format!("`{}` {why}", self.program.display()));
        let job = serde_json::to_string(&self.job).map_err(|error| LoadError::Internal(error.to_string()))?;
        Command::new(&self.program)
            .args(["plugin", "compile", &job])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A terminal's Ctrl-C is for the worker, which then drops this.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| refuse(format!("cannot be started: {error}")))
    }

    async fn talk(&self, child: &mut Child, bytes: &[u8], into: &mut Draft) -> Result<Made, LoadError> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(LoadError::Compiler("has no pipes".to_owned()));
        };
        let feed = async move {
            // A child that refuses early does not read to the end; its answer says why.
            let _ = stdin.write_all(bytes).await;
        };
        let (answer, (), said) = tokio::join!(receive(stdout, into), feed, tail(stderr));
        let fault = match answer {
            Ok(Answer::Made(made)) => return Ok(*made),
            Ok(Answer::Refused(text)) => return Err(LoadError::Unfit(text)),
            Err(Fault::Unkept(error)) => return Err(error),
            Err(Fault::Garbled(why)) => Some(why),
            Err(Fault::Ended) => None,
        };
        if fault.is_some() {
            let _ = child.start_kill();
        }
        let status = child.wait().await;
        let status = status.map_err(|error| LoadError::Compiler(error.to_string()))?;
        Err(self.explain(status, fault, &said))
    }

    fn explain(&self, status: ExitStatus, fault: Option<String>, said: &str) -> LoadError {
        if let Some(why) = fault {
            return LoadError::Compiler(why);
        }
        let killed_by = |signal: rustix::process::Signal| status.signal() == Some(signal.as_raw());
        if killed_by(rustix::process::Signal::XCPU) {
            let seconds = self.settings.cpu_seconds;
            return LoadError::CompileLimit(format!(
                "{seconds} s of processor time (`plugins.compile.cpu_seconds`)"
            ));
        }
        if wire::out_of_memory(said) {
            let limit = self.settings.memory_mib;
            return LoadError::CompileLimit(format!("{limit} MiB of memory (`plugins.compile.memory_mib`)"));
        }
        let said = crate::text::line(said.trim(), 300);
        let why = format!("{status}{}{said}", if said.is_empty() { "" } else { ": " });
        if killed_by(rustix::process::Signal::KILL) {
            LoadError::CompilerLost(why)
        } else {
            LoadError::Compiler(why)
        }
    }
}

/// The running program's image: on Linux also when its file was replaced since.
fn own_program() -> std::io::Result<PathBuf> {
    let image = PathBuf::from("/proc/self/exe");
    if image.exists() {
        return Ok(image);
    }
    std::env::current_exe()
}

/// The answer, with the code that follows it put where it belongs.
async fn receive(mut stdout: impl AsyncRead + Unpin, into: &mut Draft) -> Result<Answer, Fault> {
    let ended = |_| Fault::Ended;
    let length = stdout.read_u64_le().await.map_err(ended)?;
    let length = wire::header_length(length).map_err(Fault::Garbled)?;
    let mut header = vec![0; length];
    stdout.read_exact(&mut header).await.map_err(ended)?;
    let answer: Answer =
        serde_json::from_slice(&header).map_err(|error| Fault::Garbled(error.to_string()))?;
    let Answer::Made(made) = &answer else {
        return Ok(answer);
    };
    let mut left = made.code_bytes;
    let mut buffer = vec![0; 256 << 10];
    while left > 0 {
        let got = stdout.read(&mut buffer).await.map_err(ended)?;
        let part = buffer.get(..got).unwrap_or_default();
        left = match left.checked_sub(part.len() as u64) {
            Some(rest) if got > 0 => rest,
            Some(_) => return Err(Fault::Ended),
            None => return Err(Fault::Garbled("more code than announced".to_owned())),
        };
        into.write(part).await.map_err(Fault::Unkept)?;
    }
    Ok(answer)
}

/// The end of what a child writes; the rest is read and dropped.
async fn tail(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(got @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(buffer.get(..got).unwrap_or_default());
        let surplus = kept.len().saturating_sub(TAIL);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
