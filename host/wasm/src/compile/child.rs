//! The child's side: limits itself, compiles what it reads, asks it what it is, and answers.
//!
//! Runs in a process that does nothing else (`lapwing plugin compile`). It opens no file and no socket, and the plugin's
//! `describe` runs here with no rights, so that nothing of a plugin that is not yet accepted runs in the worker.

use super::{
    Job,
    wire::{self, Answer, Made},
};
use crate::{
    abi::v1::{self, PluginPre, wit::types},
    engine,
    guest::{Errand, Guest},
    load::{self, LoadError, start::Start, world},
    run::{Ending, Runner},
    settings::PluginSettings,
    stage::{self, Stage},
};
use rustix::process::{Resource, Rlimit, Signal, getppid, getrlimit, setrlimit};
use std::{
    io::{self, Read, Write},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};
use wasmtime::component::Component;

/// How far behind all others: below the threads that guests run on.
const NICENESS: i32 = 10;
/// The engine keeps images of memories in files without a name; these may be this large, and nothing else is written.
const FILE_BYTES: u64 = 512 << 20;
/// `describe` is waited for this much longer than its processor time, by the clock.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Address space for running `describe`, beside what compiling may use: reserved for memories and stacks, hardly used.
const DESCRIBE_SPACE: u64 = 128 << 30;

/// Compiles the component on standard input and writes the answer to standard output. For the command
/// `plugin compile JOB` of the program named in [`crate::CompileSettings::program`], and nothing else: it puts limits on
/// the whole process.
pub fn compile_child(job: &str) -> ExitCode {
    match run(job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "{why}");
            ExitCode::from(2)
        }
    }
}

fn run(job: &str) -> Result<(), String> {
    let job: Job = serde_json::from_str(job).map_err(|error| format!("no job: {error}"))?;
    confine(&job).map_err(|error| format!("cannot limit itself: {error}"))?;
    let mut bytes = Vec::new();
    let read = io::stdin().read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot read the component: {error}"))?;
    let (answer, code) = match compile(&job, &bytes) {
        Ok((made, code)) => (Answer::Made(Box::new(made)), code),
        Err(LoadError::Internal(why)) => return Err(why),
        Err(error) if wire::out_of_memory(&error.to_string()) => return Err(error.to_string()),
        Err(error) => (Answer::Refused(error.to_string()), Vec::new()),
    };
    let header = wire::header(&answer).or_else(|why| wire::header(&Answer::Refused(why)))?;
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(&header).and_then(|()| stdout.write_all(&code));
    written
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("cannot answer: {error}"))
}

/// Takes away what compiling does not need, before anything is read.
fn confine(job: &Job) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have died before the line above.
        if getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs()) != Some(job.parent) {
            return Err(io::Error::other("the parent is gone"));
        }
    }
    rustix::process::nice(NICENESS)?;
    let cpu = u64::from(job.cpu_seconds);
    limit(Resource::Cpu, cpu, cpu + 5)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, FILE_BYTES, FILE_BYTES)?;
    limit(Resource::Nofile, 32, 32)?;
    let memory = u64::from(job.memory_mib) << 20;
    limit(Resource::As, memory, memory + DESCRIBE_SPACE)
}

/// Never above what the process has been given.
fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limits = Rlimit {
        current: Some(soft.min(most)),
        maximum: Some(hard.min(most)),
    };
    Ok(setrlimit(resource, limits)?)
}

fn compile(job: &Job, bytes: &[u8]) -> Result<(Made, Vec<u8>), LoadError> {
    let internal = |error: wasmtime::Error| LoadError::Internal(format!("{error:#}"));
    let engine = engine::build_compiler(job.layout, &job.limits).map_err(internal)?;
    let mut linker = v1::linker(&engine).map_err(internal)?;
    stage::forbid_waiting(&mut linker).map_err(internal)?;
    let begun = Instant::now();
    let component =
        Component::from_binary(&engine, bytes).map_err(|error| load::invalid(&format!("{error:#}")))?;
    let compile_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let start = Start::of(bytes).map_err(|error| load::invalid(&error.to_string()))?;
    world::memory(&component, &start, &job.limits)?;
    let pre = Arc::new(load::link(&linker, &component)?);
    let code = component.serialize().map_err(internal)?;
    let made = Made {
        described: describe_twice(job, &pre)?,
        compile_ms,
        code_bytes: code.len() as u64,
    };
    Ok((made, code))
}

fn describe_twice(job: &Job, pre: &Arc<PluginPre<Guest>>) -> Result<types::PluginInfo, LoadError> {
    let internal = |error: io::Error| LoadError::Internal(error.to_string());
    let most = getrlimit(Resource::As).maximum.unwrap_or(u64::MAX);
    limit(Resource::As, most, most).map_err(internal)?;
    let settings = PluginSettings {
        threads: 1,
        concurrent_runs: 1,
        limits: job.limits,
        ..PluginSettings::default()
    };
    let runner = Runner::new(&settings).map_err(internal)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(internal)?;
    runtime.block_on(async {
        let described = describe(&runner, pre, Stage::First).await?;
        if described == describe(&runner, pre, Stage::Second).await? {
            return Ok(described);
        }
        Err(LoadError::Describe(
            "answers differently at another time, or by chance".to_owned(),
        ))
    })
}

async fn describe(
    runner: &Runner,
    pre: &Arc<PluginPre<Guest>>,
    stage: Stage,
) -> Result<types::PluginInfo, LoadError> {
    let cpu = runner.limits().describe_cpu();
    let errand = Errand {
        plugin: "(being described)".into(),
        kind: "".into(),
        monitor: String::new(),
        // This process goes behind all others and may be kept waiting; its own time is what counts.
        deadline: Instant::now() + cpu * 4 + LONGEST_WAIT,
        cpu,
        network: None,
        stats: runner.stats(),
        memory: runner.memory(),
    };
    let line = runner.line(0, 1);
    concluded(runner.describe(pre, &line, errand, stage).await.ending, cpu)
}

fn concluded(ending: Ending<types::PluginInfo>, due: Duration) -> Result<types::PluginInfo, LoadError> {
    let fault = match ending {
        Ending::Answered(info) => return Ok(info),
        Ending::OutOfCpu => {
            format!(
                "used up its processor time ({} ms, `plugins.limits.describe_cpu_ms`)",
                due.as_millis()
            )
        }
        Ending::OutOfTime | Ending::NetworkTimeout(_) => "did not end in time".to_owned(),
        Ending::Limit(limit) => format!("went past its {limit}"),
        // The engine compares exports only when it instantiates, and these are its words for it.
        Ending::Trap(why) if why.starts_with("expected ") => {
            return Err(LoadError::Mismatch(crate::text::line(&why, 500)));
        }
        Ending::Trap(why) => format!("trapped: {}", crate::text::line(&why, 500)),
        Ending::Crowded(what) => return Err(LoadError::Internal(format!("no room in the {what}"))),
        Ending::NoSlot => return Err(LoadError::Internal("no slot to describe it in".to_owned())),
        Ending::Host(why) => return Err(LoadError::Internal(why)),
    };
    Err(LoadError::Describe(fault))
}
